// An upload: choose or drop files, see what is sent and what cannot be, send, then go to the job. On the page of a job
// whose upload broke off it resumes that job and leaves out what has arrived already.
import { check, fromDrop, fromInput } from "./chosen.js";
import { FileList } from "./filelist.js";
import { duration, size } from "./format.js";
import { count } from "./numbers.js";
import { findMissing } from "./received.js";
import { makeBatches, newKey, Refused, Sender } from "./sender.js";
import { _, plural } from "./words.js";

const form = document.getElementById("upload");
const find = (id) => document.getElementById(id);
const limits = {
  image: Number(form.dataset.maxImage),
  request: Number(form.dataset.maxRequest),
  images: Number(form.dataset.maxImages),
  noImages: JSON.parse(form.dataset.noImages),
};
const goesOn = "received" in form.dataset;
const list = new FileList(find("list"), find("more"));
let token = document.querySelector('meta[name="csrf-token"]').content;
let wanted = [];
let upload = null;
let isComparing = false;

const show = (id, shown) => { find(id).hidden = !shown; };
const total = (items) => items.reduce((sum, item) => sum + item.size, 0);

async function choose(entries) {
  if (upload || isComparing) return;
  const { wanted: good, refused, leftOut } = check(entries, limits);
  form.dataset.busy = "yes"; // js/job.js then leaves it in place
  show("chosen", true);
  show("drop", false);
  show("start", false);
  wanted = goesOn && good.length ? await leaveOutReceived(good) : good;
  if (wanted) offer(entries, good, refused, leftOut);
}

/** Return what the job has not received yet; null where that cannot be determined. */
async function leaveOutReceived(items) {
  isComparing = true;
  const wait = (error, seconds) => say(_("%(problem)s Trying again in %(seconds)s s.", { problem: error.message, seconds }));
  const sender = new Sender(token, { away: wait, held: wait, back: () => show("trouble", false) });
  try {
    return await findMissing(items, form.dataset.received, sender, (files) => {
      const done = count(files);
      find("summary").textContent = plural(items.length, "Comparing %(done)s of %(count)s file", "Comparing %(done)s of %(count)s files", { done });
    });
  } catch (error) {
    find("summary").textContent = _("The files could not be compared with those already received.");
    say(whyNotCompared(error));
    return null;
  } finally {
    isComparing = false;
  }
}

function whyNotCompared(error) {
  if (!(error instanceof Refused)) return _("A file could not be read: %(problem)s", { problem: error.message });
  return error.isStale ? _("You have signed in again since this page was loaded. Load it again.") : error.message;
}

function say(text) {
  find("trouble").textContent = text;
  show("trouble", true);
}

function offer(entries, good, refused, leftOut) {
  const here = good.length - wanted.length;
  const tooMany = wanted.length > limits.images;
  show("start", (wanted.length > 0 || here > 0) && !tooMany);
  find("start").textContent = startName();
  find("summary").textContent = goesOn && good.length ? compared(good.length, here) : summary(entries);
  if (leftOut) {
    const beside = Object.assign(document.createElement("small"), { className: "soft" });
    beside.textContent = plural(leftOut, "%(count)s file left out: it belongs to a disc viewer or a file manager.", "%(count)s files left out: they belong to a disc viewer or a file manager.");
    find("summary").append(" ", beside);
  }
  sayRefused(refused, tooMany, wanted.length);
  list.show(tooMany ? [] : wanted);
  find(find("start").hidden ? "clear" : "start").focus();
}

function startName() {
  const files = wanted.length;
  if (!goesOn) return plural(files, "Screen %(count)s file", "Screen %(count)s files");
  return files ? plural(files, "Send %(count)s file", "Send %(count)s files") : _("End the upload");
}

function summary(entries) {
  if (!wanted.length) return entries.length ? _("Nothing to send.") : _("This folder holds no files.");
  const bytes = size(total(wanted));
  return plural(wanted.length, "%(count)s file, %(bytes)s", "%(count)s files, %(bytes)s", { bytes });
}

/** Say how many of the chosen files the job has already, and how many are sent now. */
function compared(files, here) {
  const bytes = size(total(wanted));
  if (!here) return plural(files, "The chosen file has not been received yet. Does it belong to this job? It will be sent, %(bytes)s.", "None of %(count)s files has been received yet. Do they belong to this job? All will be sent, %(bytes)s.", { bytes });
  if (!wanted.length) return plural(files, "The chosen file has already been received.", "All %(count)s files have already been received.");
  const all = count(files);
  const known = plural(here, "%(count)s of %(all)s files has already been received.", "%(count)s of %(all)s files have already been received.", { all });
  const sent = plural(wanted.length, "%(count)s file will be sent, %(bytes)s.", "%(count)s files will be sent, %(bytes)s.", { bytes });
  return `${known} ${sent}`;
}

