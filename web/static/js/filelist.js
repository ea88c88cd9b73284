// The list of chosen files, with a progress bar each. Of thousands it shows a window: failed, current and next ones.
import { size } from "./format.js";
import { count } from "./numbers.js";
import { _, pgettext, plural } from "./words.js";

const MOST_ROWS = 200;

export class FileList {
  constructor(list, more) {
    this.list = list;
    this.more = more;
    this.rows = new Map();
    this.items = [];
  }

  show(items) {
    this.items = items;
    this.next = 0;
    this.ended = 0;
    this.rows.clear();
    this.list.replaceChildren();
    this.#fill();
  }

  progress(item, part) {
    this.#say(item, part < 1 ? `${Math.floor(part * 100)}%` : pgettext("a file", "Sent"), part);
  }

  waiting(item, seconds, attempt) {
    this.#say(item, _("No answer. Trying again in %(seconds)s s (attempt %(attempt)s)", { seconds, attempt }), 0, "again");
  }

  held(item) {
    this.#say(item, _("Waiting for room in the queue"), 0);
  }

  unsent(item) {
    this.#say(item, _("Not sent yet"), 0);
  }

  received(item) {
    this.ended += 1;
    this.#say(item, pgettext("a file", "Received"), 1, "done");
    if (this.items.length > MOST_ROWS) this.#drop(item);
    this.#fill();
  }

  refused(item, messages) {
    this.ended += 1;
    this.#say(item, messages.join(" "), 1, "refused");
    this.#fill();
  }

  note(text) {
    this.list.append(Object.assign(document.createElement("li"), { className: "refused", textContent: text }));
  }

  #drop(item) {
    this.rows.get(item)?.row.remove();
    this.rows.delete(item);
  }

  #fill() {
    while (this.rows.size < MOST_ROWS && this.next < this.items.length) this.#add(this.items[this.next++]);
    const hidden = this.items.length - this.rows.size;
    this.more.hidden = hidden === 0;
    const values = { all: count(this.items.length), ended: count(this.ended) };
    const shown = this.rows.size;
    this.more.textContent = plural(shown, "%(count)s of %(all)s files shown; %(ended)s received so far.", "%(count)s of %(all)s files shown; %(ended)s received so far.", values);
  }

  #add(item) {
    const row = document.createElement("li");
    const name = Object.assign(document.createElement("span"), { className: "name", translate: false, textContent: item.path });
    const bytes = Object.assign(document.createElement("span"), { className: "bytes soft", textContent: size(item.size) });
    const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
    bar.setAttribute("aria-label", _("Upload of %(name)s", { name: item.path }));
    const said = Object.assign(document.createElement("span"), { className: "said soft", textContent: _("Ready") });
    row.append(name, bytes, bar, said);
    this.list.append(row);
    this.rows.set(item, { row, bar, said });
  }

  #say(item, text, part, kind = "") {
    const shown = this.rows.get(item) ?? this.#admit(item, kind);
    if (!shown) return;
    shown.bar.value = part;
    shown.bar.className = kind;
    shown.said.textContent = text;
    shown.row.className = kind;
  }

  // A file outside the window is added when there is something to report about it.
  #admit(item, kind) {
    if (kind === "done" || this.rows.size > 2 * MOST_ROWS) return null;
    this.#add(item);
    return this.rows.get(item);
  }
}
