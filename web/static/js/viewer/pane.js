// One image on the screen, with its own view and window: its picture at once, then its samples at full depth.
import { count, percent, significant } from "../numbers.js";
import { _, plural } from "../words.js";
import { CanvasScreen } from "./canvas2d.js";
import { Ruler } from "./ruler.js";
import { addressOf, fetchSamples, samplesOf } from "./samples.js";
import { View } from "./view.js";
import { WebGlScreen } from "./webgl.js";

export class Pane {
  /** Begin on a stage with an image of this size, whose samples are at an address; `redraw` schedules a redraw. */
  constructor(name, stage, { width, height }, address, redraw) {
    Object.assign(this, { name, stage, address, isInverted: false });
    this.link = stage.querySelector(".image-view");
    this.picture = this.link.querySelector("img");
    this.layers = this.link.querySelector(".image-layers");
    this.readout = stage.querySelector(".viewer-readout");
    this.flipped = stage.querySelector(".viewer-flipped");
    this.view = new View(width, height);
    this.ruler = new Ruler(stage, this.view, redraw);
    this.redraw = redraw;
    this.readout.hidden = false;
    this.openScreen();
  }

  openScreen() {
    this.canvas = document.createElement("canvas");
    this.canvas.id = `${this.name}-canvas`;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", this.picture.alt);
    this.screen = this.hasLostContext ? new CanvasScreen(this.canvas) : WebGlScreen.on(this.canvas) ?? new CanvasScreen(this.canvas);
    this.canvas.addEventListener("webglcontextlost", () => { if (!this.isClosed) this.replaceScreen(); });
  }

  replaceScreen() {
    this.hasLostContext = true;
    const old = this.canvas;
    this.openScreen();
    if (this.samples) this.screen.show(this.samples);
    old.replaceWith(this.canvas);
    this.measure();
    this.redraw();
  }

  /** Release the GPU memory. */
  close() {
    this.isClosed = true;
    this.screen.close?.();
  }

  get drawnBy() { return this.screen instanceof WebGlScreen ? "webgl" : "canvas"; }

  async load(fetched) {
    const samples = await this.bestSamples(fetched);
    if (this.isClosed) return;
    this.samples = this.ruler.samples = samples;
    this.ruler.isPlacing = false;
    if (this.ruler.isOn) this.ruler.ends = this.ruler.ends.map(([x, y]) => [(x * samples.width) / this.view.width, (y * samples.height) / this.view.height]);
    this.view.remeasure(samples.width, samples.height);
    this.screen.show(samples);
    this.resetShades();
    this.link.removeAttribute("href");
    this.link.setAttribute("aria-hidden", "true"); // from now on the canvas is the image
    this.stage.insertBefore(this.canvas, this.link.nextSibling);
  }

  async bestSamples(fetched) {
    try {
      const samples = await fetched;
      const isTooLarge = Math.max(samples.width, samples.height) > this.screen.largest;
      return isTooLarge ? await fetchSamples(addressOf(this.address, this.screen.largest)) : samples;
    } catch {
      await this.picture.decode();
      return samplesOf(this.picture); // so that it remains readable; the readout states the depth
    }
  }

  actualScale() {
    const factor = this.samples ? this.samples.full_width / this.samples.width : 1;
    return factor / devicePixelRatio;
  }

  /** Update size and position of the stage; return whether they changed. */
  measure() {
    const box = this.stage.getBoundingClientRect();
    const place = [box.left, box.top + scrollY, box.width, box.height, devicePixelRatio].join();
    if (this.canvas === this.measured?.canvas && place === this.measured.place) return false;
    this.measured = { canvas: this.canvas, place };
    const whole = (value) => Math.ceil(value * devicePixelRatio) / devicePixelRatio;
    // Aligned to whole device pixels, or the browser would smear each over two.
    this.offset = [whole(box.left) - box.left, whole(box.top + scrollY) - box.top - scrollY];
    const [width, height] = [box.width, box.height].map((side) => Math.max(1, Math.ceil(side * devicePixelRatio)));
    Object.assign(this.canvas, { width, height });
    const sides = { width: width / devicePixelRatio, height: height / devicePixelRatio, left: this.offset[0], top: this.offset[1] };
    for (const [name, value] of Object.entries(sides)) this.canvas.style[name] = `${value}px`;
    this.view.resize(box.width, box.height);
    return true;
  }

  reset() {
    this.view.reset();
    this.resetShades();
    this.isInverted = false;
    if (this.ruler.isOn) this.ruler.toggle();
  }

  resetShades() {
    if (this.samples) Object.assign(this, { low: this.samples.black, high: this.samples.white });
  }

  /** Scale the window's width, and darken all greys by a fraction of it. */
  shade(factor, darker) {
    if (!this.samples) return;
    const most = 2 * 256 ** this.samples.bytes;
    const width = Math.min(Math.max((this.high - this.low) * factor, 1), most);
    const way = this.samples.isInverse === this.isInverted ? 1 : -1;
    const centre = (this.low + this.high) / 2 + darker * way * width;
    const held = Math.min(Math.max(centre, -most / 2), most);
    Object.assign(this, { low: held - width / 2, high: held + width / 2 });
  }

  draw(mode) {
    if (this.samples) {
      const [a, b, c, d, e, f] = this.view.matrix();
      const turn = [a, b, c, d].map((value) => value * devicePixelRatio);
      // Also on whole points, so that an image at its own size is shown pixel by pixel.
      const place = [e - this.offset[0], f - this.offset[1]].map((value) => Math.round(value * devicePixelRatio));
      this.screen.draw([...turn, ...place], this);
    }
    const { width, height } = this.view;
    Object.assign(this.layers.style, { width: `${width}px`, height: `${height}px`, transform: `matrix(${this.view.matrix()})` });
    this.picture.style.visibility = this.samples ? "hidden" : "visible";
    this.flipped.hidden = !this.view.isMirrored;
    this.stage.classList.toggle("zoomed", !this.view.isFitted);
    this.stage.dataset.mode = mode;
    this.ruler.draw();
    const text = this.describe();
    if (text !== this.readout.textContent) this.readout.textContent = text;
  }

  describe() {
    const parts = [_("Zoom %(scale)s", { scale: percent(this.view.scale / this.actualScale()) })];
    if (this.samples) {
      const { slope, intercept, bits } = this.samples;
      const more = this.samples.voi_lut_function === "LINEAR" ? 1 : 0; // as DICOM defines it
      const round = (value) => (slope < 0.1 ? significant(value, 4) : count(Math.round(value)));
      const shades = { width: round((this.high - this.low) * slope + more), level: round(((this.low + this.high) / 2) * slope + intercept + more / 2) };
      // Translators: DICOM's Window Width and Window Center, of the greys that are shown
      parts.push(_("Window %(width)s, level %(level)s", shades));
      parts.push(this.samples.isPicture ? _("8 bits: original pixels could not be loaded") : plural(bits, "%(count)s bit", "%(count)s bits"));
    }
    if (this.samples && this.samples.full_width > this.samples.width) {
      const { width, height } = this.samples;
      parts.push(_("averaged to %(width)s × %(height)s", { width: count(width), height: count(height) }));
    }
    return parts.join(" · ");
  }
}
