// One image: keyboard navigation to its neighbours, and polling while it waits. Its viewer handles its own keys first.
import { isCommand } from "./keys.js";
import { noteReturn, openedFrom } from "./place.js";
import { shown } from "./shown.js";

const WAIT_MS = 3000;
const TYPED_IN = "input:not([type=checkbox], [type=range]), select, textarea";
const KEYS = { j: "next", ArrowRight: "next", k: "previous", ArrowLeft: "previous", l: "to-list" };

// A prefetched page may lead elsewhere once it is updated; a key pressed before that takes effect after.
let pressed = null;
const remember = (event) => { if (isCommand(event)) pressed = KEYS[event.key] ?? pressed; };
addEventListener("keydown", remember);
await shown;
removeEventListener("keydown", remember);

// Back to the page of the list that this image was opened from, and to this image in it.
const list = document.getElementById("to-list");
const opened = list && openedFrom(list.pathname);
if (opened) list.href = opened.address;
list?.addEventListener("click", () => noteReturn(list.href, opened?.index));

addEventListener("keydown", (event) => {
  if (!isCommand(event) || (event.key.startsWith("Arrow") && event.target.matches("input"))) return;
  if (KEYS[event.key]) document.getElementById(KEYS[event.key])?.click();
});
if (pressed) document.getElementById(pressed)?.click();

// A page that waits for a worker is reloaded once there is something new, but not while somebody types: the text typed,
// the zoom and the focus would be lost.
async function follow() {
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null); // polled again while the server is down
  const page = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
  const isNew = page && !page.querySelector("[data-waiting]");
  if (isNew && !document.activeElement?.matches(TYPED_IN)) location.reload();
  else setTimeout(follow, WAIT_MS);
}

if (document.querySelector("[data-waiting]")) setTimeout(follow, WAIT_MS);
