// Reading logs: what is new or changed after a gap, the newest page, older pages.
//
// Invariants: a channel that may not be read holds up no other; an answer that was asked for before
// the log was forgotten is dropped. Not here: when to read (sync.js), the document.

import { isChanged } from "./copies.js";
import { channelOf, namesOf } from "./logs.js";
import { isolate } from "./text.js";

const HISTORY_PAGE = 20;
const CATCH_UP_PAGE = 100;
const GONE = new Set(["channel_not_found", "not_kept", "wrong_contract"]);

export class LogReader {
  #api;
  #store;
  #gaps;
  #handler;

  /** `handler` has `logRead(log)`. */
  constructor(api, store, gaps, handler) {
    this.#api = api;
    this.#store = store;
    this.#gaps = gaps;
    this.#handler = handler;
  }

  /** Reads a log if it has a gap; returns how many missed messages that brought. */
  async readIfDue(log, signal, { isListed = false, firstVisit = false } = {}) {
    if (!this.#gaps.isBehind(log)) return 0;
    const opening = this.#gaps.openingOf(log);
    const startedAt = this.#gaps.now();
    let missed = 0;
    try {
      if (this.#store.timeline(log).historyOffset === undefined)
        await this.#readNewest(log, signal, firstVisit);
      else missed = await this.#readNewer(log, isListed, signal);
      this.#gaps.logRead(log, opening, startedAt);
    } catch (error) {
      // Removed meanwhile: the list of channels will show it. Or there is nothing to read.
      if (GONE.has(error.code)) this.#gaps.logGone(log);
      else if (error.retryable || signal.aborted) throw error;
      else this.#refused(log, error);
    }
    this.#handler.logRead(log);
    return missed;
  }

  /** Reads the newest page of a new channel. One that may not be read holds up no other. */
  async readFirst(channelId, signal) {
    const [opening, startedAt] = [this.#gaps.openingOf(channelId), this.#gaps.now()];
    try {
      await this.#readNewest(channelId, signal, false);
      this.#gaps.logRead(channelId, opening, startedAt);
    } catch (error) {
      if (error.retryable || signal.aborted) throw error;
      this.#gaps.logRefused(channelId);
    }
    this.#handler.logRead(channelId);
  }

  /** Reads the next older page of a log, if there is one and no read is under way. */
  async loadOlder(log) {
    const timeline = this.#store.timeline(log);
    if (this.#store.isInMeeting(log)) return;
    if (timeline.loadingOlder || typeof timeline.historyOffset !== "string") return;
    timeline.loadingOlder = true;
    timeline.olderFailed = false;
    this.#store.changed();
    const { life } = timeline;
    const query = { ...namesOf(log), limit: HISTORY_PAGE, offset: timeline.historyOffset };
    try {
      const page = await this.#api.scroll(query);
      if (timeline.life !== life) return;
      for (const message of page.messages) this.#store.deliver(message, "history");
      timeline.historyOffset = page.next_offset;
    } catch {
      if (timeline.life !== life) return;
      timeline.olderFailed = true;
    }
    timeline.loadingOlder = false;
    this.#store.changed();
  }

  #refused(log, error) {
    this.#gaps.logRefused(log);
    const channel = this.#store.channels.get(channelOf(log));
    if (!channel) return;
    const title = isolate(this.#store.titleOf(channel));
    const what = log === channel.channel_id ? title : `a thread of ${title}`;
    this.#store.log.add(`cannot read ${what}: ${error.code}`, "bad");
  }

  async #readNewer(log, isListed, signal) {
    const timeline = this.#store.timeline(log);
    const { life } = timeline;
    const start = this.#gaps.startOf(log, await this.#lateOf(log, isListed, signal));
    let offset = start;
    // Messages older than this are history that nobody has scrolled to, not missed ones.
    const oldest = timeline.historyOffset;
    let missed = 0;
    for (;;) {
      const query = { ...namesOf(log), direction: "newer", limit: CATCH_UP_PAGE, offset };
      const known = await this.#gaps.known(log, offset);
      // An old server ignores it and sends known messages too: they are dropped by id.
      if (known !== null) query.known = known;
      const page = await this.#api.untilAnswered(() => this.#api.scroll(query, signal), signal);
      if (timeline.life !== life) return missed;
      // The server no longer has all changes of older messages: what is here may be outdated,
      // except for what the pages of this reading brought.
      if (page.complete === false && offset === start) timeline.forgetThrough(start);
      for (const message of page.messages) {
        const history = oldest !== null && message.id <= oldest && !isChanged(message);
        const outcome = this.#store.deliver(message, history ? "history" : "scroll");
        if (outcome === "new" && !history) missed += 1;
      }
      // An offset that does not move would loop endlessly.
      if (page.next_offset === null || page.next_offset <= offset) return missed;
      offset = page.next_offset;
    }
  }

  /** The `late` mark of a log's channel, if it could matter: the list of channels has it. */
  async #lateOf(log, isListed, signal) {
    const channelId = channelOf(log);
    if (isListed || !this.#gaps.needsLate(log)) return this.#store.channels.get(channelId)?.late;
    const read = () => this.#api.channel(channelId, signal);
    return (await this.#api.untilAnswered(read, signal)).late;
  }

  async #readNewest(log, signal, firstVisit) {
    const timeline = this.#store.timeline(log);
    const { life } = timeline;
    const query = { ...namesOf(log), limit: HISTORY_PAGE };
    const page = await this.#api.untilAnswered(() => this.#api.scroll(query, signal), signal);
    if (timeline.life !== life) return;
    for (const message of page.messages) this.#store.deliver(message, "history");
    timeline.historyOffset = page.next_offset;
    // What was pushed before may be older than the page, and have changed in a gap since.
    timeline.forgetUnreadHistory();
    this.#store.unread.count(log, firstVisit);
  }
}