function sayRefused(refused, tooMany, files) {
  const note = find("refused");
  note.replaceChildren();
  const most = count(limits.images);
  if (tooMany) note.append(plural(files, "%(count)s file is too many for one upload; at most %(most)s go at once. Send them in parts, or as a ZIP.", "%(count)s files are too many for one upload; at most %(most)s go at once. Send them in parts, or as a ZIP.", { most }));
  if (refused.length) {
    const names = document.createElement("ul");
    names.append(...refused.slice(0, 100).map(({ path, why }) => Object.assign(document.createElement("li"), { textContent: _("%(file)s: %(problem)s", { file: path, problem: why }) })));
    const said = [plural(refused.length, "%(count)s file cannot be sent and will be left out.", "%(count)s files cannot be sent and will be left out.")];
    if (refused.length > 100) said.push(_("The first 100 are named."));
    note.append(said.join(" "), names);
  }
  note.hidden = !tooMany && refused.length === 0;
}

function clear() {
  wanted = [];
  delete form.dataset.busy;
  for (const id of ["files", "folder"]) find(id).value = "";
  for (const id of ["chosen", "whole", "trouble", "again", "stop"]) show(id, false);
  show("drop", true);
  show("clear", true);
  find("files").focus();
}

function jobName() {
  const given = find("job-name").value.trim();
  if (given) return given;
  if (wanted.length === 1) return wanted[0].path.slice(-255);
  const folders = new Set(wanted.map(({ path }) => (path.includes("/") ? path.split("/")[0] : "")));
  const [only] = folders;
  return folders.size === 1 && only ? only.slice(0, 255) : plural(wanted.length, "%(count)s file", "%(count)s files");
}

function start() {
  const hasZip = wanted.some(({ path }) => /\.zip$/i.test(path));
  const model = find("job-model")?.value;
  upload = { job: goesOn ? { id: form.dataset.job, images_url: form.dataset.images } : null, key: newKey(),
    body: goesOn ? null : { name: jobName(), ...(model && { model }), ...(!hasZip && { expected_images: wanted.length }) },
    batches: makeBatches(wanted, limits.images), sent: new Map(), bytes: total(wanted), from: performance.now() };
  for (const id of ["start", "clear"]) show(id, false);
  for (const id of ["stop", "whole"]) show(id, true);
  fix(true);
  find("whole-count").textContent = _("Waiting for the server to answer");
  find("stop").focus();
  run();
}

/** Fix the settings of a new job, or let them be changed. */
function fix(is) {
  if (find("job-name")) find("job-name").readOnly = is;
  if (find("job-model")) find("job-model").disabled = is;
}

async function run() {
  show("trouble", false);
  show("again", false);
  const sender = (upload.sender = new Sender(token, { progress: onProgress, done: onDone, waiting: onWaiting, away: onAway, back: onBack, held: onHeld }, goesOn));
  try {
    await renewToken(sender);
    upload.job ??= await upload.sender.post(form.dataset.jobs, upload.body, upload.key);
    await upload.sender.sendAll(upload.job.images_url, upload.batches);
    if (upload.sender.stopped) return;
    await upload.sender.post(`${form.dataset.jobs}/${upload.job.id}/close`, {});
    leave(upload.job.id);
  } catch (error) {
    if (sender.stopped) return;
    if (goesOn && error.isClosed) await compareClosed(sender);
    else sayTrouble(error);
  }
}

/** Another tab or program has ended the upload: go to the job where nothing is missing, else say how many files are. */
async function compareClosed(sender) {
  const unsent = upload.batches.filter(({ sent }) => !sent).flatMap(({ items }) => items);
  try {
    const missing = await findMissing(unsent, form.dataset.received, sender, () => {});
    if (!missing.length) return leave(upload.job.id);
    sayUnsent();
    for (const item of unsent) if (!missing.includes(item)) list.received(item);
    say(plural(missing.length, "This upload was ended elsewhere, and %(count)s file is not in it. Send it as a new job.", "This upload was ended elsewhere, and %(count)s files are not in it. Send them as a new job."));
    find("stop").focus();
  } catch (error) {
    if (!sender.stopped) sayTrouble(error);
  }
}

