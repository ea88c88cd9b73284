// Which presses of a key are commands. An account can turn off those of one character (WCAG 2.1.4).
const TYPED_IN = "input:not([type=checkbox], [type=range]), select, textarea, [contenteditable]";

/** Tell whether a key is a command of the page, rather than text, a command of the browser, or one already obeyed. */
export function isCommand(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.target.closest?.(TYPED_IN)) return false;
  return event.key.length > 1 || document.documentElement.dataset.keys !== "off";
}
