// The box for writing: a draft for each log, Enter sends, Shift+Enter breaks the line.
//
// Invariant: text is sent to the log that was open when it was typed, or nowhere.

import { isMeeting, takesChanges } from "./contracts.js";
import { byId, setAttribute, setHidden, setText } from "./dom.js";
import { channelOf } from "./logs.js";
import { MENTIONS_MAX, mentionsIn } from "./mentions.js";
import { Tray } from "./tray.js";
import { Suggestions } from "./suggestions.js";
import {
  charactersOver,
  counted,
  isolate,
  meetingBytesOver,
  mentionedWords,
} from "./text.js";
import { TypingLine } from "./typing_line.js";

const SAVE_AFTER_MS = 250;

export class Composer {
  #store;
  #actions;
  #attachments;
  #typing;
  #place;
  #parts;
  #text;
  #tray;
  #suggestions;
  #typingLine;
  #shownLog = null;
  #saving = null;

  /**
   * `actions` has `submit(log, text, attachments)` and `copy(text)`. `place` is where the composer
   * is and where it writes to: `log()` or null, `label`, `placeholder(title)`, `refusal()`, why
   * nothing can be sent though the channel is open, or null, `area`, where files may be dropped,
   * and `prefix`, that of its elements' ids.
   */
  constructor({ store, attachments, typing }, actions, place) {
    this.#store = store;
    this.#attachments = attachments;
    this.#typing = typing;
    this.#actions = actions;
    this.#place = place;
    this.#parts = partsIn(byId(`${place.prefix}writing`), place.prefix);
    this.#text = this.#parts.text;
    setText(this.#parts.label, place.label);
    const target = () => (this.#takesFiles() ? this.#place.log() : null);
    this.#tray = new Tray(attachments, this.#parts, place.area, target);
    const channelId = () => this.#store.activeId;
    this.#suggestions = new Suggestions(store, this.#parts, channelId);
    this.#typingLine = new TypingLine(store, typing, this.#parts);
    this.#listen();
  }

  render() {
    const { shown } = this.#store;
    const log = this.#place.log();
    if (log !== this.#shownLog) {
      this.save();
      this.#shownLog = log;
      this.#text.value = this.#store.drafts.get(log);
      this.#suggestions.reset();
      this.#check();
    }
    const title = shown && isolate(this.#store.titleOf(shown));
    const words = shown ? this.#place.placeholder(title) : "No channel open";
    setAttribute(this.#text, "placeholder", words);
    const isDisabled = shown === null;
    if (this.#text.disabled !== isDisabled) this.#text.disabled = isDisabled;
    // Read-only rather than disabled: the text can be selected, and the focus stays.
    const isReadOnly = this.#refusal() !== null;
    if (this.#text.readOnly !== isReadOnly) this.#text.readOnly = isReadOnly;
    this.#renderNote();
    this.#renderMentions();
    this.#suggestions.render();
    this.#typingLine.render(log);
    this.#tray.render(log);
    setHidden(this.#parts.fileHint, shown !== null && !takesChanges(shown));
    setAttribute(this.#parts.send, "disabled", !this.#isSendable());
  }

  /** Keeps what is typed for the next load of the page. */
  save() {
    clearTimeout(this.#saving);
    this.#saving = null;
    if (this.#shownLog === null) return;
    const { channels, former, drafts } = this.#store;
    const channelId = channelOf(this.#shownLog);
    const channel = channels.get(channelId) ?? former.get(channelId);
    if (isMeeting(channel)) drafts.setPassing(this.#shownLog, this.#text.value);
    else if (channel) drafts.set(this.#shownLog, this.#store.labelOf(channel), this.#text.value);
  }

  /** Whether something would be out of sight if this composer were closed. */
  get hasText() {
    return this.#text.value !== "";
  }

  /** Takes the focus, and answers whether it did. */
  focus() {
    // On a touch screen a focus nobody asked for would open the keyboard.
    const takes = matchMedia("(hover: hover)").matches;
    if (takes) this.#text.focus({ preventScroll: true });
    return takes;
  }

  #listen() {
    const { form, copy, remove } = this.#parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (isComposing(event) || this.#suggestions.onKey(event)) return;
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("input", ({ isTrusted }) => {
      this.#saving ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
      this.#check();
      // A completed mention is written by script: it alone is no typing.
      const isTyped = isTrusted && this.#text.value.trim() !== "";
      if (isTyped && this.#shownLog !== null) this.#typing.typed(this.#shownLog);
    });
    copy.addEventListener("click", () => this.#actions.copy(this.#text.value));
    remove.addEventListener("click", () => this.#write(""));
    addEventListener("pagehide", () => this.save());
  }

  /** Why nothing can be sent; null if something can. */
  #refusal() {
    const { active, shown } = this.#store;
    if (shown === null) return "No channel is open.";
    const title = isolate(this.#store.titleOf(shown));
    if (active === null && !this.#store.channelsKnown) return "Your channels are not read yet.";
    if (active === null)
      return isMeeting(shown) ? `You are no longer in ${title}.` : `You are no longer a member of ${title}.`;
    if (active.archived === true) return `${title} is archived.`;
    return this.#place.refusal();
  }

  #takesFiles() {
    return this.#refusal() === null && takesChanges(this.#store.active);
  }

  #renderNote() {
    const { note, noteText, copy, remove } = this.#parts;
    const why = this.#refusal();
    const isShown = why !== null && this.#store.shown !== null;
    setHidden(note, !isShown);
    if (!isShown) return;
    const what = this.hasText
      ? "Your text is kept here: copy it, or delete it."
      : "Nothing can be sent.";
    setText(noteText, `${why} ${what}`);
    for (const button of [copy, remove]) setHidden(button, !this.hasText);
  }

  /** The text has ids: this says whom they mean. */
  #renderMentions() {
    const { users, everybody } = mentionsIn(this.#text.value);
    const members = this.#store.members.get(this.#store.activeId);
    const isMember = (id) => members?.some(({ user_id: member }) => member === id) !== false;
    const name = (id) => {
      const shown = this.#store.displayName(id);
      return isMember(id) ? shown : `${shown} (not a member)`;
    };
    const words = mentionedWords(users.map(name), everybody);
    setHidden(this.#parts.mentions, words === null);
    setText(this.#parts.mentions, words ?? "");
  }

  #isSendable() {
    const text = this.#text.value;
    // Until this is drawn for another log, what is typed belongs to the one before.
    if (this.#shownLog === null || this.#shownLog !== this.#place.log()) return false;
    const files = this.#attachments.of(this.#shownLog);
    const hasContent = text.trim() !== "" || files.length > 0;
    const isReady = this.#attachments.areReady(this.#shownLog);
    return this.#refusal() === null && hasContent && isReady && this.#overWords(text) === null;
  }

  #send() {
    if (!this.#isSendable()) return;
    // Beside files a text may be empty, but not blank.
    const text = this.#text.value.trim() === "" ? "" : this.#text.value;
    this.#write("");
    this.#actions.submit(this.#shownLog, text, this.#attachments.take(this.#shownLog));
  }

  #write(text) {
    this.#text.value = text;
    this.save();
    this.#suggestions.reset();
    this.#check();
    this.#store.changed();
  }

  #overWords(text) {
    return overWords(text, this.#shownLog !== null && this.#store.isInMeeting(this.#shownLog));
  }

  #check() {
    setAttribute(this.#parts.hint, "data-over", this.#overWords(this.#text.value));
    this.#renderMentions();
    setAttribute(this.#parts.send, "disabled", !this.#isSendable());
    if (CSS.supports("field-sizing", "content")) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

/** The elements of a composer, made in `slot`. `prefix` begins their ids and test ids. */
function partsIn(slot, prefix) {
  slot.append(byId("composer-template").content.cloneNode(true));
  const parts = {};
  for (const node of slot.querySelectorAll("[data-part]")) {
    parts[node.dataset.part] = node;
    for (const name of ["id", "for", "aria-controls", "data-testid"]) {
      const value = node.getAttribute(name);
      if (value !== null) node.setAttribute(name, prefix + value);
    }
  }
  return parts;
}

/** What of a text is more than the server takes in a channel; null if it takes all of it. */
function overWords(text, isForMeeting) {
  const bytes = isForMeeting ? meetingBytesOver(text) : 0;
  if (bytes > 0) return `${counted(bytes, "byte", "bytes")} too long: a meeting takes 4 KiB`;
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
