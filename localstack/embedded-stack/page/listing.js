// Messages that a call lists page by page: the pins of a channel, the user's mentions.
//
// Invariants: of each message the newest copy is shown, whether a page, a frame or the store has
// it, so a page that was read before a change does not undo it; an answer to an earlier opening
// changes nothing. Nothing here knows the document.

import { newest } from "./copies.js";
import { logOfMessage } from "./logs.js";

export class Listing {
  isOpen = false;
  busy = false;
  /** What went wrong last, or null. */
  problem = null;
  /** Where the next page goes on: undefined = no page read yet, null = all pages are here. */
  next = undefined;
  #store;
  #read = null;
  #opening = 0;
  /** The newest copies, by channel and id. */
  #copies = new Map();
  /** The keys of the messages that pages brought. */
  #paged = new Set();
  /** The lowest id of these pages; null before the first one. */
  #lowest = null;

  constructor(store) {
    this.#store = store;
  }

  /** Lists from the first page on. `read(offset)` reads a page; the first one without an offset. */
  async open(read) {
    this.close();
    this.isOpen = true;
    this.#read = read;
    // The server's list may lag behind what is here.
    for (const message of this.#store.messages()) this.take(message);
    this.#store.listings.add(this);
    await this.more();
  }

  close() {
    this.#opening += 1;
    Object.assign(this, { isOpen: false, busy: false, problem: null, next: undefined });
    this.#copies.clear();
    this.#paged.clear();
    this.#lowest = null;
    this.#store.listings.delete(this);
  }

  /** Reads the next page, if there is one. Never rejects: `problem` says what went wrong. */
  async more() {
    if (!this.isOpen || this.busy || this.next === null) return;
    const opening = this.#opening;
    Object.assign(this, { busy: true, problem: null });
    this.#store.changed();
    try {
      const page = await this.#read(this.next);
      if (opening === this.#opening) this.#takePage(page);
    } catch (problem) {
      if (opening === this.#opening) this.problem = problem;
    }
    if (opening === this.#opening) this.busy = false;
    this.#store.changed();
  }

  /** Takes a copy that arrived meanwhile. */
  take(copy) {
    const key = keyOf(copy);
    this.#copies.set(key, newest(copy, this.#copies.get(key)));
  }

  /** Every message that pages brought. */
  get messages() {
    return [...this.#paged].map((key) => this.#newest(this.#copies.get(key)));
  }

  /**
   * The messages to show, newest first: those that `passes(message)`, as far back as pages were
   * read. Deleted ones are left out, and those whose text is not here.
   */
  shown(passes) {
    const isReached = (message) =>
      this.#paged.has(keyOf(message)) || (this.#lowest !== null && message.id >= this.#lowest);
    return [...this.#copies.values()]
      .map((copy) => this.#newest(copy))
      .filter(({ message, deleted }) => message !== undefined && deleted === undefined)
      .filter((message) => isReached(message) && passes(message))
      .sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  #takePage({ messages, next_offset: next }) {
    for (const message of messages) {
      this.take(message);
      this.#paged.add(keyOf(message));
      if (this.#lowest === null || message.id < this.#lowest) this.#lowest = message.id;
    }
    this.next = next ?? null;
    if (this.next === null) this.#lowest = "";
  }

  #newest(copy) {
    return newest(copy, this.#store.timeline(logOfMessage(copy)).messages.get(copy.id));
  }
}

/** Ids are unique within a log only. */
export function keyOf(message) {
  return `${logOfMessage(message)} ${message.id}`;
}
