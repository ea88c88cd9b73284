// Wheel, drag, pinch and double click on the image.
const WHEEL = 0.0015;
const PINCH = 0.01; // for touchpads, whose pinch browsers send as a wheel event with Ctrl
const LINE = 16;
const WIDER = 1 / 200; // the window is e times as wide after 200 points
const BRIGHTER = 1 / 400;
const CLICK = 4;

export class Gestures {
  constructor(pane, viewer) {
    const { stage } = pane;
    Object.assign(this, { stage, pane, viewer, pointers: new Map(), hasMoved: false });
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const over of ["pointerup", "pointercancel"]) stage.addEventListener(over, (event) => this.up(event));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    stage.addEventListener("dblclick", () => { if (!this.pane.ruler.isOn) this.viewer.use(this.pane.view.isFitted ? "actual" : "fit"); });
  }

  at({ clientX, clientY }) {
    const box = this.stage.getBoundingClientRect();
    return [clientX - box.left, clientY - box.top];
  }

  wheel(event) {
    event.preventDefault();
    this.viewer.handle(this.pane);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1;
    this.viewer.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? PINCH : WHEEL)), this.at(event));
    this.viewer.redraw();
  }

  down(event) {
    if (event.button > 2 || event.target.closest("button")) return;
    this.viewer.handle(this.pane);
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.hasMoved = false;
    this.isShading = event.button === 2 || this.viewer.mode === "window";
    this.isMeasuring = this.pane.ruler.isOn && event.button === 0 && !this.isShading;
    if (this.isMeasuring && this.pointers.size === 1) this.pane.ruler.begin(this.at(event));
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    if (this.pointers.size === 2) this.pinch(event.pointerId, before, now);
    else if (this.pointers.size === 1) this.drag(before, now);
    this.pointers.set(event.pointerId, now);
    this.viewer.redraw();
  }

  drag([x, y], [toX, toY]) {
    if (this.isMeasuring) {
      this.travelled = (this.hasMoved ? this.travelled : 0) + Math.hypot(toX - x, toY - y);
      this.hasMoved = true;
      if (this.travelled > CLICK) this.pane.ruler.lead([toX, toY]);
    } else if (this.isShading) this.viewer.shade(Math.exp((toX - x) * WIDER), (toY - y) * BRIGHTER);
    else if (toX !== x || toY !== y) this.viewer.move(toX - x, toY - y);
  }

  pinch(id, before, now) {
    const [other] = [...this.pointers].filter(([pointer]) => pointer !== id).map(([, at]) => at);
    const middle = (one) => [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
    const far = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
    const [from, to] = [middle(before), middle(now)];
    this.viewer.move(to[0] - from[0], to[1] - from[1]);
    this.viewer.zoom(far(now) / far(before), to);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
  }
}
