// Unsent notes of a reader, stored on this computer by account and image. They survive the end of a session, but not
// the reader's sign-out, another account's sign-in on a shared workstation, or a day.
const PREFIX = "pneumoscreen.draft.";
const DAY_MS = 24 * 3600 * 1000;

const nameOf = (account, image) => `${PREFIX}${account}.${image}`;

export function keepDraft(account, image, text) {
  if (text) localStorage.setItem(nameOf(account, image), JSON.stringify({ text, at: Date.now() }));
  else dropDraft(account, image);
}

export function findDraft(account, image) {
  const kept = localStorage.getItem(nameOf(account, image));
  return kept ? JSON.parse(kept).text : "";
}

export function dropDraft(account, image) {
  localStorage.removeItem(nameOf(account, image));
}

function dropAll(of) {
  for (const name of Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) {
    if (of(name, JSON.parse(localStorage.getItem(name)))) localStorage.removeItem(name);
  }
}

const account = document.querySelector('meta[name="account"]')?.content;
if (account) dropAll((name, kept) => !name.startsWith(`${PREFIX}${account}.`) || Date.now() - kept.at > DAY_MS);
document.getElementById("sign-out")?.addEventListener("submit", () => dropAll(() => true));
