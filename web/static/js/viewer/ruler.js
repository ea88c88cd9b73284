// A ruler on the image: two ends that are dragged, set by two clicks, or moved with the arrow keys.
import { tenths } from "../numbers.js";
import { _, plural } from "../words.js";

const NEAR = 1; // image pixels per press of an arrow, ten with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ELEMENTS = {
  ImagerPixelSpacing: "Imager Pixel Spacing", PixelSpacing: "Pixel Spacing", NominalScannedPixelSpacing: "Nominal Scanned Pixel Spacing",
};

export class Ruler {
  constructor(stage, view, onChange) {
    Object.assign(this, { view, onChange, ends: null, isPlacing: false, samples: null, explanation: "" });
    this.box = stage.querySelector(".viewer-ruler");
    this.label = this.box.querySelector("output");
    this.line = this.box.querySelector("line");
    this.handles = [...this.box.querySelectorAll("button")];
    this.handles.forEach((handle, end) => {
      handle.addEventListener("pointerdown", (event) => this.grab(event, end));
      handle.addEventListener("keydown", (event) => this.nudge(event, end));
    });
  }

  get isOn() { return this.ends !== null; }

  /** Lay it across the middle of the visible part, or remove it. */
  toggle() {
    const { across, down } = this.view;
    this.isPlacing = false;
    this.ends = this.isOn ? null : [[across * 0.35, down / 2], [across * 0.65, down / 2]].map((at) => this.view.toImage(at));
    this.onChange();
  }

  /** Begin at a point of the screen, or end there if a click began it. */
  begin(at) {
    const point = this.view.toImage(at);
    this.ends = this.isPlacing ? [this.ends[0], point] : [point, point];
    this.isPlacing = !this.isPlacing;
    this.onChange();
  }

  /** Move the second end to a point of the screen. */
  lead(at) {
    this.ends = [this.ends[0], this.view.toImage(at)];
    this.isPlacing = false;
    this.onChange();
  }

  grab(event, end) {
    event.stopPropagation();
    event.preventDefault();
    const handle = event.currentTarget;
    handle.focus();
    handle.setPointerCapture(event.pointerId);
    const box = this.box.getBoundingClientRect();
    const move = ({ clientX, clientY }) => {
      this.ends[end] = this.view.toImage([clientX - box.left, clientY - box.top]);
      this.onChange();
    };
    handle.addEventListener("pointermove", move);
    for (const over of ["pointerup", "pointercancel"]) handle.addEventListener(over, () => handle.removeEventListener("pointermove", move), { once: true });
  }

  nudge(event, end) {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const far = (event.shiftKey ? 10 : 1) * NEAR * Math.max(1, 1 / this.view.scale);
    const [x, y] = this.view.toScreen(this.ends[end]);
    this.ends[end] = this.view.toImage([x + arrow[0] * far * this.view.scale, y + arrow[1] * far * this.view.scale]);
    this.onChange();
  }

  draw() {
    this.box.hidden = !this.isOn;
    this.explanation = "";
    if (!this.isOn) return;
    const [[x1, y1], [x2, y2]] = this.ends.map((end) => this.view.toScreen(end));
    for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) this.line.setAttribute(name, value);
    [[x1, y1], [x2, y2]].forEach(([x, y], end) => Object.assign(this.handles[end].style, { left: `${x}px`, top: `${y}px` }));
    Object.assign(this.label.style, { left: `${(x1 + x2) / 2}px`, top: `${(y1 + y2) / 2}px` });
    const length = this.length();
    this.label.textContent = length;
    this.explanation = this.explain(length);
  }

  length() {
    const [[x1, y1], [x2, y2]] = this.ends;
    const spacing = this.samples?.spacing;
    if (spacing) return _("%(number)s mm", { number: tenths(Math.hypot((x2 - x1) * spacing.across, (y2 - y1) * spacing.down)) });
    const factor = this.samples ? this.samples.full_width / this.samples.width : 1;
    return plural(Math.round(Math.hypot(x2 - x1, y2 - y1) * factor), "%(count)s pixel", "%(count)s pixels");
  }

  /** State what a length is based on, and where it is valid. */
  explain(length) {
    const spacing = this.samples?.spacing;
    if (!spacing) return _("%(length)s. The file does not say how large a pixel is.", { length });
    const values = { length, element: ELEMENTS[spacing.source] };
    // Translators: %(element)s is the English name of an element of a DICOM file
    if (spacing.corrected) return _("%(length)s in the body, from the file's %(element)s, which is corrected for magnification.", values);
    return _("%(length)s at the detector, from the file's %(element)s. In the body it is smaller, because of magnification.", values);
  }
}
