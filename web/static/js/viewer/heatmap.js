// The heat map over the image: a switch, an opacity, and a preview while its key is held.
import { isCommand } from "../keys.js";

const KEY = "h";
const HELD_MS = 350;

export class HeatMap {
  constructor(root) {
    this.box = document.getElementById("heat-map");
    this.strength = document.getElementById("heat-strength");
    this.layer = root.querySelector(".heat-layer");
    if (!this.box) return;
    this.strength.parentElement.hidden = false;
    this.strength.addEventListener("input", () => { this.layer.style.opacity = this.strength.value / 100; });
    addEventListener("keydown", (event) => this.press(event));
    addEventListener("keyup", (event) => this.release(event));
    addEventListener("blur", () => this.release({ key: KEY }));
  }

  press(event) {
    if (event.key !== KEY || event.repeat || !isCommand(event)) return;
    this.pressedAt = performance.now();
    this.box.checked = !this.box.checked;
  }

  /** A short press switches it; a held one restores it. */
  release({ key }) {
    if (key !== KEY || this.pressedAt === undefined) return;
    if (performance.now() - this.pressedAt > HELD_MS) this.box.checked = !this.box.checked;
    this.pressedAt = undefined;
  }
}
