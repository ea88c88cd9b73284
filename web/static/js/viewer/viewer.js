// The viewer of an image: its picture at once, then its samples at full depth; gestures, buttons and keys for all it does.
import { isCommand } from "../keys.js";
import { count, percent, significant } from "../numbers.js";
import { shown } from "../shown.js";
import { _, plural } from "../words.js";
import { CanvasScreen } from "./canvas2d.js";
import { Gestures } from "./gestures.js";
import { HeatMap } from "./heatmap.js";
import { Ruler } from "./ruler.js";
import { addressOf, fetchSamples, preload, samplesOf } from "./samples.js";
import { View } from "./view.js";
import { WebGlScreen } from "./webgl.js";

const SAY_MS = 800;
const KEPT_MS = 120000; // as KEPT_SECONDS of web/images/pictures.py
const PAN = 80;
const NARROWER = 0.8;
const DARKER = 0.05; // of the window's width
const LARGEST = matchMedia("(pointer: coarse)").matches ? 4096 : 8192; // of telephones and tablets, and of desks
const root = document.getElementById("viewer");

class Viewer {
  /** Begin with an image of so many pixels, whose samples are promised. */
  constructor({ width, height }, fetched) {
    this.stage = document.getElementById("viewer-stage");
    this.link = document.getElementById("image-view");
    this.picture = this.link.querySelector("img");
    this.layers = this.link.querySelector(".image-layers");
    this.readout = document.getElementById("viewer-readout");
    this.flipped = document.getElementById("viewer-flipped");
    this.buttons = new Map([...root.querySelectorAll("[data-tool]")].map((button) => [button.dataset.tool, button]));
    this.fetched = fetched;
    this.view = new View(width, height);
    this.ruler = new Ruler(this.view, () => this.redraw());
    this.mode = "pan";
    this.isInverted = false;
    this.frame = 0;
    this.tools = {
      in: () => this.view.zoomIn(),
      out: () => this.view.zoomOut(),
      fit: () => this.view.fit(),
      actual: () => this.view.zoomTo(this.actualScale()),
      window: () => { this.mode = this.mode === "window" ? "pan" : "window"; },
      narrower: () => this.shade(NARROWER, 0),
      wider: () => this.shade(1 / NARROWER, 0),
      darker: () => this.shade(1, DARKER),
      brighter: () => this.shade(1, -DARKER),
      invert: () => { this.isInverted = !this.isInverted; },
      rotate: () => this.view.rotate(),
      mirror: () => this.view.mirror(),
      ruler: () => this.ruler.toggle(),
      full: () => {
        if (document.fullscreenElement) document.exitFullscreen();
        else if (document.fullscreenEnabled) root.requestFullscreen();
      },
      reset: () => this.reset(),
      more: () => { this.more.hidden = !this.more.hidden; },
      left: () => this.view.move(PAN, 0),
      right: () => this.view.move(-PAN, 0),
      up: () => this.view.move(0, PAN),
      down: () => this.view.move(0, -PAN),
    };
    this.more = document.getElementById("viewer-more");
  }

  /** Take over from the plain picture. */
  begin() {
    root.classList.add("live");
    document.getElementById("viewer-tools").hidden = false;
    this.readout.hidden = false;
    this.buttons.get("full").hidden = !document.fullscreenEnabled;
    this.openScreen();
    this.listen();
    this.measure();
    this.load();
  }

  openScreen() {
    this.canvas = document.createElement("canvas");
    this.canvas.id = "viewer-canvas";
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", this.picture.alt);
    this.screen = this.hasLostContext ? new CanvasScreen(this.canvas) : WebGlScreen.on(this.canvas) ?? new CanvasScreen(this.canvas);
    this.canvas.addEventListener("webglcontextlost", () => this.replaceScreen());
  }

  replaceScreen() {
    this.hasLostContext = true;
    const old = this.canvas;
    this.openScreen();
    if (this.samples) this.screen.show(this.samples);
    old.replaceWith(this.canvas);
    this.measure();
  }

