// The picker of reactions: some common emoji, and a field for any other.
//
// Invariants: it is open for one message at most, next to the button that opened it; it closes with
// Escape, with a click elsewhere, and when that button is out of sight.

import { element, setAttribute } from "./dom.js";
import { isEmojiLike } from "./text.js";

const COMMON = ["👍", "❤️", "😂", "🎉", "👀", "🙏", "✅", "🚀"];
const EMOJI_BYTES_MAX = 64;
const MARGIN_PX = 8;

export class ReactionPicker {
  #node;
  #field;
  /** The button that it is open for, or null. */
  #opener = null;
  #pick = () => {};

  constructor() {
    this.#field = element("input", {
      "data-testid": "react-text",
      "aria-label": "Another emoji, or its name",
      placeholder: "Any emoji or :name:",
      autocomplete: "off",
      maxlength: EMOJI_BYTES_MAX,
    });
    this.#node = element(
      "form",
      { class: "picker", popover: "manual", role: "dialog", "data-testid": "react-picker" },
      element("div", { class: "picker-emoji" }, ...COMMON.map((emoji) => this.#button(emoji))),
      this.#field,
      element("button", { class: "quiet", "data-testid": "react-other" }, "React"),
    );
    setAttribute(this.#node, "aria-label", "React with an emoji");
    document.body.append(this.#node);
    this.#listen();
  }

  /** Opens it next to a button, or closes it if it is open there. `pick(emoji)` is called once. */
  toggle(opener, pick) {
    const wasOpenHere = this.#opener === opener;
    this.close();
    if (wasOpenHere) return;
    this.#opener = opener;
    this.#pick = pick;
    setAttribute(opener, "aria-expanded", "true");
    this.#node.reset();
    this.#field.setCustomValidity("");
    // Browsers that know the source put the picker after it in the order of the Tab key.
    this.#node.showPopover({ source: opener });
    this.place();
    this.#node.querySelector("button").focus();
  }

  close() {
    if (this.#opener === null) return;
    setAttribute(this.#opener, "aria-expanded", "false");
    this.#opener = null;
    this.#node.hidePopover();
  }

  /** Follows its button, which scrolling, new messages and another window size move. */
  place() {
    const opener = this.#opener;
    if (opener === null) return;
    const at = opener.getBoundingClientRect();
    const list = opener.closest(".message-scroll")?.getBoundingClientRect();
    // A button that is hidden or no longer in the document has no size.
    if (!list || at.height === 0 || at.bottom < list.top || at.top > list.bottom)
      return this.close();
    const { offsetWidth: width, offsetHeight: height } = this.#node;
    const above = at.top - height - MARGIN_PX;
    const top = above >= MARGIN_PX ? above : at.bottom + MARGIN_PX;
    const left = Math.min(at.right, innerWidth - MARGIN_PX) - width;
    this.#node.style.top = `${top}px`;
    this.#node.style.left = `${Math.max(MARGIN_PX, left)}px`;
  }

  #button(emoji) {
    const attributes = { type: "button", "data-testid": "react-pick", "data-emoji": emoji };
    const button = element("button", { ...attributes, class: "emoji" }, emoji);
    button.addEventListener("click", () => this.#picked(emoji));
    return button;
  }

  #picked(emoji) {
    const [opener, pick] = [this.#opener, this.#pick];
    this.close();
    opener.focus();
    pick(emoji);
  }

  #listen() {
    this.#node.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      if (isEmojiLike(text)) return this.#picked(text);
      this.#field.setCustomValidity("One emoji, or a name such as :ship-it:");
      this.#field.reportValidity();
    });
    this.#field.addEventListener("input", () => this.#field.setCustomValidity(""));
    document.addEventListener("pointerdown", ({ target }) => {
      if (!this.#node.contains(target) && !this.#opener?.contains(target)) this.close();
    });
    document.addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "Escape" || event.isComposing || this.#opener === null) return;
        // This Escape is for the picker alone, not for a drawer below it.
        event.stopPropagation();
        const opener = this.#opener;
        this.close();
        opener.focus();
      },
      { capture: true },
    );
  }
}
