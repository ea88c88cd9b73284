// Keeps the status page up to date: asks for its changing part and puts in the pieces that differ.
import { showTimes } from "./times.js";

const EVERY_MS = 5000;

const live = document.getElementById("live");
const announce = document.getElementById("announce");
const lost = document.getElementById("lost");

function renew(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("status");
  showTimes(fresh);
  const present = document.getElementById("status");
  if (fresh.dataset.said !== present.dataset.said) announce.textContent = fresh.dataset.said;
  for (const [name, value] of Object.entries(fresh.dataset)) present.dataset[name] = value;
  for (const piece of [...fresh.children]) {
    const old = document.getElementById(piece.id);
    if (old && old.outerHTML !== piece.outerHTML) old.replaceWith(piece);
  }
}

function sayLost(text) {
  lost.hidden = !text;
  lost.textContent = text;
}

async function poll() {
  try {
    const answer = await fetch(live.dataset.fragment, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.status === 401) return sayLost("You have been signed out. Load the page again to sign in.");
    if (!answer.ok) throw new Error(String(answer.status));
    renew(await answer.text());
    sayLost("");
  } catch {
    sayLost("The server does not answer. The page tries again.");
  }
  return setTimeout(poll, EVERY_MS);
}

setTimeout(poll, EVERY_MS);