  async load() {
    const samples = await this.bestSamples();
    this.samples = this.ruler.samples = samples;
    this.ruler.isPlacing = false;
    if (this.ruler.isOn) this.ruler.ends = this.ruler.ends.map(([x, y]) => [(x * samples.width) / this.view.width, (y * samples.height) / this.view.height]);
    this.view.remeasure(samples.width, samples.height);
    this.screen.show(samples);
    this.resetShades();
    this.link.removeAttribute("href");
    this.link.setAttribute("aria-hidden", "true"); // from now on the canvas is the image
    this.stage.insertBefore(this.canvas, this.link.nextSibling);
    this.draw();
    root.dataset.shown = this.screen instanceof WebGlScreen ? "webgl" : "canvas";
    performance.mark("image-shown");
    await shown;
    this.measure(); // what is around it may have changed
    if (root.dataset.nextPixels) this.fetchNext();
  }

  async fetchNext() {
    const next = addressOf(root.dataset.nextPixels, Math.min(LARGEST, this.screen.largest));
    await preload([next, root.dataset.nextPicture]).catch(() => {}); // it is asked for again when it is opened
    // Then its page is prerendered, by next.speculationrules, for as long as its picture is kept.
    const { classList } = document.getElementById("next");
    classList.add("prerendered");
    setTimeout(() => classList.remove("prerendered"), KEPT_MS);
  }

  async bestSamples() {
    try {
      const samples = await this.fetched;
      const isTooLarge = Math.max(samples.width, samples.height) > this.screen.largest;
      return isTooLarge ? await fetchSamples(addressOf(root.dataset.pixels, this.screen.largest)) : samples;
    } catch {
      await this.picture.decode();
      return samplesOf(this.picture); // so that it can be read all the same; the readout says at which depth
    }
  }

  listen() {
    new ResizeObserver(() => this.measure()).observe(this.stage);
    new Gestures(this.stage, this);
    root.addEventListener("click", (event) => {
      const tool = event.target.closest("[data-tool]")?.dataset.tool;
      if (tool) this.use(tool);
    });
    document.getElementById("viewer-tools").addEventListener("keydown", (event) => this.rove(event));
    addEventListener("keydown", (event) => this.press(event), { capture: true });
    document.addEventListener("fullscreenchange", () => this.redraw());
  }

  use(tool) {
    this.tools[tool]();
    this.redraw();
  }

  press(event) {
    if (!isCommand(event)) return;
    const isMoving = event.key.startsWith("Arrow");
    if (isMoving && (this.view.isFitted || event.target.closest("input, button, [role=toolbar]"))) return;
    const tool = KEYS[event.key];
    if (tool === undefined) return;
    event.preventDefault();
    if (tool === "toggle") this.use(this.view.isFitted ? "actual" : "fit");
    else this.use(tool);
  }

