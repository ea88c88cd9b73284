// An image's samples: from the server at full depth, or from the picture of the page where that fails.
const DESCRIPTION = "X-Image";
const SIDES = [8192, 4096, 2048];

/** The address of an image's samples, in the page's own form, for a screen with at most this many pixels a side. */
export const addressOf = (address, largest) => `${address}&side=${SIDES.find((side) => side <= largest) ?? SIDES.at(-1)}`;

export async function fetchSamples(address) {
  const answer = await fetch(address, { headers: { Accept: "application/octet-stream" } });
  if (!answer.ok) throw new Error(`${answer.status} for ${address}`);
  const said = JSON.parse(answer.headers.get(DESCRIPTION));
  const body = await answer.arrayBuffer();
  const data = said.bytes === 2 ? new Uint16Array(body) : new Uint8Array(body);
  return withLevels({ ...said, data, isInverse: said.photometric === "MONOCHROME1" });
}

/** Read the 8-bit picture of the page, so that all tools work on it, at less depth. */
export function samplesOf(picture) {
  const canvas = Object.assign(document.createElement("canvas"), { width: picture.naturalWidth, height: picture.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const colours = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const data = new Uint8Array(canvas.width * canvas.height);
  for (let n = 0; n < data.length; n += 1) data[n] = colours[4 * n];
  return withLevels({
    width: canvas.width, height: canvas.height, full_width: canvas.width, full_height: canvas.height, bytes: 1, bits: 8,
    black: 0, white: 255, nothing: null, slope: 1, intercept: 0, spacing: null, isInverse: false, isPicture: true, data,
  });
}

// Each level halves both sides, averaging four samples into one, so that small renderings are smooth.
function withLevels(samples) {
  const levels = [{ width: samples.width, height: samples.height, data: samples.data }];
  while (Math.max(levels.at(-1).width, levels.at(-1).height) > 1) levels.push(halve(levels.at(-1)));
  return { ...samples, levels };
}

function halve({ width, height, data }) {
  const [across, down] = [Math.max(1, width >> 1), Math.max(1, height >> 1)];
  const [right, below] = [width > 1 ? 1 : 0, height > 1 ? width : 0];
  const half = new data.constructor(across * down);
  for (let y = 0, to = 0; y < down; y += 1) {
    for (let x = 0, at = 2 * y * width; x < across; x += 1, at += 2, to += 1) {
      half[to] = (data[at] + data[at + right] + data[at + below] + data[at + below + right] + 2) >> 2;
    }
  }
  return { width: across, height: down, data: half };
}

/** Let the browser cache the next image, so that it opens at once. */
export async function preload(addresses) {
  for (const address of addresses) {
    const answer = await fetch(address, { headers: { "X-Preload": "1" }, priority: "low" });
    await answer.arrayBuffer();
  }
}
