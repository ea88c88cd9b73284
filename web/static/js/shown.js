// A prefetched image page: nobody has opened it until it is shown. Then it is requested again like any page, which
// records the view and the claim, and everything around the viewer is replaced by the server's current version.
import { showTimes } from "./times.js";

const reading = document.querySelector(".reading");
const viewer = reading.querySelector(".viewer"); // exists even without a picture
const NEXT = ["data-next-pixels", "data-next-picture"];

/** The server's HTML of a viewer, except for the image after it. */
function written(figure) {
  const copy = figure.cloneNode(true);
  for (const name of NEXT) copy.removeAttribute(name);
  return copy.outerHTML;
}

/** Replace everything around one element, up to <main>, with what is around another. */
function replaceAround(old, fresh) {
  for (; old.id !== "main"; [old, fresh] = [old.parentElement, fresh.parentElement]) {
    for (const node of [...old.parentElement.childNodes]) if (node !== old) node.remove();
    const around = [...fresh.parentElement.childNodes];
    old.before(...around.slice(0, around.indexOf(fresh)));
    old.after(...around.slice(around.indexOf(fresh) + 1));
  }
}

async function ask() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`${answer.status} for ${location.href}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

const nextFrame = () => new Promise((resume) => { requestAnimationFrame(resume); });

/** Wait until this page is on the screen, so that requests do not delay that. */
async function seen() {
  if (!document.prerendering) return;
  await new Promise((resume) => { document.addEventListener("prerenderingchange", resume, { once: true }); });
  await nextFrame();
  await nextFrame();
}

async function open(before) {
  await seen();
  const page = await ask().catch(() => null);
  const fresh = page?.querySelector(".reading .viewer");
  if (!fresh || written(fresh) !== before || page.querySelector("meta[http-equiv=refresh]")) {
    location.reload(); // which shows what is wrong, or hides what may no longer be seen
    await new Promise(() => {});
  }
  for (const name of NEXT) viewer.toggleAttribute(name, fresh.hasAttribute(name));
  for (const name of NEXT.filter((one) => fresh.hasAttribute(one))) viewer.setAttribute(name, fresh.getAttribute(name));
  replaceAround(viewer, fresh);
  for (const name of ["data-fetched-ahead", "data-blind"]) reading.removeAttribute(name);
  showTimes();
}

/** Resolves once this page is shown and up to date. */
export const shown = reading.hasAttribute("data-fetched-ahead") ? open(written(viewer)) : Promise.resolve();
