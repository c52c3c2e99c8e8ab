// What may be missing, channel by channel, and where reading it starts.
//
// A channel is in step at a time if everything that was published before that time is on the page.
// A tick with `fresh:true` says so for every channel without a gap. Invariants: a gap keeps the
// position at which it opened, whatever is pushed meanwhile; a reading closes only gaps that were
// not opened again since it began. All times are the server's. Not here: the network, the document.

import { idBefore, lowestIdAt, timeOf } from "./store.js";

// The server's OVERLAP: how far back a message may still appear without a `late` mark.
const OVERLAP_MS = 10 * 60_000;
// The server's VERIFIED_OVERLAP: a complete reading read all that was stored when it started, and
// what is stored later has an id that is at most this much older (ADR 0023).
const VERIFIED_OVERLAP_MS = 30_000;
// Clocks of two servers differ by no more.
const FUTURE_MS = 1_000;
const KNOWN_MESSAGES_MAX = 400;
const MARK_BYTES = 6;

export class Gaps {
  #store;
  #openings = 0;
  /** Set while a gap concerns all channels, the unknown ones too. */
  #list = null;
  #inStepAt = 0;
  #clock = null;

  constructor(store) {
    this.#store = store;
  }

  /** A frame told the node's clock. */
  learnClock(serverTime) {
    if (Number.isFinite(serverTime)) this.#clock = { serverTime, at: performance.now() };
  }

  /**
   * The server's time or a little before it: what a frame told, and what passed since by a clock
   * that nobody sets. So a reading never says to have started later than it did.
   */
  now() {
    if (this.#clock === null) return 0;
    return Math.floor(this.#clock.serverTime + performance.now() - this.#clock.at);
  }

  inStep(serverTime) {
    this.#inStepAt = Math.max(this.#inStepAt, serverTime);
  }

  /** The number of the opening that concerns all channels; null if none does. */
  get list() {
    return this.#list;
  }

  /** Opens the gap of these channels, of all of them for `null`. */
  open(channelIds) {
    this.#openings += 1;
    if (channelIds === null) this.#list = this.#openings;
    for (const id of channelIds ?? this.#store.channels.keys()) this.#openOne(id);
  }

  #openOne(channelId) {
    const timeline = this.#store.timeline(channelId);
    if (timeline.gap !== null) {
      timeline.gap.opening = this.#openings;
      timeline.gap.refused = false;
      return;
    }
    const newest = timeline.newestStoredId();
    const at = this.#inStepAt || (newest === null ? 0 : timeOf(newest));
    const wasInStep = this.#inStepAt > 0;
    timeline.gap = { opening: this.#openings, at, wasInStep, refused: false };
  }

  /** Whether something has to be read. */
  get any() {
    return this.#list !== null || this.due().length > 0;
  }

  /** The channels to read, those that were refused for good left out; the open one first. */
  due() {
    const { channels, activeId } = this.#store;
    const due = [...channels.values()].filter(({ channel_id: id }) => this.isBehind(id));
    return due.sort((a, b) => (b.channel_id === activeId) - (a.channel_id === activeId));
  }

  /** Whether messages of the channel may be missing that a reading will bring. */
  isBehind(channelId) {
    const { gap, historyOffset } = this.#store.timeline(channelId);
    if (gap !== null) return !gap.refused;
    return this.#list !== null && historyOffset === undefined;
  }

  /** Where the reading of a channel starts, given its `late` mark. An exclusive offset. */
  startOf(channelId, late) {
    const { gap, verifiedAt } = this.#store.timeline(channelId);
    const { at, wasInStep } = gap ?? { at: this.#inStepAt, wasInStep: false };
    let offset = lowestIdAt(at - OVERLAP_MS);
    if (late && (!wasInStep || millis(late.until) + FUTURE_MS > at)) {
      const before = idBefore(late.reread_from);
      if (before < offset) offset = before;
    }
    const verified = lowestIdAt(verifiedAt - VERIFIED_OVERLAP_MS);
    return verifiedAt > 0 && verified > offset ? verified : offset;
  }

  /** Whether a `late` mark could change where the reading of a channel starts. */
  needsLate(channelId) {
    const { gap, verifiedAt } = this.#store.timeline(channelId);
    return gap !== null && verifiedAt - VERIFIED_OVERLAP_MS < gap.at - OVERLAP_MS;
  }

  /** What the page has of a channel after `offset`, as `known` of `GET /scroll`; null for nothing. */
  async known(channelId, offset) {
    const ids = this.#store.timeline(channelId).storedAfter(offset, KNOWN_MESSAGES_MAX);
    // Absent where the page comes over plain HTTP from another host: then everything is answered.
    const subtle = globalThis.crypto?.subtle;
    if (ids.length === 0 || !subtle) return null;
    const text = new TextEncoder();
    const digests = ids.map((id) => subtle.digest("SHA-256", text.encode(offset + id)));
    const marks = (await Promise.all(digests)).map((digest) => {
      return btoa(String.fromCharCode(...new Uint8Array(digest, 0, MARK_BYTES)));
    });
    return marks.join("").replaceAll("+", "-").replaceAll("/", "_");
  }

  openingOf(channelId) {
    return this.#store.timeline(channelId).gap?.opening ?? null;
  }

  /** A reading of the channel that began at `startedAt` is complete. */
  channelRead(channelId, opening, startedAt) {
    const timeline = this.#store.timeline(channelId);
    timeline.verifiedAt = Math.max(timeline.verifiedAt, startedAt);
    if (timeline.gap?.opening === opening) timeline.gap = null;
  }

  /** The caller is no member any more: there is nothing to read. */
  channelGone(channelId) {
    this.#store.timeline(channelId).gap = null;
  }

  /** No retry helps: the gap stays open for the next catch-up, and nothing waits for it. */
  channelRefused(channelId) {
    this.#openOne(channelId);
    this.#store.timeline(channelId).gap.refused = true;
  }

  /** A reading went through all channels, with the list of that opening. */
  allRead(list, startedAt) {
    if (this.#list === list) this.#list = null;
    if (!this.any) this.inStep(startedAt);
  }
}

/** Unix ms of a time that is RFC 3339 or already a number. */
function millis(time) {
  return typeof time === "number" ? time : Date.parse(time);
}
