// Which part of an image is shown, at what scale and orientation: transforms from image to screen and back.
const SMALLEST = 0.5; // of the fitting size, and of the image's own where that is smaller
const LARGEST = 16; // screen points per image pixel
const QUARTER = [0, -1, 1, 0]; // clockwise, as y points down
const MIRROR = [-1, 0, 0, 1];

const times = ([a, b, c, d], [e, f, g, h]) => [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];

export class View {
  constructor(width, height) {
    Object.assign(this, { width, height, across: 1, down: 1 });
    this.reset();
  }

  reset() {
    this.turn = [1, 0, 0, 1];
    this.fit();
  }

  fit() {
    this.isFitted = true;
    this.scale = this.fittingScale();
    this.centre = [this.width / 2, this.height / 2];
  }

  /** Set the size of the screen, in its points. */
  resize(across, down) {
    Object.assign(this, { across: Math.max(1, across), down: Math.max(1, down) });
    if (this.isFitted) this.fit();
  }

  /** Set the size of the same image in other pixels; the visible part stays. */
  remeasure(width, height) {
    const factor = width / this.width;
    this.scale /= factor;
    this.centre = [this.centre[0] * factor, (this.centre[1] * height) / this.height];
    Object.assign(this, { width, height });
    if (this.isFitted) this.fit();
  }

  fittingScale() {
    const isLying = this.turn[0] === 0;
    const [width, height] = isLying ? [this.height, this.width] : [this.width, this.height];
    return Math.min(this.across / width, this.down / height);
  }

  get isMirrored() {
    return this.turn[0] * this.turn[3] - this.turn[1] * this.turn[2] < 0;
  }

  rotate() {
    this.turn = times(QUARTER, this.turn);
    if (this.isFitted) this.fit();
  }

  mirror() {
    this.turn = times(MIRROR, this.turn);
  }

  /** Return a zoom factor limited to the allowed range. */
  allowed(factor) {
    const least = SMALLEST * Math.min(1, this.fittingScale());
    return Math.min(Math.max(this.scale * factor, least), LARGEST) / this.scale;
  }

  /** Zoom by an allowed factor about a point of the screen, by default its middle. */
  zoom(factor, at = [this.across / 2, this.down / 2]) {
    const held = this.toImage(at);
    this.scale *= factor;
    this.isFitted = false;
    const now = this.toScreen(held);
    this.move(at[0] - now[0], at[1] - now[1]);
  }

  /** Move the image by screen points; some of it stays in the middle. */
  move(right, down) {
    const [a, b, c, d] = this.turn;
    const [x, y] = [this.centre[0] - (a * right + c * down) / this.scale, this.centre[1] - (b * right + d * down) / this.scale];
    this.centre = [Math.min(Math.max(x, 0), this.width), Math.min(Math.max(y, 0), this.height)];
    this.isFitted = false;
  }

  /** Return the fitted height of this image relative to another's: the factor by which equal movements differ. */
  partOf(other) {
    return this.fittingHeight() / other.fittingHeight();
  }

  fittingHeight() {
    return this.fittingScale() * (this.turn[0] === 0 ? this.width : this.height);
  }

  /** Return the point of the screen at the same relative position on this image as another point on another. */
  pointAs([x, y], other) {
    const part = this.partOf(other);
    return [this.across / 2 + (x - other.across / 2) * part, this.down / 2 + (y - other.down / 2) * part];
  }

  /** Show the part of this image that another view shows of its own. */
  follow(other) {
    this.fit();
    if (other.isFitted) return;
    this.isFitted = false;
    this.scale *= other.scale / other.fittingScale();
    this.centre = [(other.centre[0] / other.width) * this.width, (other.centre[1] / other.height) * this.height];
  }

  toScreen([x, y]) {
    const [a, b, c, d, e, f] = this.matrix();
    return [a * x + c * y + e, b * x + d * y + f];
  }

  toImage([x, y]) {
    const [a, b, c, d] = this.turn; // its inverse is its transpose
    const [right, down] = [(x - this.across / 2) / this.scale, (y - this.down / 2) / this.scale];
    return [a * right + c * down + this.centre[0], b * right + d * down + this.centre[1]];
  }

  /** The matrix from image to screen, in the order of CSS. */
  matrix() {
    const [a, b, c, d] = this.turn.map((value) => value * this.scale);
    const [x, y] = this.centre;
    return [a, c, b, d, this.across / 2 - a * x - b * y, this.down / 2 - c * x - d * y];
  }
}
