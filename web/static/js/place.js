// Which list an X-ray was opened from, and where in a list to go on when an X-ray leads back to it; kept for this tab.
const OPENED = "list-opened";
const RETURN = "list-return";

const read = (name) => JSON.parse(sessionStorage.getItem(name) ?? "null");

/** The address of this page without a part of it. */
export function here() {
  return location.href.split("#")[0];
}

/** Note that a row of this list is opened. */
export function noteOpened(index) {
  sessionStorage.setItem(OPENED, JSON.stringify({ address: here(), index }));
}

/** Return the address of the page of a list that was opened last, and the row, where that page is of the list at a path. */
export function openedFrom(path) {
  const opened = read(OPENED);
  return opened && new URL(opened.address).pathname === path ? opened : null;
}

/** Note that the list at an address is to go on at this X-ray, or, where that is gone from it, at a row. */
export function noteReturn(address, index) {
  sessionStorage.setItem(RETURN, JSON.stringify({ address, path: location.pathname, index }));
}

/** Take where the list at an address is to go on; null where nothing led back to it. */
export function takeReturn(address) {
  const place = read(RETURN);
  if (place?.address !== address) return null;
  sessionStorage.removeItem(RETURN);
  return place;
}
