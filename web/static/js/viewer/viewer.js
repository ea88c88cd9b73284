// The viewer of an image: gestures, buttons and keys for everything that it does to one image or two side by side.
import { isCommand } from "../keys.js";
import { shown } from "../shown.js";
import { Gestures } from "./gestures.js";
import { HeatMap } from "./heatmap.js";
import { Pane } from "./pane.js";
import { addressOf, fetchSamples, preload } from "./samples.js";

const SAY_MS = 800;
const KEPT_MS = 120000; // as KEPT_SECONDS of web/images/pictures.py
const PAN = 80;
const STEP = 1.25;
const NARROWER = 0.8;
const DARKER = 0.05; // of the window's width
const LARGEST = matchMedia("(pointer: coarse)").matches ? 4096 : 8192; // on phones and tablets, and on desktops
const root = document.getElementById("viewer");

class Viewer {
  /** Begin with an image of this size, whose samples are a promise. */
  constructor(size, fetched) {
    this.root = root;
    this.largest = LARGEST;
    this.buttons = new Map([...root.querySelectorAll("[data-tool]")].map((button) => [button.dataset.tool, button]));
    this.fetched = fetched;
    this.panes = [];
    this.isLinked = true;
    this.mode = "pan";
    this.frame = 0;
    this.own = new Pane("viewer", document.getElementById("viewer-stage"), size, root.dataset.pixels, () => this.redraw());
    this.active = this.own;
    this.said = document.getElementById("viewer-said");
    this.rulerSaid = document.getElementById("viewer-ruler-said");
    this.tools = {
      in: () => this.zoom(STEP),
      out: () => this.zoom(1 / STEP),
      fit: () => this.each((pane) => pane.view.fit()),
      actual: () => this.zoom(this.active.actualScale() / this.active.view.scale),
      window: () => { this.mode = this.mode === "window" ? "pan" : "window"; },
      narrower: () => this.shade(NARROWER, 0),
      wider: () => this.shade(1 / NARROWER, 0),
      darker: () => this.shade(1, DARKER),
      brighter: () => this.shade(1, -DARKER),
      invert: () => {
        const isInverted = !this.active.isInverted;
        this.each((pane) => { pane.isInverted = isInverted; });
      },
      rotate: () => this.each((pane) => pane.view.rotate()),
      mirror: () => this.each((pane) => pane.view.mirror()),
      ruler: () => this.active.ruler.toggle(),
      full: () => {
        if (document.fullscreenElement) document.exitFullscreen();
        else if (document.fullscreenEnabled) root.requestFullscreen();
      },
      reset: () => {
        this.each((pane) => pane.reset());
        this.mode = "pan";
      },
      more: () => { this.more.hidden = !this.more.hidden; },
      left: () => this.move(PAN, 0),
      right: () => this.move(-PAN, 0),
      up: () => this.move(0, PAN),
      down: () => this.move(0, -PAN),
      beside: () => this.compare((beside) => beside.toggle()),
      link: () => { if (this.panes.length > 1) this.isLinked = !this.isLinked; },
    };
    this.more = document.getElementById("viewer-more");
  }

  /** Replace the plain picture. */
  begin() {
    root.classList.add("live");
    document.getElementById("viewer-tools").hidden = false;
    this.buttons.get("full").hidden = !document.fullscreenEnabled;
    this.listen();
    this.add(this.own);
    this.load();
  }

  async load() {
    await this.own.load(this.fetched);
    this.draw();
    root.dataset.shown = this.own.drawnBy;
    performance.mark("image-shown");
    await shown;
    this.measure(this.own); // its surroundings may have changed
    if (root.dataset.nextPixels) this.fetchNext();
  }

  async fetchNext() {
    const next = addressOf(root.dataset.nextPixels, Math.min(LARGEST, this.own.screen.largest));
    await preload([next, root.dataset.nextPicture]).catch(() => {}); // it is requested again when opened
    // Then its page is prerendered, by next.speculationrules, for as long as its picture is cached.
    const { classList } = document.getElementById("next");
    classList.add("prerendered");
    setTimeout(() => classList.remove("prerendered"), KEPT_MS);
  }

  /** Handle a pane from now on, and draw it as its stage changes. */
  add(pane) {
    this.panes.push(pane);
    new Gestures(pane, this);
    pane.stage.addEventListener("focusin", () => this.handle(pane));
    pane.watch = new ResizeObserver(() => this.measure(pane));
    pane.watch.observe(pane.stage);
    this.measure(pane);
  }

  remove(pane) {
    pane.watch.disconnect();
    pane.close();
    this.panes = this.panes.filter((one) => one !== pane);
    if (this.active === pane) this.active = this.own;
  }

  /** Load the code for a second image once it is needed; the list as of when the page is shown counts. */
  async compare(act) {
    if (!this.buttons.has("beside")) return;
    await shown;
    this.beside ??= import("./beside.js").then(({ Beside }) => new Beside(this));
    act(await this.beside);
    this.redraw();
  }

