// Which of the chosen files a job has received already, so that a broken-off upload resumes without them.
const NAMES_A_REQUEST = 1000;

/** Ask the job what it has and return the missing files; `tell` is called with how many were compared. */
export async function findMissing(items, url, sender, tell) {
  const missing = [];
  for (let from = 0; from < items.length; from += NAMES_A_REQUEST) {
    const some = items.slice(from, from + NAMES_A_REQUEST);
    const files = some.map(({ path, size }) => ({ file_name: path, size_bytes: size }));
    const { received } = await sender.post(url, { files });
    const known = new Map(received.map(({ index, sha256 }) => [index, sha256]));
    for (const [index, item] of some.entries()) {
      if (!known.has(index) || !(await isSame(item.file, known.get(index)))) missing.push(item);
      tell(from + index + 1);
    }
  }
  return missing;
}

// Another patient's image may have the same name and size, so contents are compared. On a page over plain http from
// another machine there is no crypto.subtle, so name and size must do; they also do for refused files and ZIPs, whose
// content the server does not know.
async function isSame(file, sha256) {
  if (!sha256 || !crypto.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
