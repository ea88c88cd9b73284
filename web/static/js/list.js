// Keyboard navigation of a list: j and k move down and up, Enter opens. The position is kept in the browser's history
// entry, so that Back restores it every time; image.js handles returning by `l`.
import { isCommand } from "./keys.js";
import { here, noteOpened, takeReturn } from "./place.js";

let left = null; // the row that last had the focus: a press on a link elsewhere takes the focus first

const links = () => [...document.querySelectorAll("table.images .file a, table.job-list .title a")];
const indexOf = (element) => {
  const row = element?.closest?.("tr");
  return links().findIndex((link) => row?.contains(link));
};

/** Focus a row, the last one where there are fewer; return its index. */
function go(index) {
  const all = links();
  const row = Math.min(Math.max(index, 0), all.length - 1);
  all[row]?.focus();
  all[row]?.closest("tr").scrollIntoView({ block: "nearest" });
  return row;
}

/** Store the current row in this history entry. */
function leave(index) {
  if (index < 0) return;
  history.replaceState({ ...history.state, place: { path: links()[index].pathname, index } }, "");
}

function restore() {
  const place = takeReturn(here()) ?? history.state?.place;
  const found = links().findIndex((link) => link.pathname === place?.path);
  const index = found >= 0 ? found : place?.index ?? -1;
  if (index >= 0) leave(go(index));
}

addEventListener("focusin", (event) => { if (indexOf(event.target) >= 0) left = event.target; });
document.addEventListener("click", (event) => {
  if (!event.target.closest("a")) return;
  const opened = indexOf(event.target);
  leave(opened >= 0 ? opened : indexOf(left));
  if (opened >= 0) noteOpened(opened);
});
addEventListener("keydown", (event) => {
  if (!isCommand(event)) return;
  const current = indexOf(document.activeElement);
  if (event.key === "j") go(current + 1);
  else if (event.key === "k") go(current < 0 ? 0 : current - 1);
});
// Also where the browser restores the page from its cache without loading it.
addEventListener("pageshow", restore);