  /** Move the focus along the toolbar, as its role promises. */
  rove(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || event.target.matches("input")) return;
    event.preventDefault();
    const stops = [...event.currentTarget.querySelectorAll("button")].filter((button) => button.checkVisibility());
    stops.at((stops.indexOf(event.target) + step) % stops.length).focus();
  }

  actualScale() {
    const factor = this.samples ? this.samples.full_width / this.samples.width : 1;
    return factor / devicePixelRatio;
  }

  measure() {
    const box = this.stage.getBoundingClientRect();
    const place = [box.left, box.top + scrollY, box.width, box.height, devicePixelRatio].join();
    if (this.canvas === this.measured?.canvas && place === this.measured.place) return;
    this.measured = { canvas: this.canvas, place };
    const whole = (value) => Math.ceil(value * devicePixelRatio) / devicePixelRatio;
    // Moved to whole points of the screen, or the browser would smear each over two.
    this.offset = [whole(box.left) - box.left, whole(box.top + scrollY) - box.top - scrollY];
    const [width, height] = [box.width, box.height].map((side) => Math.max(1, Math.ceil(side * devicePixelRatio)));
    Object.assign(this.canvas, { width, height });
    const sides = { width: width / devicePixelRatio, height: height / devicePixelRatio, left: this.offset[0], top: this.offset[1] };
    for (const [name, value] of Object.entries(sides)) this.canvas.style[name] = `${value}px`;
    this.view.resize(box.width, box.height);
    this.draw();
  }

  reset() {
    this.view.reset();
    this.resetShades();
    this.isInverted = false;
    this.mode = "pan";
    if (this.ruler.isOn) this.ruler.toggle();
  }

  resetShades() {
    if (this.samples) Object.assign(this, { low: this.samples.black, high: this.samples.white });
  }

  /** Make the window so many times as wide, and all greys darker by a part of its width. */
  shade(factor, darker) {
    if (!this.samples) return;
    const most = 2 * 256 ** this.samples.bytes;
    const width = Math.min(Math.max((this.high - this.low) * factor, 1), most);
    const way = this.samples.isInverse === this.isInverted ? 1 : -1;
    const centre = (this.low + this.high) / 2 + darker * way * width;
    const held = Math.min(Math.max(centre, -most / 2), most);
    Object.assign(this, { low: held - width / 2, high: held + width / 2 });
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
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
    this.stage.dataset.mode = this.mode;
    this.ruler.draw();
    this.mark();
    this.tell();
  }

  mark() {
    const pressed = {
      fit: this.view.isFitted, actual: Math.abs(this.view.scale / this.actualScale() - 1) < 1e-6, window: this.mode === "window",
      invert: this.isInverted, mirror: this.view.isMirrored, ruler: this.ruler.isOn, full: Boolean(document.fullscreenElement),
    };
    for (const [tool, is] of Object.entries(pressed)) this.buttons.get(tool).setAttribute("aria-pressed", String(is));
    this.buttons.get("more").setAttribute("aria-expanded", String(!this.more.hidden));
  }

  tell() {
    const parts = [_("Zoom %(scale)s", { scale: percent(this.view.scale / this.actualScale()) })];
    if (this.samples) {
      const { slope, intercept, bits } = this.samples;
      const round = (value) => (slope < 0.1 ? significant(value, 4) : count(Math.round(value)));
      const shades = { width: round((this.high - this.low) * slope), level: round(((this.low + this.high) / 2) * slope + intercept) };
      // Translators: DICOM's Window Width and Window Center, of the greys that are shown
      parts.push(_("Window %(width)s, level %(level)s", shades));
      parts.push(this.samples.isPicture ? _("8 bits: only the picture could be loaded") : plural(bits, "%(count)s bit", "%(count)s bits"));
    }
    if (this.samples && this.samples.full_width > this.samples.width) {
      const { width, height } = this.samples;
      parts.push(_("averaged to %(width)s × %(height)s", { width: count(width), height: count(height) }));
    }
    const text = parts.join(" · ");
    if (text === this.readout.textContent) return;
    this.readout.textContent = text;
    // Said once it rests: a gesture changes it many times a second.
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { document.getElementById("viewer-said").textContent = text; }, SAY_MS);
  }
}

const KEYS = {
  "+": "in", "=": "in", "-": "out", 0: "fit", z: "toggle", i: "invert", r: "rotate", x: "mirror", m: "ruler", w: "window", f: "full", d: "reset",
  "[": "narrower", "]": "wider", ",": "darker", ".": "brighter", ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
};

if (root?.dataset.pixels) {
  new HeatMap(root); // it does not wait for the image
  const picture = root.querySelector("img");
  // Asked for before it is known what this screen can draw: nearly all can draw this much.
  const fetched = fetchSamples(addressOf(root.dataset.pixels, LARGEST));
  // Before it is shown a page decodes nothing; then that would keep its first frame waiting.
  const begun = document.prerendering ? shown : Promise.resolve();
  const decoded = begun.then(() => picture.decode()).then(() => ({ width: picture.naturalWidth, height: picture.naturalHeight }));
  // Where neither comes, what the browser makes of the picture stays.
  Promise.any([decoded, fetched]).then((size) => new Viewer(size, fetched).begin(), () => {});
}
