// The threads that the user follows: which, and how far they are read.
//
// Main path: `load` reads the list after every catch-up, with the marks of its threads; a reply
// that makes the user follow a thread reads it again soon after. Invariants: an older answer never
// overwrites a newer one; following and its end are shown once the server has them. Not here: the
// replies (store.js, sync.js), the document.

import { channelOf, logOf, logOfMessage, rootOf } from "./logs.js";

/** The server makes the user follow a thread within a second or two of the reply. */
const FOLLOWED_WITHIN_MS = 2_500;
/** Replies come in bursts: one read of the list serves those of this time. */
const LOAD_EVERY_MS = 10_000;

export class Threads {
  /** Whether the list was read once. */
  isKnown = false;
  /** Why it could not be read last, or null. */
  problem = null;
  #api;
  #store;
  #followed = new Set();
  #changing = new Set();
  #loads = 0;
  #timer = null;
  #loadedAt = -Infinity;
  #endFirstLoad;

  constructor(api, store) {
    this.#api = api;
    this.#store = store;
    /** Settles when the list was read for the first time, or could not be read. */
    this.firstLoad = new Promise((resolve) => (this.#endFirstLoad = resolve));
  }

  /** Whether the user follows a thread. */
  follows(thread) {
    return this.#followed.has(thread);
  }

  /** Whether a call to follow a thread, or to cease to, is under way. */
  isBusy(thread) {
    return this.#changing.has(thread);
  }

  /** The roots of the followed threads, the one with the newest reply first. */
  list() {
    const roots = [...this.#followed].map((thread) => this.#rootOf(thread));
    const isShown = (root) => root !== undefined && this.#store.channels.has(root.channel_id);
    return roots.filter(isShown).sort((a, b) => (lastOf(a) < lastOf(b) ? 1 : -1));
  }

  /** How many followed threads have unread replies. */
  unread() {
    return this.list().filter((root) => this.unreadOf(root) > 0).length;
  }

  /** How many replies of a thread are unread: at least so many, until the thread was read. */
  unreadOf({ channel_id: channelId, id }) {
    return this.#store.unread.of(logOf(channelId, id));
  }

  /** What a badge says of a thread's unread replies; null if there are none. */
  unreadWords(root) {
    const unread = this.unreadOf(root);
    if (unread === 0) return null;
    const { unreadOnServer } = this.#store.timeline(logOf(root.channel_id, root.id));
    // The server says that there are some, not how many.
    return unreadOnServer > 0 ? "New" : `${unread} new`;
  }

  /** Reads the list. Without an answer, the page keeps its own. */
  async load(signal) {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#loads += 1;
    const load = this.#loads;
    try {
      const threads = await this.#api.threads(signal);
      if (load === this.#loads) this.#take(threads);
    } catch (error) {
      if (signal?.aborted || load !== this.#loads) return;
      this.problem = error;
      this.#store.log.add(`followed threads could not be read: ${error.code}`, "warn");
    } finally {
      this.#endFirstLoad();
      this.#store.changed();
    }
  }

  /** A reply came: maybe the user follows its thread from now on. */
  replied(reply) {
    const thread = logOfMessage(reply);
    if (this.#followed.has(thread)) return;
    const { userId } = this.#store;
    const root = this.#rootOf(thread);
    const isMine = reply.sender_id === userId || reply.mentions?.includes(userId);
    // The root may be the user's, if it is older than what is here.
    if (isMine || root === undefined || root.sender_id === userId) this.#loadSoon();
  }

  /** Replies may be missing. */
  mayLackReplies() {
    this.#loadSoon();
  }

  /** Follows a thread, or ceases to. */
  async set(thread, isFollowed) {
    if (this.isBusy(thread)) return;
    this.#changing.add(thread);
    this.#store.changed();
    try {
      await (isFollowed ? this.#api.follow(thread) : this.#api.unfollow(thread));
      // A list that is being read may be from before.
      this.#loads += 1;
      if (isFollowed) this.#followed.add(thread);
      else this.#followed.delete(thread);
    } finally {
      this.#changing.delete(thread);
      this.#store.changed();
    }
  }

  /** The page is offline. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #take(threads) {
    this.#followed.clear();
    for (const { channel_id: channelId, root, up_to: upTo, unread } of threads) {
      const thread = logOf(channelId, root.id);
      this.#store.roots.keep(root);
      this.#followed.add(thread);
      // The server knows whether there are unread replies, not how many. What is here is exact.
      const isHere = this.#store.timeline(thread).historyOffset !== undefined;
      const counts = { epoch: 0, up_to: upTo, unread: Number(unread && !isHere) };
      this.#store.unread.takeCounts({ channel_id: channelId, thread: root.id, ...counts });
    }
    Object.assign(this, { isKnown: true, problem: null });
    this.#loadedAt = performance.now();
  }

  #loadSoon() {
    if (this.#api.offline) return;
    const sinceMs = performance.now() - this.#loadedAt;
    const waitMs = Math.max(FOLLOWED_WITHIN_MS, LOAD_EVERY_MS - sinceMs);
    this.#timer ??= setTimeout(() => this.load(), waitMs);
  }

  #rootOf(thread) {
    return this.#store.roots.of(channelOf(thread), rootOf(thread));
  }
}

/** The id of a root's last reply, or its own. */
function lastOf({ id, replies }) {
  return replies?.last ?? id;
}
