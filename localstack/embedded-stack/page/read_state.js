// Read marks and unread counts, on the server: sends what was read here, and takes what was read
// elsewhere.
//
// A mark that gets lost costs a wrong badge on another device until the channel is read again, so
// nothing is retried but by the next mark.

import { deliversFirst } from "./contracts.js";
import { channelOf, logOf } from "./logs.js";

/** One call has what was read in this time. */
const SEND_AFTER_MS = 10_000;
/** Where senders see who has read their messages. */
const SHARE_AFTER_MS = 1_000;
/** Marks that one call may carry (`limits::READ_MARKS_MAX`). */
const MARKS_MAX = 20;

export class ReadState {
  #api;
  #store;
  #due = new Set();
  #timer = null;
  #sendAt = Infinity;

  constructor(api, store) {
    this.#api = api;
    this.#store = store;
    store.unread.onRead = (log) => this.#sendSoon(log);
  }

  /** Reads the marks and counts of all channels. Without an answer, the page keeps its own. */
  async load(signal) {
    try {
      for (const channel of await this.#api.unread(signal)) this.#store.unread.takeCounts(channel);
    } catch (error) {
      if (!signal?.aborted)
        this.#store.log.add(`unread counts could not be read: ${error.code}`, "warn");
    }
  }

  onFrame({ channel_id: channelId, thread, epoch, up_to: upTo }) {
    this.#store.unread.takeMark(logOf(channelId, thread), epoch, upTo);
  }

  /** Sends what is due now: a log is left, or the tab is hidden. */
  async flush() {
    this.stop();
    const due = [...this.#due].filter((log) => this.#store.channels.has(channelOf(log)));
    this.#due.clear();
    for (let at = 0; at < due.length; at += MARKS_MAX) {
      const marks = due.slice(at, at + MARKS_MAX).map((log) => this.#store.unread.markOf(log));
      await this.#send(marks);
    }
  }

  /** The page is closed, or offline. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#sendAt = Infinity;
  }

  #sendSoon(log) {
    this.#due.add(log);
    const isShared = deliversFirst(this.#store.channels.get(channelOf(log)));
    const waitMs = isShared ? SHARE_AFTER_MS : SEND_AFTER_MS;
    const sendAt = performance.now() + waitMs;
    if (sendAt >= this.#sendAt) return;
    this.stop();
    this.#sendAt = sendAt;
    this.#timer = setTimeout(() => this.flush(), waitMs);
  }

  async #send(marks) {
    try {
      const answer = await this.#api.markRead(marks);
      // A later epoch: another device marked messages unread meanwhile.
      for (const { channel_id: id, thread, epoch, up_to: upTo } of answer.marks)
        if (upTo !== undefined) this.#store.unread.takeMark(logOf(id, thread), epoch, upTo);
    } catch (error) {
      if (!error.retryable) return;
      for (const { channel_id: id, thread } of marks) this.#due.add(logOf(id, thread));
    }
  }
}
