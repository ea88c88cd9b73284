// The files that a person chose or dropped, and which of them cannot be sent.
import { size } from "./format.js";
import { _ } from "./words.js";

const natural = new Intl.Collator("en", { numeric: true });

const isZip = (file) => /\.zip$/i.test(file.name) || /zip/.test(file.type);

/** Recognise what discs and file managers add to images; `kinds` has the server's names, endings and folders. */
function isNoImage(path, kinds) {
  const folders = path.toLowerCase().split("/");
  const name = folders.pop();
  const ending = name.lastIndexOf(".") > 0 ? name.slice(name.lastIndexOf(".")) : "";
  if (name.startsWith("._") || folders.some((folder) => kinds.folders.includes(folder))) return true;
  return kinds.names.includes(name) || (folders.length > 0 && kinds.endings.includes(ending));
}

/** Sort chosen entries: what can be sent, in natural order; what is too large; no images. An empty file is sent, so that its job names it. */
export function check(entries, limits) {
  const wanted = [];
  const refused = [];
  let leftOut = 0;
  for (const { file, path } of entries) {
    const limit = isZip(file) ? limits.request : limits.image;
    if (isNoImage(path, limits.noImages)) leftOut += 1;
    else if (file.size > limit) refused.push({ path, why: _("%(size)s, over the limit of %(limit)s", { size: size(file.size), limit: size(limit) }) });
    else wanted.push({ file, path, size: file.size });
  }
  wanted.sort((one, other) => natural.compare(one.path, other.path));
  return { wanted, refused, leftOut };
}

/** Read the files of an <input>; those of a folder keep their path. */
export const fromInput = (input) =>
  [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

/** Read a drop of files and folders; entries must be taken before the event ends. */
export async function fromDrop(transfer) {
  const roots = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const root of roots) await walk(root, "", found);
  return found;
}

async function walk(entry, folder, found) {
  if (entry === null) return;
  if (entry instanceof File) found.push({ file: entry, path: entry.name });
  else if (entry.isFile) found.push({ file: await new Promise((ok, no) => entry.file(ok, no)), path: folder + entry.name });
  else for (const child of await children(entry)) await walk(child, `${folder}${entry.name}/`, found);
}

async function children(folder) {
  const reader = folder.createReader();
  const all = [];
  // A reader returns at most a hundred entries per call (wicg.github.io/entries-api).
  for (;;) {
    const some = await new Promise((ok, no) => reader.readEntries(ok, no));
    if (some.length === 0) return all;
    all.push(...some);
  }
}
