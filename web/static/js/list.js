// A list by keyboard: j and k go down and up, Enter opens; coming back from an X-ray finds the same place again.
import { isCommand } from "./keys.js";

const PLACE = "list-place";
const rows = [...document.querySelectorAll("#rows tbody > tr")];

function link(row) {
  return row?.querySelector(".file a");
}

function here() {
  return location.href.split("#")[0];
}

function current() {
  return rows.findIndex((row) => row.contains(document.activeElement));
}

function go(index) {
  const wanted = rows[Math.min(Math.max(index, 0), rows.length - 1)];
  link(wanted)?.focus();
  wanted?.scrollIntoView({ block: "nearest" });
}

function keep(event) {
  const row = event.target.closest("a")?.closest("#rows tbody > tr");
  if (!row) return;
  sessionStorage.setItem(PLACE, JSON.stringify({ address: here(), row: row.id, index: rows.indexOf(row) }));
}

function restore() {
  const place = JSON.parse(sessionStorage.getItem(PLACE) ?? "null");
  if (place?.address !== here()) return;
  sessionStorage.removeItem(PLACE);
  const found = rows.findIndex((row) => row.id === place.row);
  go(found >= 0 ? found : place.index);
}

document.addEventListener("click", keep);
addEventListener("keydown", (event) => {
  if (!isCommand(event)) return;
  if (event.key === "j") go(current() + 1);
  else if (event.key === "k") go(current() < 0 ? 0 : current() - 1);
});
// Also where the browser shows the page as it was left, without loading it.
addEventListener("pageshow", restore);
