// Draws an image with WebGL 2: its raw samples, windowed and interpolated for each screen point.
const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
uniform usampler2D samples;
uniform mat3 toImage;
uniform vec2 size;
uniform vec2 window; // the sample drawn black, and how many there are up to white
uniform int level;
uniform int nothing;
uniform bool isInverse; // high samples are dark
uniform bool isInverted; // by the reader
out vec4 colour;

float grey(ivec2 at) {
  int value = int(texelFetch(samples, at, level).r);
  if (value == nothing) return 0.0;
  float part = clamp((float(value) - window.x) / window.y, 0.0, 1.0);
  return isInverse ? 1.0 - part : part;
}

float interpolated(ivec2 low, vec2 part, ivec2 last) {
  ivec2 a = clamp(low, ivec2(0), last), b = clamp(low + 1, ivec2(0), last);
  if (nothing < 0) {
    vec4 v = vec4(
      float(texelFetch(samples, a, level).r), float(texelFetch(samples, ivec2(b.x, a.y), level).r),
      float(texelFetch(samples, ivec2(a.x, b.y), level).r), float(texelFetch(samples, b, level).r));
    float value = mix(mix(v.x, v.y, part.x), mix(v.z, v.w, part.x), part.y);
    float shade = clamp((value - window.x) / window.y, 0.0, 1.0);
    return isInverse ? 1.0 - shade : shade;
  }
  return mix(mix(grey(a), grey(ivec2(b.x, a.y)), part.x), mix(grey(ivec2(a.x, b.y)), grey(b), part.x), part.y);
}

void main() {
  vec2 at = (toImage * vec3(gl_FragCoord.xy, 1.0)).xy;
  if (any(lessThan(at, vec2(0.0))) || any(greaterThanEqual(at, size))) discard;
  ivec2 sides = textureSize(samples, level);
  vec2 place = at * vec2(sides) / size - 0.5;
  vec2 low = floor(place);
  float shade = interpolated(ivec2(low), place - low, sides - 1);
  if (isInverted) shade = 1.0 - shade;
  colour = vec4(vec3(shade), 1.0);
}`;

const CHANNEL = { 1: ["R8UI", "UNSIGNED_BYTE"], 2: ["R16UI", "UNSIGNED_SHORT"] };

export class WebGlScreen {
  /** Return a renderer on a canvas; null without WebGL 2. */
  static on(canvas) {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, depth: false, preserveDrawingBuffer: false });
    return gl && new WebGlScreen(canvas, gl);
  }

  constructor(canvas, gl) {
    Object.assign(this, { canvas, gl, largest: gl.getParameter(gl.MAX_TEXTURE_SIZE) });
    this.program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.program));
    gl.useProgram(this.program);
    this.places = new Map();
  }

  show(samples) {
    const { gl } = this;
    const [format, type] = CHANNEL[samples.bytes];
    this.samples = samples;
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texStorage2D(gl.TEXTURE_2D, samples.levels.length, gl[format], samples.width, samples.height);
    samples.levels.forEach(({ width, height, data }, level) => {
      gl.texSubImage2D(gl.TEXTURE_2D, level, 0, 0, width, height, gl.RED_INTEGER, gl[type], data);
    });
    for (const name of ["MIN", "MAG"]) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}_FILTER`], name === "MIN" ? gl.NEAREST_MIPMAP_NEAREST : gl.NEAREST);
  }

  /** Draw what a view shows, with a window; `toScreen` maps the image to canvas points. */
  draw(toScreen, { low, high, isInverted }) {
    const { gl, samples, canvas } = this;
    const [a, b, c, d, e, f] = toScreen;
    const scale = Math.hypot(a, b);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    // The inverse of a rotation and a scale; WebGL counts rows from below.
    const [ia, ib, ic, id] = [a, b, c, d].map((value) => value / scale ** 2);
    const bottom = canvas.height - f;
    gl.uniformMatrix3fv(this.place("toImage"), false, [ia, ic, 0, -ib, -id, 0, ib * bottom - ia * e, id * bottom - ic * e, 1]);
    gl.uniform2f(this.place("size"), samples.width, samples.height);
    gl.uniform2f(this.place("window"), low, Math.max(high - low, 1e-6));
    gl.uniform1i(this.place("level"), levelFor(scale, samples));
    gl.uniform1i(this.place("nothing"), samples.nothing ?? -1);
    gl.uniform1i(this.place("isInverse"), samples.isInverse ? 1 : 0);
    gl.uniform1i(this.place("isInverted"), isInverted ? 1 : 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    // A prerendered page has no frame that would trigger drawing; reading a pixel does.
    if (document.prerendering) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  close() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  place(name) {
    if (!this.places.has(name)) this.places.set(name, this.gl.getUniformLocation(this.program, name));
    return this.places.get(name);
  }
}

/** The level whose samples are no smaller than half a screen point, nor larger than one. */
export const levelFor = (scale, { levels }) => Math.min(Math.max(0, Math.floor(Math.log2(1 / scale) + 1e-6)), levels.length - 1);