  listen() {
    root.addEventListener("click", (event) => {
      const tool = event.target.closest("[data-tool]")?.dataset.tool;
      if (tool) this.use(tool);
    });
    document.addEventListener("click", (event) => { if (event.target.closest(".beside-open")) this.use("beside"); });
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
    if (isMoving && (this.active.view.isFitted || event.target.closest("input, button, [role=toolbar]"))) return;
    const tool = KEYS[event.key];
    if (tool === undefined) return;
    event.preventDefault();
    if (tool === "toggle") this.use(this.active.view.isFitted ? "actual" : "fit");
    else this.use(tool);
  }

  /** Move the focus along the toolbar, as its ARIA role requires. */
  rove(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || event.target.matches("input")) return;
    event.preventDefault();
    const stops = [...event.currentTarget.querySelectorAll("button")].filter((button) => button.checkVisibility());
    stops.at((stops.indexOf(event.target) + step) % stops.length).focus();
  }

  /** Apply buttons and keys to this pane, where they do not apply to both. */
  handle(pane) {
    if (this.active === pane) return;
    this.active = pane;
    this.redraw();
  }

  /** Do something to the active image, and to the other one where both are linked. */
  each(act) {
    (this.isLinked ? this.panes : [this.active]).forEach(act);
  }

  /** Zoom by a factor about a point of the active pane's screen, within the limits of every image. */
  zoom(factor, at) {
    const held = [];
    this.each((pane) => held.push(pane.view.allowed(factor)));
    const least = factor < 1 ? Math.max(...held) : Math.min(...held);
    this.each((pane) => pane.view.zoom(least, at && pane.view.pointAs(at, this.active.view)));
  }

  move(right, down) {
    const { view } = this.active;
    this.each((pane) => {
      const part = pane.view.partOf(view);
      pane.view.move(right * part, down * part);
    });
  }

  shade(factor, darker) {
    this.each((pane) => pane.shade(factor, darker));
  }

  measure(pane) {
    if (pane.measure()) this.draw();
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    for (const pane of this.panes) {
      pane.draw(this.mode);
      pane.stage.classList.toggle("active", pane === this.active);
    }
    const { explanation } = this.active.ruler;
    this.rulerSaid.hidden = !explanation;
    if (this.rulerSaid.textContent !== explanation) this.rulerSaid.textContent = explanation;
    this.mark();
    this.tell();
  }

  mark() {
    const { view, isInverted, ruler } = this.active;
    const [isBeside, isActual] = [this.panes.length > 1, Math.abs(view.scale / this.active.actualScale() - 1) < 1e-6];
    const pressed = {
      fit: view.isFitted, actual: isActual, window: this.mode === "window", invert: isInverted, mirror: view.isMirrored,
      ruler: ruler.isOn, full: Boolean(document.fullscreenElement), beside: isBeside, link: this.isLinked,
    };
    for (const [tool, is] of Object.entries(pressed)) this.buttons.get(tool)?.setAttribute("aria-pressed", String(is));
    this.buttons.get("more").setAttribute("aria-expanded", String(!this.more.hidden));
    document.querySelector(".beside-open")?.setAttribute("aria-pressed", String(isBeside));
    const link = this.buttons.get("link");
    if (link) link.hidden = !isBeside;
    root.classList.toggle("unlinked", isBeside && !this.isLinked);
  }

  /** Announce how the active image is shown once it stops changing: a gesture changes it many times a second. */
  tell() {
    const text = [this.panes.length > 1 && this.active.label, this.active.readout.textContent].filter(Boolean).join(": ");
    if (text === this.told) return;
    this.told = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { this.said.textContent = text; }, SAY_MS);
  }
}

const KEYS = {
  "+": "in", "=": "in", "-": "out", 0: "fit", z: "toggle", i: "invert", r: "rotate", x: "mirror", m: "ruler", w: "window", f: "full", d: "reset",
  p: "beside", y: "link", "[": "narrower", "]": "wider", ",": "darker", ".": "brighter",
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
};

if (root?.dataset.pixels) {
  new HeatMap(root); // it does not wait for the image
  const picture = root.querySelector("img");
  // Requested before it is known what this screen can draw: nearly all can draw this much.
  const fetched = fetchSamples(addressOf(root.dataset.pixels, LARGEST));
  // Before it is shown a page decodes nothing, as that would then delay its first frame.
  const begun = document.prerendering ? shown : Promise.resolve();
  const decoded = begun.then(() => picture.decode()).then(() => ({ width: picture.naturalWidth, height: picture.naturalHeight }));
  // If both fail, the browser's own rendering of the picture stays.
  Promise.any([decoded, fetched]).then((size) => new Viewer(size, fetched).begin(), () => {});
}
