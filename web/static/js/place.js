// The list that an X-ray was opened from, and the place to return to in a list; stored for this tab.
const OPENED = "list-opened";
const RETURN = "list-return";

const read = (name) => JSON.parse(sessionStorage.getItem(name) ?? "null");

/** The address of this page without one of its parts. */
export function here() {
  return location.href.split("#")[0];
}

/** Record that a row of this list is opened. */
export function noteOpened(index) {
  sessionStorage.setItem(OPENED, JSON.stringify({ address: here(), index }));
}

/** Return the address of the list page opened last, and the row, where that page belongs to the list at a path. */
export function openedFrom(path) {
  const opened = read(OPENED);
  return opened && new URL(opened.address).pathname === path ? opened : null;
}

/** Record that the list at an address is to be resumed at this X-ray, or, if it is no longer listed, at a row. */
export function noteReturn(address, index) {
  sessionStorage.setItem(RETURN, JSON.stringify({ address, path: location.pathname, index }));
}

/** Take the place to resume in the list at an address; null where there is none. */
export function takeReturn(address) {
  const place = read(RETURN);
  if (place?.address !== address) return null;
  sessionStorage.removeItem(RETURN);
  return place;
}
