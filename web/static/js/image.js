// One image: the keys for the images beside it. Its viewer has keys of its own, and is asked first.
import { isCommand } from "./keys.js";
import { noteReturn, openedFrom } from "./place.js";
import { shown } from "./shown.js";

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
