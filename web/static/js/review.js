// A review by one key, sent so that nothing typed is lost: while the server is down it is sent again under the same
// key, and where the session has ended the text is kept for the next sign-in. Also tells others that the image is open.
import { dropDraft, findDraft, keepDraft } from "./drafts.js";
import { isCommand } from "./keys.js";
import { shown } from "./shown.js";
import { _ } from "./words.js";

const RENEW_MS = 45000;
const AGAIN_MS = 2000;
const TOO_SOON_MS = 400; // nobody has looked by then: the second half of a double press was meant for the previous one
const LED_HERE = "review-led-here";

await shown;
const panel = document.getElementById("review");
const form = document.getElementById("review-form");
const note = document.getElementById("review-note");
const said = document.getElementById("review-said");
const openAt = document.getElementById("review-open");
const { account, image, claim, release, signIn, newest } = panel.dataset;
const token = document.querySelector('meta[name="csrf-token"]').content;

let isTooSoon = sessionStorage.getItem(LED_HERE) !== null;
sessionStorage.removeItem(LED_HERE);
panel.toggleAttribute("data-too-soon", isTooSoon);
setTimeout(() => {
  isTooSoon = false;
  panel.removeAttribute("data-too-soon");
}, TOO_SOON_MS);

const kept = findDraft(account, image);
if (kept && kept !== note.value) {
  note.value = kept;
  document.getElementById("review-kept").hidden = false;
}
note.addEventListener("input", () => keepDraft(account, image, note.value));

function say(text, link) {
  said.textContent = text;
  if (link) {
    const element = document.createElement("a");
    [element.href, element.textContent] = [link, _("Sign in again")];
    said.append(" ", element);
  }
  said.hidden = false;
}

/** Show what became of a review where it is visible, even below the window's end. */
function answerWith(text, link) {
  say(text, link);
  said.scrollIntoView({ block: "nearest" });
}

const askBefore = (event) => event.preventDefault(); // on leaving: unsaved input would be lost with the page
const setBusy = (busy) => { for (const button of form.querySelectorAll("button")) button.disabled = busy; };
const rest = (ms) => new Promise((resume) => { setTimeout(resume, ms); });

async function post(body) {
  addEventListener("beforeunload", askBefore);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
      if (![502, 503, 504].includes(answer.status)) return answer;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // thrown by fetch where no server answers
    }
    answerWith(_("The server does not answer. Trying again; your review is kept here (attempt %(attempt)s).", { attempt }));
    await rest(AGAIN_MS);
  }
}

async function send(button) {
  const body = new FormData(form, button);
  keepDraft(account, image, note.value);
  setBusy(true);
  const answer = await post(body).finally(() => removeEventListener("beforeunload", askBefore));
  if (answer.status === 401) {
    answerWith(_("Your session has ended. What you typed is kept on this computer."), signIn);
  } else if (answer.ok) {
    dropDraft(account, image);
    sessionStorage.setItem(LED_HERE, "");
    location.assign((await answer.json()).next);
    return;
  } else {
    const problem = await answer.json();
    if (problem.code === "review_outdated") {
      sessionStorage.setItem(LED_HERE, "");
      location.reload();
      return;
    }
    answerWith(problem.detail);
  }
  setBusy(false);
}

form.addEventListener("submit", (event) => {
  if (!event.submitter) return;
  event.preventDefault();
  if (!isTooSoon) send(event.submitter);
});

// Keys: each button declares its own.
const buttons = new Map(
  [...document.querySelectorAll(".review-done [aria-keyshortcuts], #review button[aria-keyshortcuts]")]
    .reverse() // the latest review is undone first
    .map((button) => [button.getAttribute("aria-keyshortcuts"), button]),
);

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target === note) note.blur();
  if (!isCommand(event) || event.repeat) return;
  if (event.key === "e") {
    event.preventDefault();
    note.focus();
    note.setSelectionRange(note.value.length, note.value.length);
  } else if (buttons.has(event.key) && !buttons.get(event.key).disabled) {
    event.preventDefault();
    buttons.get(event.key).click();
  }
}, true); // before the keys of the image's view, which see that this one is handled

// Claims: others see that the image is open here, and this page shows whether others have it open.
const ask = (address) => fetch(address, { method: "POST", headers: { Accept: "application/json", "X-CSRFToken": token } });

async function renew() {
  const answer = await ask(claim).catch(() => null); // a server that is down is reported when a review is sent
  if (!answer?.ok) return;
  const told = await answer.json();
  openAt.textContent = told.open.join(" ");
  openAt.hidden = told.open.length === 0;
  if (told.newest && told.newest !== newest) say(_("%(name)s has reviewed this X-ray. Load the page again to see it.", { name: told.by }));
}

setInterval(renew, RENEW_MS);
addEventListener("pageshow", (event) => { if (event.persisted) renew(); });
addEventListener("pagehide", () => {
  const body = new FormData();
  body.append("csrf_token", token);
  navigator.sendBeacon(release, body);
});
