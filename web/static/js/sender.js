// Sends images in batches, one request after the other, so that a job keeps the order in which its images were chosen.
// A failed request is sent again under the same key; the server adds its images only once.
import { _ } from "./words.js";

const BATCH_BYTES = 8 * 1024 * 1024;
const BATCH_FILES = 200;
// Files of the first request, so that workers can start while the rest is uploaded.
const FIRST_FILES = 20;
const MOST_ATTEMPTS = 6;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
// Timeout of a small request; one with images takes as long as its bytes need.
const SMALL_REQUEST_MS = 10000;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || _("The server answered %(status)s. Load the page again and repeat what you did.", { status }));
    this.status = status;
    this.title = problem?.title;
    this.code = problem?.code ?? "";
  }

  /** Distinguish a server that accepts no images for a while from one in trouble: it says when to try again. */
  get isHeld() {
    return ["queue_full", "disk_low"].includes(this.code);
  }

  /** Recognise a job whose upload another tab or program has ended. */
  get isClosed() {
    return this.code === "job_closed";
  }

  /** Distinguish an ended session from every other refusal. */
  get isSignedOut() {
    return this.status === 401;
  }

  /** Recognise a page older than its session: someone signed in again in another tab. */
  get isStale() {
    return this.code === "csrf";
  }
}

export function makeBatches(items, most) {
  const batches = [];
  let batch = null;
  for (const item of items) {
    const limit = Math.min(batches.length > 1 ? BATCH_FILES : FIRST_FILES, most);
    if (!batch || batch.bytes + item.size > BATCH_BYTES || batch.items.length >= limit) {
      batch = { items: [], bytes: 0, key: newKey(), sent: false };
      batches.push(batch);
    }
    batch.items.push(item);
    batch.bytes += item.size;
  }
  return batches;
}

/** Make an idempotency key. crypto.randomUUID exists only on secure origins, which a plain http address is not. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Sender {
  /**
   * `on` has a callback for everything: progress(batch, bytes), done(batch, answer), waiting(batch, seconds, attempt);
   * for requests without images away(error, seconds), every second until the next attempt, and back() when one is
   * answered. While the server accepts no images it is held(error, seconds, batch) instead, without a time limit. With
   * `resumes` the server leaves out what the job has by then: another tab may have resumed the same upload.
   */
  constructor(token, on, resumes = false) {
    this.token = token;
    this.on = on;
    this.resumes = resumes;
    this.requests = new Set();
    this.stopped = false;
  }

  /** Send JSON and return the answer, retrying after network errors and 5xx. */
  async post(url, body, key) {
    const headers = { "Content-Type": "application/json", ...(key && { "Idempotency-Key": key }) };
    const answer = await this.#again(
      () => this.#request(url, JSON.stringify(body), headers),
      (seconds, _, error) => (error.isHeld ? this.on.held(error, seconds) : this.on.away?.(error, seconds)),
    );
    this.on.back?.();
    return answer;
  }

  /** Send all batches that have not arrived yet; throws the first error that a retry cannot fix. */
  async sendAll(url, batches) {
    for (const batch of batches.filter(({ sent }) => !sent)) {
      if (this.stopped) return;
      await this.#sendOne(url, batch);
    }
  }

  /** Abort every request. */
  stop() {
    this.stopped = true;
    for (const request of this.requests) request.abort();
  }

  async #sendOne(url, batch) {
    const answer = await this.#again(
      () => {
        const form = new FormData();
        if (this.resumes) form.append("skip_received", "true");
        for (const { file, path } of batch.items) form.append("files", file, path);
        return this.#request(url, form, { "Idempotency-Key": batch.key }, (sent, of) => this.on.progress(batch, sent, of));
      },
      (seconds, attempt, error) => (error.isHeld ? this.on.held(error, seconds, batch) : this.on.waiting(batch, seconds, attempt)),
    );
    batch.sent = true;
    this.on.done(batch, answer);
  }

  async #again(send, tell) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await send();
      } catch (error) {
        if (error.isHeld) attempt = 0;
        if (this.stopped || attempt === MOST_ATTEMPTS || !(error.isHeld || isPassing(error))) throw error;
        const wait = Math.max(error.retryAfter ?? 0, Math.min(FIRST_WAIT_MS * 2 ** Math.max(attempt - 1, 0), LONGEST_WAIT_MS));
        for (let left = wait; left > 0; left -= 1000) {
          tell(Math.ceil(left / 1000), attempt + 1, error);
          await new Promise((resolve) => setTimeout(resolve, Math.min(left, 1000)));
          if (this.stopped) throw error;
        }
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
      else request.timeout = SMALL_REQUEST_MS;
      request.onload = () => (request.status < 300 ? resolve(parse(request)) : reject(failure(request)));
      request.onerror = request.ontimeout = () => reject(new Refused(0, { detail: _("The server does not answer.") }));
      request.onabort = () => reject(new Refused(0, { detail: _("The upload was cancelled.") }));
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

// 507 is a full disk: retrying at once would only fill the log.
const isPassing = ({ status }) => status === 0 || status === 429 || (status >= 500 && status !== 507);
