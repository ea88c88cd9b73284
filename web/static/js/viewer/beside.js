// Another X-ray of the same patient next to the page's own: a second pane, with the same tools.
import { _ } from "../words.js";
import { Pane } from "./pane.js";
import { addressOf, fetchSamples } from "./samples.js";

export class Beside {
  constructor(viewer) {
    this.viewer = viewer;
    this.panes = viewer.root.querySelector(".viewer-panes");
    this.about = viewer.root.querySelector(".pane-about");
    this.template = document.getElementById("beside-pane").content.firstElementChild;
  }

  toggle() {
    if (this.box) this.close();
    else this.open();
  }

  /** Show the first in the list: the nearest earlier one, if any. */
  open() {
    this.rows = [...document.querySelectorAll("#same-patient li")];
    const [row] = this.rows;
    if (!row) return;
    const { own, root } = this.viewer;
    this.box = this.template.cloneNode(true);
    this.panes.append(this.box);
    root.classList.add("beside");
    this.about.replaceChildren(...copiesOf(document.getElementById("same-patient-own")));
    this.about.hidden = false;
    own.label = this.about.firstElementChild.textContent;
    if (root.getBoundingClientRect().top < 0) root.scrollIntoView(); // where the button is further down
    this.offerChoice(row);
    makeStop(own.stage, own.label);
    this.show(row);
  }

  offerChoice(row) {
    const choice = this.box.querySelector("select");
    this.choice = choice;
    choice.append(...this.rows.map((one, index) => new Option(titleOf(one), String(index))));
    choice.value = String(this.rows.indexOf(row));
    choice.hidden = this.rows.length < 2;
    this.box.querySelector("b").hidden = !choice.hidden;
    choice.addEventListener("change", () => this.show(this.rows[Number(choice.value)]));
  }

  show(row) {
    const { viewer } = this;
    if (this.pane) viewer.remove(this.pane);
    const stage = this.template.querySelector(".viewer-stage").cloneNode(true);
    this.box.querySelector(".viewer-stage").replaceWith(stage);
    this.box.querySelector("b").textContent = titleOf(row);
    this.box.querySelector(".pane-result").replaceChildren(...copiesOf(row.querySelector(".pane-result")));
    this.box.querySelector("a").href = row.querySelector("a").href;
    const day = row.querySelector("a").textContent.trim();
    const picture = stage.querySelector("img");
    picture.alt = _("X-ray, %(day)s", { day });
    picture.src = row.dataset.picture;
    makeStop(stage, picture.alt);
    const size = { width: Number(row.dataset.width), height: Number(row.dataset.height) };
    const pane = new Pane("beside", stage, size, row.dataset.pixels, () => viewer.redraw());
    Object.assign(pane, { label: day });
    this.pane = pane;
    viewer.measure(viewer.own); // it has less space now
    viewer.add(pane);
    pane.view.follow(viewer.own.view);
    this.load(pane);
  }

  async load(pane) {
    const fetched = fetchSamples(addressOf(pane.address, Math.min(this.viewer.largest, pane.screen.largest)));
    try {
      await pane.load(fetched);
    } catch {
      pane.stage.querySelector(".pane-failed").hidden = false; // neither its samples nor its picture could be loaded
    }
    if (pane.isClosed) return;
    pane.stage.dataset.shown = pane.drawnBy;
    this.viewer.redraw();
  }

  close() {
    const { viewer } = this;
    const hadFocus = this.box.contains(document.activeElement);
    viewer.remove(this.pane);
    this.box.remove();
    Object.assign(this, { box: null, pane: null });
    this.about.hidden = true;
    for (const name of ["tabindex", "role", "aria-label"]) viewer.own.stage.removeAttribute(name);
    viewer.root.classList.remove("beside");
    viewer.measure(viewer.own);
    if (hadFocus) viewer.buttons.get("beside").focus();
  }
}

const copiesOf = (element) => [...element.childNodes].map((node) => node.cloneNode(true));

/** State the date of an X-ray, and how long before or after the other it is. */
const titleOf = (row) => [...row.querySelectorAll(".pane-title > *")].map((part) => part.textContent.trim()).filter(Boolean).join(" · ");

/** Make a stage focusable, so that keys can apply to it. */
function makeStop(stage, label) {
  stage.tabIndex = 0;
  stage.setAttribute("role", "group");
  stage.setAttribute("aria-label", label);
}
