// Keeps the status page up to date: polls its changing part and replaces what differs.
import { follow } from "./follow.js";
import { showTimes } from "./times.js";
import { _ } from "./words.js";

const EVERY_MS = 5000;

const announce = document.getElementById("announce");

function renew(answer) {
  const fresh = answer.getElementById("status");
  showTimes(fresh);
  const present = document.getElementById("status");
  if (fresh.dataset.said !== present.dataset.said) announce.textContent = fresh.dataset.said;
  for (const [name, value] of Object.entries(fresh.dataset)) present.dataset[name] = value;
  for (const piece of [...fresh.children]) {
    const old = document.getElementById(piece.id);
    if (old && old.outerHTML !== piece.outerHTML) old.replaceWith(piece);
  }
}

follow(renew, () => EVERY_MS, {
  signedOut: _("You have been signed out. Load the page again to sign in."),
  noAnswer: _("The server does not answer. The page tries again."),
});
