// One image: fit to the page or enlarged, its heat map, and the keys for both and for the images beside it.
const FITTED = "Select the X-ray, or press z, to enlarge it.";
const ENLARGED = "Enlarged. Select the X-ray, or press z, to fit it to the page.";

const view = document.getElementById("image-view");
const hint = document.getElementById("image-hint");

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
  view.setAttribute("aria-label", "The X-ray; select to enlarge it or to fit it to the page");
  hint.textContent = FITTED;
  view.addEventListener("click", (event) => { event.preventDefault(); toggle(event); });
  view.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); toggle(); } });
}

// The map itself is a checkbox and CSS. It starts off at every image, so that the image is read first.
const heat = document.getElementById("heat-map");
const strength = document.getElementById("heat-strength");

if (strength) {
  const weaken = () => { view.querySelector(".heat-layer").style.opacity = strength.value / 100; };
  strength.parentElement.hidden = false;
  strength.addEventListener("input", weaken);
}

const KEYS = { j: "next", ArrowRight: "next", k: "previous", ArrowLeft: "previous", l: "to-list" };
const TYPED_IN = "input:not([type=checkbox], [type=range]), select, textarea";

// Back to the page of the list that this image was opened from, which the list has noted.
const list = document.getElementById("to-list");
const opened = JSON.parse(sessionStorage.getItem("list-place") ?? "null")?.address;
if (list && opened && new URL(opened).pathname === list.pathname) list.href = opened;

addEventListener("keydown", (event) => {
  if (document.documentElement.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(TYPED_IN)) return;
  const scrolls = event.key.startsWith("Arrow") && (event.target === strength || view?.classList.contains("actual"));
  if (event.key === "z" && view) toggle();
  else if (event.key === "h" && heat) heat.click();
  else if (KEYS[event.key] && !scrolls) document.getElementById(KEYS[event.key])?.click();
});
