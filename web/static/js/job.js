// Keeps a job's page up to date: polls its changing part, replaces what differs, and stops when the job has ended.
import { follow } from "./follow.js";
import { showTimes } from "./times.js";
import { _ } from "./words.js";

// A single image has its result within a tenth of a second, and somebody waits for it.
const PAUSES = [
  { untilMs: 2000, pauseMs: 200 },
  { untilMs: 30000, pauseMs: 1000 },
  { untilMs: Infinity, pauseMs: 5000 },
];

const live = document.getElementById("live");
const announce = document.getElementById("announce");
const began = performance.now();

/** Replace only the elements that differ, so that scroll position, focus and unchanged pictures stay. */
function renew(answer) {
  const fresh = answer.getElementById("job");
  showTimes(fresh);
  const present = document.getElementById("job");
  for (const [name, value] of Object.entries(fresh.dataset)) present.dataset[name] = value;
  for (const piece of [...fresh.children]) {
    const old = document.getElementById(piece.id);
    if (piece.id === "job-go-on") keepChosen(old, piece);
    else if (piece.id === "job-images" && old.querySelector("tbody") && piece.querySelector("tbody")) renewRows(old, piece);
    else if (old.innerHTML !== piece.innerHTML) replace(old, piece);
  }
  return tell();
}

// Files chosen to resume the upload stay chosen; the server's answer shows or hides the form.
function keepChosen(old, piece) {
  if (!old.querySelector("form[data-busy]")) old.hidden = piece.hidden;
}

function renewRows(old, piece) {
  const body = old.querySelector("tbody");
  const rows = [...piece.querySelectorAll("tbody > tr")];
  const kept = new Set(rows.map((row) => row.id));
  for (const row of [...body.children]) if (!kept.has(row.id)) row.remove();
  rows.forEach((row, index) => {
    const same = document.getElementById(row.id);
    if (same && same.dataset.version === row.dataset.version) return;
    if (same) replace(same, row);
    else body.insertBefore(row, body.children[index] ?? null);
  });
}

function replace(old, fresh) {
  const held = old.contains(document.activeElement) ? document.activeElement : null;
  const address = held?.getAttribute("href") ?? held?.closest("form")?.getAttribute("action");
  old.replaceWith(fresh);
  if (!address) return;
  const wanted = `[href="${CSS.escape(address)}"]:not([tabindex="-1"]), form[action="${CSS.escape(address)}"] button`;
  fresh.querySelector(wanted)?.focus({ preventScroll: true });
}

// The page shows the server's last answer; the next one restores the headline.
function sayAway() {
  const away = _("Server away, trying again");
  document.querySelector("#job-head .job-state").textContent = away;
  document.querySelector("#job-progress .job-line").textContent = away;
  document.title = _("Server away - %(name)s - PneumoScreen", { name: document.getElementById("job").dataset.name });
}

function tell() {
  const { state, percent, name, ended, opens } = document.getElementById("job").dataset;
  document.title = `${state === "FINISHED" ? "" : `${percent}% `}${name} - PneumoScreen`;
  if (state !== "FINISHED") return false;
  announce.textContent = ended;
  if (opens) location.replace(opens);
  return true;
}

// Cancelling asks for confirmation; without this script the button cancels at once.
document.addEventListener("submit", (event) => {
  const dialog = document.getElementById(event.target.dataset.confirm ?? "");
  if (!dialog) return;
  event.preventDefault();
  dialog.showModal();
});
document.querySelector("dialog [data-close]").addEventListener("click", (event) => event.target.closest("dialog").close());

if (live.dataset.state !== "FINISHED") {
  follow(renew, () => PAUSES.find(({ untilMs }) => performance.now() - began < untilMs).pauseMs, {
    signedOut: _("You have been signed out. Load the page again to sign in; the job goes on."),
    noAnswer: _("The server does not answer. The page tries again; X-rays that were received are kept."),
  }, sayAway);
} else if (sessionStorage.getItem("sent") === location.pathname.split("/").pop()) {
  tell(); // it was sent from here and ended before its page loaded
}
sessionStorage.removeItem("sent");
