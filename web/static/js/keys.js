// Which key presses are commands. An account can turn off single-character ones (WCAG 2.1.4).
const TYPED_IN = "input:not([type=checkbox], [type=range]), select, textarea, [contenteditable]";

/** Tell whether a key press is a command of the page, rather than text, a browser command, or one already handled. */
export function isCommand(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.target.closest?.(TYPED_IN)) return false;
  return event.key.length > 1 || document.documentElement.dataset.keys !== "off";
}
