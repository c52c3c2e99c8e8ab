// The line below a composer that says who types there, and what a screen reader says of it.

import { setHidden, setText } from "./dom.js";
import { typingWords } from "./text.js";

/** People start and stop all the time: a screen reader says it once in a while. */
const SAY_GAP_MS = 30_000;
/** Said text goes again, so that nobody finds it beside the line. */
const SAID_MS = 1_000;

export class TypingLine {
  #store;
  #typing;
  #parts;
  #said = new Announcement();

  /** `parts` are the composer's elements. */
  constructor(store, typing, parts) {
    this.#store = store;
    this.#typing = typing;
    this.#parts = parts;
  }

  render(log) {
    const { users, more } = this.#typing.in(log);
    const names = users.map((user) => this.#store.displayName(user));
    const words = typingWords(names, more);
    setHidden(this.#parts.typing, words === null);
    setText(this.#parts.typingText, words ?? "");
    setText(this.#parts.typingStatus, this.#said.next(log, words, performance.now()));
  }
}

/** What the live region of a composer contains. */
export class Announcement {
  #log = null;
  #saidAt = -Infinity;
  #text = "";

  /** Takes the shown log, who types there in words or null, and a monotonic time. */
  next(log, words, now) {
    if (log !== this.#log) this.#saidAt = -Infinity;
    this.#log = log;
    const sinceMs = now - this.#saidAt;
    if (words !== null && sinceMs >= SAY_GAP_MS) {
      this.#saidAt = now;
      this.#text = words;
    } else if (words === null || sinceMs >= SAID_MS) this.#text = "";
    return this.#text;
  }
}
