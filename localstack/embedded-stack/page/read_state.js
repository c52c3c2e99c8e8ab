// Read marks and unread counts, on the server: sends what was read here, and takes what was read
// elsewhere.
//
// A mark that gets lost costs a wrong badge on another device until the channel is read again, so
// nothing is retried but by the next mark.

/** One call has what was read in this time. */
const SEND_AFTER_MS = 10_000;
/** Marks that one call may carry (`limits::READ_MARKS_MAX`). */
const MARKS_MAX = 20;

export class ReadState {
  #api;
  #store;
  #due = new Set();
  #timer = null;

  constructor(api, store) {
    this.#api = api;
    this.#store = store;
    store.onRead = (channelId) => this.#sendSoon(channelId);
  }

  /** Reads the marks and counts of all channels. Without an answer, the page keeps its own. */
  async load(signal) {
    try {
      for (const channel of await this.#api.unread(signal)) this.#store.takeUnread(channel);
    } catch (error) {
      if (!signal?.aborted)
        this.#store.log.add(`unread counts could not be read: ${error.code}`, "warn");
    }
  }

  onFrame({ channel_id: channelId, epoch, up_to: upTo }) {
    this.#store.takeMark(channelId, epoch, upTo);
  }

  /** Sends what is due now: a channel is left, or the tab is hidden. */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const due = [...this.#due].filter((channelId) => this.#store.channels.has(channelId));
    this.#due.clear();
    for (let at = 0; at < due.length; at += MARKS_MAX) {
      const marks = due.slice(at, at + MARKS_MAX).map((id) => this.#store.markOf(id));
      await this.#send(marks);
    }
  }

  /** The page is closed, or offline. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #sendSoon(channelId) {
    this.#due.add(channelId);
    this.#timer ??= setTimeout(() => this.flush(), SEND_AFTER_MS);
  }

  async #send(marks) {
    try {
      const answer = await this.#api.markRead(marks);
      // A later epoch: another device marked messages unread meanwhile.
      for (const { channel_id: id, epoch, up_to: upTo } of answer.marks)
        if (upTo !== undefined) this.#store.takeMark(id, epoch, upTo);
    } catch (error) {
      if (error.retryable) for (const { channel_id: id } of marks) this.#due.add(id);
    }
  }
}
