// The box for writing: a draft for each channel, Enter sends, Shift+Enter breaks the line.
//
// Invariant: text is sent to the channel that was open when it was typed, or nowhere.

import { byId, setAttribute, setHidden, setText } from "./dom.js";
import { MENTIONS_MAX, mentionsIn } from "./mentions.js";
import { Tray } from "./tray.js";
import { Suggestions } from "./suggestions.js";
import { charactersOver, isolate, mentionedWords } from "./text.js";

const SAVE_AFTER_MS = 250;

export class Composer {
  #store;
  #actions;
  #text = byId("composer-text");
  #attachments;
  #tray;
  #suggestions;
  #shownId = null;
  #saving = null;

  /** `actions` has `submit(channelId, text, attachments)` and `copy(text)`. */
  constructor(store, attachments, actions) {
    this.#store = store;
    this.#attachments = attachments;
    this.#actions = actions;
    this.#tray = new Tray(store, attachments);
    this.#suggestions = new Suggestions(store, this.#text);
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (isComposing(event) || this.#suggestions.onKey(event)) return;
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("input", () => {
      this.#saving ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
      this.#check();
    });
    byId("composer-copy").addEventListener("click", () => actions.copy(this.#text.value));
    byId("composer-delete").addEventListener("click", () => this.#write(""));
    addEventListener("pagehide", () => this.save());
  }

  render() {
    const { active, activeId, shown } = this.#store;
    if (activeId !== this.#shownId) {
      this.save();
      this.#shownId = activeId;
      this.#text.value = this.#store.drafts.get(activeId);
      this.#suggestions.reset();
      this.#check();
    }
    const words = shown ? `Message ${isolate(this.#store.titleOf(shown))}` : "No channel open";
    setAttribute(this.#text, "placeholder", words);
    const isDisabled = shown === null;
    if (this.#text.disabled !== isDisabled) this.#text.disabled = isDisabled;
    // Read-only rather than disabled: the text can be selected, and the focus stays.
    const isReadOnly = active === null || active.archived === true;
    if (this.#text.readOnly !== isReadOnly) this.#text.readOnly = isReadOnly;
    this.#renderNote();
    this.#renderMentions();
    this.#suggestions.render();
    this.#tray.render();
    setAttribute(byId("send"), "disabled", !this.#isSendable());
  }

  /** Keeps what is typed for the next load of the page. */
  save() {
    clearTimeout(this.#saving);
    this.#saving = null;
    const { channels, former, drafts } = this.#store;
    const channel = channels.get(this.#shownId) ?? former.get(this.#shownId);
    if (channel) drafts.set(this.#shownId, this.#store.labelOf(channel), this.#text.value);
  }

  focus() {
    // On a touch screen a focus nobody asked for would open the keyboard.
    if (matchMedia("(hover: hover)").matches) this.#text.focus({ preventScroll: true });
  }

  #renderNote() {
    const { active, shown } = this.#store;
    const isFormer = active === null && shown !== null;
    const isArchived = active?.archived === true;
    setHidden(byId("composer-note"), !isFormer && !isArchived);
    if (!isFormer && !isArchived) return;
    const hasText = this.#text.value !== "";
    const title = isolate(this.#store.titleOf(shown));
    const what = hasText
      ? "Your text is kept here: copy it, or delete it."
      : "Nothing can be sent.";
    const why = isArchived ? `${title} is archived.` : `You are no longer a member of ${title}.`;
    setText(byId("composer-note-text"), `${why} ${what}`);
    for (const id of ["composer-copy", "composer-delete"]) setHidden(byId(id), !hasText);
  }

  /** The text has ids: this says whom they mean. */
  #renderMentions() {
    const { users, everybody } = mentionsIn(this.#text.value);
    const members = this.#store.members.get(this.#shownId);
    const isMember = (id) => members?.some(({ user_id: member }) => member === id) !== false;
    const name = (id) => {
      const shown = this.#store.displayName(id);
      return isMember(id) ? shown : `${shown} (not a member)`;
    };
    const words = mentionedWords(users.map(name), everybody);
    setHidden(byId("composer-mentions"), words === null);
    setText(byId("composer-mentions"), words ?? "");
  }

  #isSendable() {
    const text = this.#text.value;
    const channel = this.#store.channels.get(this.#shownId);
    const isOpen = channel !== undefined && channel.archived !== true;
    const files = this.#attachments.of(this.#shownId);
    const hasContent = text.trim() !== "" || files.length > 0;
    const isReady = this.#attachments.areReady(this.#shownId);
    return isOpen && hasContent && isReady && overWords(text) === null;
  }

  #send() {
    if (!this.#isSendable()) return;
    // Beside files a text may be empty, but not blank.
    const text = this.#text.value.trim() === "" ? "" : this.#text.value;
    this.#write("");
    this.#actions.submit(this.#shownId, text, this.#attachments.take(this.#shownId));
  }

  #write(text) {
    this.#text.value = text;
    this.save();
    this.#suggestions.reset();
    this.#check();
    this.#store.changed();
  }

  #check() {
    setAttribute(byId("composer-hint"), "data-over", overWords(this.#text.value));
    this.#renderMentions();
    setAttribute(byId("send"), "disabled", !this.#isSendable());
    if (CSS.supports("field-sizing", "content")) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

/** What of a text is more than the server takes; null if it takes all of it. */
function overWords(text) {
  const over = charactersOver(text);
  if (over > 0) return `${over} characters too long`;
  const { count } = mentionsIn(text);
  return count > MENTIONS_MAX ? `${count} mentions: at most ${MENTIONS_MAX}` : null;
}

/**
 * Whether the key belongs to an input method, whose Enter accepts a suggestion. Safari ends the
 * composition before that Enter, and marks it with the key code 229 alone.
 */
function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}
