// An image's page that was fetched ahead: nobody has opened it until it is shown. Then the server is asked for it as for
// any page, which notes the view and the claim, and all around the viewer becomes what the server says by now.
import { showTimes } from "./times.js";

const reading = document.querySelector(".reading");
const viewer = reading.querySelector(".viewer"); // there also where no picture is
const NEXT = ["data-next-pixels", "data-next-picture"];

/** What the server wrote of a viewer, but for the image after it. */
function written(figure) {
  const copy = figure.cloneNode(true);
  for (const name of NEXT) copy.removeAttribute(name);
  return copy.outerHTML;
}

/** Put what is around one element, up to <main>, in place of what is around another. */
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

/** Wait until this page is on the screen: what is asked for then does not delay that. */
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
    location.reload(); // which says what is wrong, or hides what may no longer be seen
    await new Promise(() => {});
  }
  for (const name of NEXT) viewer.toggleAttribute(name, fresh.hasAttribute(name));
  for (const name of NEXT.filter((one) => fresh.hasAttribute(one))) viewer.setAttribute(name, fresh.getAttribute(name));
  replaceAround(viewer, fresh);
  for (const name of ["data-fetched-ahead", "data-blind"]) reading.removeAttribute(name);
  showTimes();
}

/** Kept once this page is shown and says what is so. */
export const shown = reading.hasAttribute("data-fetched-ahead") ? open(written(viewer)) : Promise.resolve();
