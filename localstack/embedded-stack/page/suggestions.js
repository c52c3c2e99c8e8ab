// The list above the composer that completes a mention: arrow keys choose, Enter and Tab insert,
// Escape closes, a click inserts.
//
// Invariants: keys of an input method never come here; the option that was pressed is the one that
// is inserted, whatever the list became meanwhile.

import { Completion } from "./completion.js";
import { element, reconcile, setAttribute, setHidden, setText } from "./dom.js";

export class Suggestions {
  #store;
  #field;
  #list;
  #channelId;
  #completion = new Completion();

  /** `parts` are the composer's elements, `channelId()` is the channel whose members fit. */
  constructor(store, { text: field, suggestions: list }, channelId) {
    this.#store = store;
    this.#field = field;
    this.#list = list;
    this.#channelId = channelId;
    for (const event of ["input", "keyup", "click"])
      field.addEventListener(event, () => this.#update());
    document.addEventListener("pointerdown", ({ target }) => {
      if (!this.#completion.isOpen || this.#list.contains(target) || target === field) return;
      this.#completion.dismiss();
      this.#draw();
    });
  }

  /** Follows the names and members that arrive meanwhile. */
  render() {
    const { isOpen, isWanted } = this.#completion;
    if (isOpen || (isWanted && document.activeElement === this.#field)) this.#update();
  }

  /** The text is replaced. */
  reset() {
    this.#completion.reset();
    this.#draw();
  }

  /** Whether the key is for the list. */
  onKey(event) {
    const { key, altKey, ctrlKey, metaKey, shiftKey } = event;
    if (!this.#completion.isOpen || altKey || ctrlKey || metaKey || shiftKey) return false;
    if (key === "ArrowDown") this.#completion.move(1);
    else if (key === "ArrowUp") this.#completion.move(-1);
    else if (key === "Escape") this.#completion.dismiss();
    else if (key === "Enter" || key === "Tab") {
      this.#insert(this.#completion.options[this.#completion.at]);
    } else return false;
    event.preventDefault();
    // This Escape is for the list alone, not for a drawer below it.
    event.stopPropagation();
    this.#draw();
    return true;
  }

  #update() {
    const { value, selectionStart, selectionEnd, readOnly } = this.#field;
    const caret = selectionStart === selectionEnd && !readOnly ? selectionStart : 0;
    const members = this.#store.members.get(this.#channelId()) ?? [];
    const people = members.map(({ user_id: id }) => ({ id, name: this.#store.displayName(id) }));
    this.#completion.update(value, caret, people);
    this.#draw();
  }

  #insert(option) {
    const edit = this.#completion.edit(this.#field.value, option);
    if (edit === null) return;
    this.#field.focus();
    this.#field.setRangeText(edit.insert, edit.from, edit.to, "end");
    this.#field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  #draw() {
    const { isOpen, options, at } = this.#completion;
    setHidden(this.#list, !isOpen);
    const create = (option) => {
      const attributes = { role: "option", "data-testid": "mention-suggestion" };
      const node = element(
        "li",
        { ...attributes, "data-mention": option.mention },
        element("bdi", { class: "name", translate: "no" }),
        element("span", { class: "muted", translate: "no" }),
      );
      node.addEventListener("click", () => {
        // An input method that was composing has finished its text by now.
        this.#update();
        this.#insert(option);
      });
      return node;
    };
    const places = options.map((option, place) => ({ option, place }));
    reconcile(
      this.#list,
      places,
      ({ option }) => option.mention,
      ({ option }) => create(option),
      (node, { option, place }) => {
        setText(node.querySelector(".name"), `@${option.name}`);
        setText(node.querySelector(".muted"), option.note);
        setAttribute(node, "id", `${this.#list.id}-${place}`);
        setAttribute(node, "aria-selected", String(place === at));
      },
    );
    setAttribute(this.#field, "aria-activedescendant", isOpen ? `${this.#list.id}-${at}` : null);
  }
}
