// One film: fit to the page or enlarged, and the keys for the films beside it.
const FITTED = "Select the film, or press z, to enlarge it.";
const ENLARGED = "Enlarged. Select the film, or press z, to fit it to the page.";

const view = document.getElementById("film-view");
const hint = document.getElementById("film-hint");

function toggle(event) {
  const image = view.querySelector("img");
  const box = image.getBoundingClientRect();
  const at = event?.clientX ? [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height] : [0.5, 0.5];
  const large = view.classList.toggle("actual");
  view.setAttribute("aria-pressed", String(large));
  hint.textContent = large ? ENLARGED : FITTED;
  if (!large) return;
  view.scrollLeft = at[0] * image.offsetWidth - view.clientWidth / 2;
  view.scrollTop = at[1] * image.offsetHeight - view.clientHeight / 2;
}

if (view) {
  view.setAttribute("role", "button");
  view.setAttribute("aria-pressed", "false");
  view.setAttribute("aria-label", "The film; select to enlarge it or to fit it to the page");
  hint.textContent = FITTED;
  view.addEventListener("click", (event) => { event.preventDefault(); toggle(event); });
  view.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); toggle(); } });
}

const KEYS = { j: "next", ArrowRight: "next", k: "previous", ArrowLeft: "previous" };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const scrolls = event.key.startsWith("Arrow") && view?.classList.contains("actual");
  if (event.key === "z" && view) toggle();
  else if (KEYS[event.key] && !scrolls) document.getElementById(KEYS[event.key])?.click();
});
