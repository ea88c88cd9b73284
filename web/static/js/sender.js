// Sends films in batches, three requests at once. A request that fails is sent again under the same key, so that the
// server adds its films once however often it arrives.
const BATCH_BYTES = 8 * 1024 * 1024;
const BATCH_FILES = 20;
const AT_ONCE = 3;
const MOST_ATTEMPTS = 6;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || `The server answered ${status}. Load the page again and repeat what you did.`);
    this.status = status;
  }
}

export function makeBatches(items, most) {
  const batches = [];
  let batch = null;
  for (const item of items) {
    if (!batch || batch.bytes + item.size > BATCH_BYTES || batch.items.length >= Math.min(BATCH_FILES, most)) {
      batch = { items: [], bytes: 0, key: crypto.randomUUID?.() ?? randomKey(), sent: false };
      batches.push(batch);
    }
    batch.items.push(item);
    batch.bytes += item.size;
  }
  return batches;
}

// crypto.randomUUID is there on secure origins only; a hospital's plain http address is none.
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Sender {
  /** `on` is told of everything: progress(batch, bytes), done(batch, answer), waiting(batch, seconds, attempt). */
  constructor(token, on) {
    this.token = token;
    this.on = on;
    this.requests = new Set();
    this.stopped = false;
  }

  /** Send JSON and return the answer, again after network errors and 5xx. */
  async post(url, body, key) {
    return this.#again((tell) => this.#request(url, JSON.stringify(body), { "Content-Type": "application/json", ...(key && { "Idempotency-Key": key }) }, tell));
  }

  /** Send all batches that are not there yet; throws the first error that sending again does not cure. */
  async sendAll(url, batches) {
    const left = batches.filter((batch) => !batch.sent);
    const lane = async () => {
      for (let batch = left.shift(); batch && !this.stopped; batch = left.shift()) await this.#sendOne(url, batch);
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, lane));
    } catch (error) {
      left.length = 0;
      throw error;
    }
  }

  /** Break off every request. */
  stop() {
    this.stopped = true;
    for (const request of this.requests) request.abort();
  }

  async #sendOne(url, batch) {
    const answer = await this.#again(
      () => {
        const form = new FormData();
        for (const { file, path } of batch.items) form.append("files", file, path);
        return this.#request(url, form, { "Idempotency-Key": batch.key }, (sent, of) => this.on.progress(batch, sent, of));
      },
      (seconds, attempt) => this.on.waiting(batch, seconds, attempt),
    );
    batch.sent = true;
    this.on.done(batch, answer);
  }

  async #again(send, tell = () => {}) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await send();
      } catch (error) {
        if (this.stopped || attempt === MOST_ATTEMPTS || !isPassing(error)) throw error;
        const wait = Math.max(error.retryAfter ?? 0, Math.min(FIRST_WAIT_MS * 2 ** (attempt - 1), LONGEST_WAIT_MS));
        tell(Math.ceil(wait / 1000), attempt + 1);
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  #request(url, body, headers, onProgress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", url);
      request.setRequestHeader("X-CSRFToken", this.token);
      request.setRequestHeader("Accept", "application/json");
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      if (onProgress) request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
      request.onload = () => (request.status < 300 ? resolve(parse(request)) : reject(failure(request)));
      request.onerror = () => reject(new Refused(0, { detail: "The server cannot be reached. The films sent so far are kept." }));
      request.onabort = () => reject(new Refused(0, { detail: "The upload was cancelled." }));
      request.onloadend = () => this.requests.delete(request);
      this.requests.add(request);
      request.send(body);
    });
  }
}

function parse(request) {
  try {
    return JSON.parse(request.responseText);
  } catch {
    return null;
  }
}

function failure(request) {
  const error = new Refused(request.status, parse(request));
  error.retryAfter = Number(request.getResponseHeader("Retry-After") || 0) * 1000;
  return error;
}

// 507 is a full disk: sending again at once would only fill the log.
const isPassing = ({ status }) => status === 0 || status === 429 || (status >= 500 && status !== 507);
