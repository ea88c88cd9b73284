// One image: the keys for the images beside it, and what it waits for. Its viewer has keys of its own, and is asked first.
import { isCommand } from "./keys.js";
import { noteReturn, openedFrom } from "./place.js";
import { shown } from "./shown.js";

const WAIT_MS = 3000;
const TYPED_IN = "input:not([type=checkbox], [type=range]), select, textarea";
const KEYS = { j: "next", ArrowRight: "next", k: "previous", ArrowLeft: "previous", l: "to-list" };

// A page that was fetched ahead may lead elsewhere once it says what is so; a key that was pressed before then counts after.
let pressed = null;
const remember = (event) => { if (isCommand(event)) pressed = KEYS[event.key] ?? pressed; };
addEventListener("keydown", remember);
await shown;
removeEventListener("keydown", remember);

// Back to the page of the list that this image was opened from, and there to this image.
const list = document.getElementById("to-list");
const opened = list && openedFrom(list.pathname);
if (opened) list.href = opened.address;
list?.addEventListener("click", () => noteReturn(list.href, opened?.index));

addEventListener("keydown", (event) => {
  if (!isCommand(event) || (event.key.startsWith("Arrow") && event.target.matches("input"))) return;
  if (KEYS[event.key]) document.getElementById(KEYS[event.key])?.click();
});
if (pressed) document.getElementById(pressed)?.click();

// A page that waits for a worker is loaded again once there is something new, and not while somebody types: what is
// typed, the zoom and where the next key goes would be lost.
async function follow() {
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null); // a server that is away is asked again
  const page = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
  const isNew = page && !page.querySelector("[data-waiting]");
  if (isNew && !document.activeElement?.matches(TYPED_IN)) location.reload();
  else setTimeout(follow, WAIT_MS);
}

if (document.querySelector("[data-waiting]")) setTimeout(follow, WAIT_MS);
