// Draws an image without WebGL 2: its samples by a lookup table to 8 bits, then scaled by the canvas.
import { levelFor } from "./webgl.js";

const MOST_SIDE = 4096; // canvas size that every browser supports

export class CanvasScreen {
  constructor(canvas) {
    Object.assign(this, { canvas, context: canvas.getContext("2d"), largest: MOST_SIDE, drawn: "" });
    this.picture = document.createElement("canvas");
  }

  show(samples) {
    Object.assign(this, { samples, drawn: "", table: new Uint8ClampedArray(256 ** samples.bytes) });
  }

  draw(toScreen, shades) {
    const { canvas, context, samples } = this;
    const level = levelFor(Math.hypot(toScreen[0], toScreen[1]), samples);
    this.render(level, shades);
    const { width, height } = samples.levels[level];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(...toScreen);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.picture, 0, 0, width, height, 0, 0, samples.width, samples.height);
  }

  /** Convert a level to greys, unless it is the one drawn last. */
  render(level, { low, high, isInverted }) {
    const name = [level, low, high, isInverted].join();
    if (name === this.drawn) return;
    this.drawn = name;
    const { table, picture, samples } = this;
    const { width, height, data } = samples.levels[level];
    const factor = 255 / Math.max(high - low, 1e-6);
    const turns = samples.isInverse !== isInverted;
    for (let sample = 0; sample < table.length; sample += 1) {
      const grey = Math.min(Math.max((sample - low) * factor, 0), 255);
      table[sample] = turns ? 255 - grey : grey;
    }
    if (samples.nothing !== null) table[samples.nothing] = isInverted ? 255 : 0;
    Object.assign(picture, { width, height });
    const pixels = new ImageData(width, height);
    const whole = new Uint32Array(pixels.data.buffer);
    for (let at = 0; at < data.length; at += 1) whole[at] = (table[data[at]] * 0x10101) | 0xff000000;
    picture.getContext("2d").putImageData(pixels, 0, 0);
  }
}
