// What a person chose or dropped, and which of it cannot be sent at all.
import { size } from "./format.js";

// What file managers leave in folders: neither films nor worth a row.
const JUNK = new Set([".ds_store", "thumbs.db", "desktop.ini"]);

const isZip = (file) => /\.zip$/i.test(file.name) || /zip/.test(file.type);
const isJunk = (path) => JUNK.has(path.split("/").at(-1).toLowerCase()) || path.toLowerCase().includes("__macosx/");

/** Sort chosen entries into what can be sent and what is over a limit; an empty file goes, so that its job names it. */
export function check(entries, limits) {
  const wanted = [];
  const refused = [];
  for (const { file, path } of entries) {
    const limit = isZip(file) ? limits.request : limits.film;
    if (isJunk(path)) continue;
    if (file.size > limit) refused.push({ path, why: `${size(file.size)}, over the limit of ${size(limit)}` });
    else wanted.push({ file, path, size: file.size });
  }
  return { wanted, refused };
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
  // A reader gives at most a hundred entries a call (wicg.github.io/entries-api).
  for (;;) {
    const some = await new Promise((ok, no) => reader.readEntries(ok, no));
    if (some.length === 0) return all;
    all.push(...some);
  }
}
