// The roots of threads that are shown: the open one, and those that the user follows.
//
// A root is a message of its channel's main log. Often it is older than the pages that were read,
// so a copy of it is kept here, and takes every newer one that arrives.

import { newest } from "./copies.js";
import { channelOf, logOf } from "./logs.js";
import { withMine } from "./reactions.js";

export class Roots {
  #store;
  /** By thread. */
  #copies = new Map();

  constructor(store) {
    this.#store = store;
  }

  /** Keeps a copy of a thread's root from now on. */
  keep(root) {
    this.#put(root, this.#copies.get(threadOf(root)));
    this.#store.changed();
  }

  /** Takes a copy of any message: it may be a root. */
  take(message) {
    if (message.thread !== undefined) return;
    const here = this.#copies.get(threadOf(message));
    if (here !== undefined) this.#put(message, here);
  }

  /** The copy of a thread's root, if one is kept and its text is known. */
  copyOf(thread) {
    const copy = this.#copies.get(thread);
    return copy?.message === undefined ? undefined : copy;
  }

  /** The newest copy of a thread's root that is here. */
  of(channelId, id) {
    return this.#store.timeline(channelId).messages.get(id) ?? this.copyOf(logOf(channelId, id));
  }

  /** Forgets the roots of a channel: they may be outdated. */
  forget(channelId) {
    for (const thread of this.#copies.keys())
      if (channelOf(thread) === channelId) this.#copies.delete(thread);
  }

  get messages() {
    return [...this.#copies.values()];
  }

  #put(copy, here) {
    const reactions = withMine(copy, here, this.#store.userId);
    const taken = { ...copy, reactions, delivery: "stored" };
    this.#copies.set(threadOf(copy), newest(taken, here));
  }
}

function threadOf({ channel_id: channelId, id }) {
  return logOf(channelId, id);
}
