// Which presses of a key are commands. Those of one character can be turned off (WCAG 2.1.4), for an account or in this browser.
const KEPT = "pneumoscreen.keys";
const TYPED_IN = "input:not([type=checkbox], [type=range]), select, textarea, [contenteditable]";

export const keysAreOn = () => document.documentElement.dataset.keys !== "off" && localStorage.getItem(KEPT) !== "off";

export function turnKeys(on) {
  if (on) localStorage.removeItem(KEPT);
  else localStorage.setItem(KEPT, "off");
}

/** Tell whether a key is a command of the page, rather than text, a command of the browser, or one already obeyed. */
export function isCommand(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.target.closest?.(TYPED_IN)) return false;
  return event.key.length > 1 || keysAreOn();
}