// After a sign-in in another tab this page's token is invalid; the page as reloaded has the valid one.
async function renewToken(sender) {
  if (!upload.stale) return;
  const answer = await fetch(location.pathname, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
  if (!answer?.ok) throw new Refused(answer?.status ?? 0, answer ? null : { detail: _("The server does not answer.") });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  token = page.querySelector('meta[name="csrf-token"]').content;
  sender.token = token;
  upload.stale = false;
}

function onAway(error, seconds) {
  // The number is hidden from screen readers, which would read the whole note every second.
  const rest = Object.assign(document.createElement("span"), { textContent: _("Trying again in %(seconds)s s.", { seconds }) });
  rest.setAttribute("aria-hidden", "true");
  find("trouble").replaceChildren(error.message, " ", rest);
  show("trouble", true);
  sayAway();
}

function sayAway() {
  upload.isAway = true;
  find("whole-count").textContent = _("Server away, trying again");
  for (const id of ["whole-speed", "whole-left"]) find(id).textContent = "";
}

function onBack() {
  upload.isAway = false;
  show("trouble", false);
  show("held", false);
}

function onHeld(error, seconds, batch) {
  const at = new Date(Date.now() + seconds * 1000);
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
  const values = { problem: error.code === "disk_low" ? _("Disk low") : _("Queue full"), time: clock };
  const text = upload.job
    ? _("%(problem)s. The upload is waiting and resumes by itself at %(time)s; leave this page open. Files received so far are kept and screened.", values)
    : _("%(problem)s. The upload is waiting and resumes by itself at %(time)s; leave this page open.", values);
  upload.isUnopened = !upload.job;
  show("trouble", false);
  // Updated only when it differs, because a screen reader reads it out each time.
  if (find("held").textContent !== text) find("held").textContent = text;
  show("held", true);
  if (!batch) return;
  upload.sent.set(batch, 0);
  for (const item of batch.items) list.held(item);
  showWhole();
}

function leave(jobId) {
  upload = null;
  sessionStorage.setItem("sent", jobId);
  location.assign(`${form.dataset.pages}/${jobId}`);
}

/** Mark what has not been sent. */
function sayUnsent() {
  show("held", false);
  for (const batch of upload.batches.filter(({ sent }) => !sent)) {
    upload.sent.delete(batch);
    for (const item of batch.items) list.unsent(item);
  }
  showWhole();
}

function sayTrouble(error) {
  upload.sender.stop();
  sayUnsent();
  upload.stale = error.isSignedOut || error.isStale || upload.stale;
  const kept = upload.job ? [_("Files received so far are kept; Try again sends the rest.")] : [];
  find("trouble").textContent = [troubleOf(error), ...kept].join(" ");
  show("trouble", true);
  show("again", true);
  find("again").focus();
}

function troubleOf(error) {
  if (error.isSignedOut) return _("You have been signed out. Sign in in another tab, then press Try again.");
  if (error.isStale) return _("You have signed in again since this page was loaded. Press Try again to continue.");
  return error.message;
}

async function stop() {
  upload.sender.stop();
  if (goesOn) return leave(upload.job.id); // its page has a button that cancels it
  if (upload.isUnopened && !upload.job) return giveUp();
  find("stop").disabled = true;
  const closer = new Sender(token, { away: onAway, back: onBack, held: onHeld });
  try {
    await renewToken(closer);
    // The same key gives the same job, whether or not the first request got through.
    upload.job ??= await closer.post(form.dataset.jobs, upload.body, upload.key);
    await closer.post(`${form.dataset.jobs}/${upload.job.id}/cancel`, {});
    leave(upload.job.id);
  } catch (error) {
    find("stop").disabled = false;
    sayTrouble(error);
  }
}

// The server has refused to open the job for lack of space, so there is none to cancel.
function giveUp() {
  upload = null;
  show("held", false);
  fix(false);
  clear();
}

function onProgress(batch, sent, of) {
  upload.isAway = false;
  show("held", false);
  // The form encoding adds bytes of its own; percentages are of the files only.
  let left = (sent / of) * batch.bytes;
  upload.sent.set(batch, left);
  for (const item of batch.items) {
    list.progress(item, item.size ? Math.min(1, left / item.size) : 1);
    left = Math.max(0, left - item.size);
  }
  showWhole();
}

function onWaiting(batch, seconds, attempt) {
  upload.sent.set(batch, 0);
  for (const item of batch.items) list.waiting(item, seconds, attempt);
  showWhole();
  sayAway();
}

function onDone(batch, answer) {
  upload.isAway = false;
  upload.sent.set(batch, batch.bytes);
  const refusals = groupByFile(answer.rejected);
  const unnamed = new Set(refusals.keys());
  for (const item of batch.items) {
    const said = refusals.get(item.path);
    unnamed.delete(item.path);
    if (said) list.refused(item, said.map(({ message }) => message));
    else list.received(item);
  }
  // The rest was inside a ZIP, or the server uses pseudonyms and names none; the job page names each of these.
  for (const { files, reason } of answer.left_out ?? []) list.note(sayLeftOut(files, reason));
  if (unnamed.size) list.note(sayUnnamed(unnamed.size, batch.items.some(({ path }) => /\.zip$/i.test(path))));
  showWhole();
}

// The reasons of `shared.intake.left_out`.
function sayLeftOut(files, reason) {
  if (reason === "of a disc's viewer") return plural(files, "%(count)s file of a disc's viewer left out.", "%(count)s files of a disc's viewer left out.");
  if (reason === "of an operating system's file manager") return plural(files, "%(count)s file of a file manager left out.", "%(count)s files of a file manager left out.");
  return plural(files, "%(count)s file left out.", "%(count)s files left out.");
}

function sayUnnamed(files, areInZip) {
  return areInZip
    ? plural(files, "%(count)s file inside a ZIP refused; the job page says why.", "%(count)s files inside a ZIP refused; the job page says why.")
    : plural(files, "%(count)s file refused; the job page says why.", "%(count)s files refused; the job page says why.");
}

function groupByFile(rejected) {
  const groups = new Map();
  for (const one of rejected) groups.set(one.file_name, [...(groups.get(one.file_name) ?? []), one]);
  return groups;
}

function showWhole() {
  const sent = [...upload.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
  const seconds = (performance.now() - upload.from) / 1000;
  const speed = sent / Math.max(seconds, 0.001);
  const images = upload.batches.filter((batch) => batch.sent).reduce((sum, batch) => sum + batch.items.length, 0);
  find("whole-bar").value = upload.bytes ? sent / upload.bytes : 1;
  if (upload.isAway) return;
  find("whole-count").textContent = plural(wanted.length, "%(done)s of %(count)s file", "%(done)s of %(count)s files", { done: count(images) });
  find("whole-bytes").textContent = _("%(done)s of %(all)s", { done: size(sent), all: size(upload.bytes) });
  find("whole-speed").textContent = seconds > 1 ? _("%(size)s/s", { size: size(speed) }) : "";
  find("whole-left").textContent = seconds > 2 && speed > 0 ? _("about %(time)s left", { time: duration((upload.bytes - sent) / speed) }) : "";
}

function acceptDrops() {
  let depth = 0;
  const mark = (change) => { depth = Math.max(0, change); document.body.classList.toggle("dropping", depth > 0 && !upload); };
  addEventListener("dragenter", (event) => { event.preventDefault(); mark(depth + 1); });
  addEventListener("dragleave", () => mark(depth - 1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    mark(0);
    if (!event.dataTransfer.types.includes("Files") || form.closest("[hidden]")) return;
    choose(await fromDrop(event.dataTransfer));
  });
}

for (const element of document.querySelectorAll(".with-js")) element.hidden = false;
for (const element of document.querySelectorAll(".no-js")) element.hidden = true;
for (const id of ["files", "folder"]) {
  find(id).addEventListener("change", (event) => (event.target.files.length || id === "folder") && choose(fromInput(event.target)));
}
find("drop").addEventListener("click", (event) => event.target.closest("label, input, button") || find("files").click());
find("start").addEventListener("click", start);
find("clear").addEventListener("click", clear);
find("again").addEventListener("click", run);
// It replaces the button that began the upload: the rest of a double click, or of a held key, does not stop it.
find("stop").addEventListener("click", (event) => event.detail > 1 || stop());
find("stop").addEventListener("keydown", (event) => event.repeat && event.preventDefault());
form.addEventListener("submit", (event) => { event.preventDefault(); if (!find("start").hidden && !upload) start(); });
addEventListener("beforeunload", (event) => { if (upload) event.preventDefault(); });
acceptDrops();
