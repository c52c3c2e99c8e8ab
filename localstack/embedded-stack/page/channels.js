// The list of channels and their members: read after every hint of a change, and retried until the
// read succeeds.

import { fullJitter, sleep } from "./pace.js";
import { isolate } from "./text.js";

const DEBOUNCE_MS = 150;
/** Reads of the list wait for each other, so one that hangs would hold up the next catch-up. */
const READ_MS = 10_000;

export class ChannelList {
  #api;
  #store;
  #handler;
  #timer = null;
  #isDue = false;
  #isRefreshing = false;
  #wake = new AbortController();
  #staleMembers = new Set();
  #lastRead = Promise.resolve();

  /**
   * `handler` has `listRead()`, and `readFirst(channelId, signal)`, which reads the newest page of
   * a channel that has none.
   */
  constructor(api, store, handler) {
    this.#api = api;
    this.#store = store;
    this.#handler = handler;
  }

  /** Channel frames come in bursts: one read serves all of them. */
  refreshSoon() {
    this.#isDue = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refreshUntilRead(), DEBOUNCE_MS);
  }

  /** The members of a channel changed. */
  membersChanged(channelId) {
    this.#staleMembers.add(channelId);
    this.refreshSoon();
  }

  /** Retries now, if the last read failed. */
  retryNow() {
    this.#wake.abort();
    this.#wake = new AbortController();
    if (this.#isDue) this.refreshSoon();
  }

  /** Reads the list, now and again until that succeeds; resolves after the first attempt. */
  async refresh() {
    if (!(await this.#refreshOnce())) this.refreshSoon();
  }

  /** Reads the list, then the newest page of new channels. False if a read failed. */
  async #refreshOnce() {
    this.#isDue = true;
    const signal = AbortSignal.timeout(READ_MS);
    try {
      const list = await this.readList(signal);
      // A change while the rest is read makes it due again.
      this.#isDue = false;
      await this.readNames(signal);
      for (const { channel_id: id } of list) {
        if (this.#store.isInMeeting(id)) continue;
        if (this.#store.timeline(id).historyOffset === undefined)
          await this.#handler.readFirst(id, signal);
      }
      return true;
    } catch {
      this.#isDue = true;
      return false;
    }
  }

  /** One read at a time, so that an older answer never overwrites a newer one. */
  readList(signal) {
    const read = async () => {
      const list = await this.#api.untilAnswered(() => this.#api.channels(signal), signal);
      const { gone } = this.#store.setChannels(list);
      for (const channel of gone)
        this.#store.log.add(`no longer a member of ${isolate(this.#store.titleOf(channel))}`);
      this.#handler.listRead();
      return list;
    };
    this.#lastRead = this.#lastRead.then(read, read);
    return this.#lastRead;
  }

  /** DMs are named after their other member; the open channel shows its members. */
  async readNames(signal) {
    for (const channel of this.#store.channels.values()) {
      const id = channel.channel_id;
      const isNeeded = channel.type === "DM" || id === this.#store.activeId;
      const isStale = this.#staleMembers.has(id);
      if (isNeeded && (isStale || !this.#store.members.has(id))) await this.loadMembers(id, signal);
      else if (isStale) this.#store.members.delete(id);
    }
  }

  async loadMembers(channelId, signal) {
    this.#staleMembers.delete(channelId);
    try {
      this.#store.setMembers(channelId, await this.#api.members(channelId, signal));
    } catch (error) {
      this.#staleMembers.add(channelId);
      if (signal?.aborted) throw error;
    }
  }

  async #refreshUntilRead() {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    for (let attempt = 0; this.#isDue && !this.#api.offline; attempt += 1) {
      if (await this.#refreshOnce()) continue;
      await sleep(fullJitter(attempt), this.#wake.signal);
    }
    this.#isRefreshing = false;
  }
}
