// Which logs may lack messages, and from where to read them.
//
// A log is in step at a time if the page has everything published before that time. A tick with
// `fresh:true` confirms it for every log without a gap. A thread that was opened is read like a
// channel. Its root would say whether anything happened in it, but only a moment after the reply:
// reading the thread itself needs no second look. Invariants: a gap keeps the position at which it
// opened, whatever is pushed meanwhile; a reading closes only gaps that did not open again since it
// began. All times are the server's. Not here: the network, the document.

import { idBefore, lowestIdAt, timeOf } from "./ids.js";
import { rootOf } from "./logs.js";

// The server's OVERLAP: how far back a message may still appear without a `late` mark.
const OVERLAP_MS = 10 * 60_000;
// The server's VERIFIED_OVERLAP: a complete reading has everything stored before it started, and
// the id of a message stored later is at most this much older (ADR 0023).
const VERIFIED_OVERLAP_MS = 30_000;
// The largest difference between the clocks of two servers.
const FUTURE_MS = 1_000;
const KNOWN_MESSAGES_MAX = 400;
const MARK_BYTES = 6;

export class Gaps {
  #store;
  #openings = 0;
  /** Set while all channels have a gap, including those not listed yet. */
  #list = null;
  #inStepAt = 0;
  #clock = null;

  constructor(store) {
    this.#store = store;
  }

  /** Takes the node's time from a frame. */
  learnClock(serverTime) {
    if (Number.isFinite(serverTime)) this.#clock = { serverTime, at: performance.now() };
  }

  /**
   * The server's time, or a little less: the time in the latest frame plus what has passed since,
   * by a monotonic clock. So a reading never claims to have started later than it did.
   */
  now() {
    if (this.#clock === null) return 0;
    return Math.floor(this.#clock.serverTime + performance.now() - this.#clock.at);
  }

  inStep(serverTime) {
    this.#inStepAt = Math.max(this.#inStepAt, serverTime);
  }

  /** The number of the opening that concerns all channels; null if there is none. */
  get list() {
    return this.#list;
  }

  /** Opens a gap in these logs; in all of them for `null`. */
  open(logs) {
    this.#openings += 1;
    if (logs === null) this.#list = this.#openings;
    const kept = (logs ?? this.#store.keptLogs()).filter((log) => !this.#store.isInMeeting(log));
    for (const log of kept) this.#openOne(log);
  }

  #openOne(log) {
    const timeline = this.#store.timeline(log);
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

  /** Whether anything has to be read. */
  get any() {
    return this.#list !== null || this.due().length > 0;
  }

  /** The logs to read, except those that may not be read. */
  due() {
    return this.#store.keptLogs().filter((log) => this.isBehind(log));
  }

  /** Whether the log may lack messages that a reading will bring. */
  isBehind(log) {
    if (this.#store.isInMeeting(log)) return false;
    const { gap, historyOffset } = this.#store.timeline(log);
    if (gap !== null) return !gap.refused;
    return this.#list !== null && historyOffset === undefined && rootOf(log) === undefined;
  }

  /** Where to start reading a log, given the `late` mark of its channel. An exclusive offset. */
  startOf(log, late) {
    const { gap, verifiedAt } = this.#store.timeline(log);
    const { at, wasInStep } = gap ?? { at: this.#inStepAt, wasInStep: false };
    let offset = lowestIdAt(at - OVERLAP_MS);
    if (late && (!wasInStep || millis(late.until) + FUTURE_MS > at)) {
      const before = idBefore(late.reread_from);
      if (before < offset) offset = before;
    }
    const verified = lowestIdAt(verifiedAt - VERIFIED_OVERLAP_MS);
    return verifiedAt > 0 && verified > offset ? verified : offset;
  }

  /** Whether the `late` mark could change where to start reading the log. */
  needsLate(log) {
    const { gap, verifiedAt } = this.#store.timeline(log);
    return gap !== null && verifiedAt - VERIFIED_OVERLAP_MS < gap.at - OVERLAP_MS;
  }

  /** The messages after `offset` that the page has, as `known` of `GET /scroll`; null if none. */
  async known(log, offset) {
    const revs = this.#store.timeline(log).storedAfter(offset, KNOWN_MESSAGES_MAX);
    // Absent over plain HTTP from another host. Then the server sends everything.
    const subtle = globalThis.crypto?.subtle;
    if (revs.length === 0 || !subtle) return null;
    const text = new TextEncoder();
    const digests = revs.map((rev) => subtle.digest("SHA-256", text.encode(offset + rev)));
    const marks = (await Promise.all(digests)).map((digest) => {
      return btoa(String.fromCharCode(...new Uint8Array(digest, 0, MARK_BYTES)));
    });
    return marks.join("").replaceAll("+", "-").replaceAll("/", "_");
  }

  openingOf(log) {
    return this.#store.timeline(log).gap?.opening ?? null;
  }

  /** A reading of the log that began at `startedAt` is complete. */
  logRead(log, opening, startedAt) {
    const timeline = this.#store.timeline(log);
    // Forgotten meanwhile: it is still to be read.
    if (timeline.historyOffset === undefined) return;
    timeline.verifiedAt = Math.max(timeline.verifiedAt, startedAt);
    if (timeline.gap?.opening === opening) timeline.gap = null;
  }

  /** The user is no longer a member, so there is nothing to read. */
  logGone(log) {
    this.#store.timeline(log).gap = null;
  }

  /** Retrying does not help: the gap stays for the next catch-up, and nothing waits for it. */
  logRefused(log) {
    this.#openOne(log);
    this.#store.timeline(log).gap.refused = true;
  }

  /**
   * All logs with a gap are read, from the list of that opening. What the others missed may still
   * be on its way.
   */
  allRead(list, startedAt) {
    if (this.#list === list) this.#list = null;
    const isVerified = (log) => this.#store.timeline(log).verifiedAt >= startedAt;
    if (!this.any && this.#store.keptLogs().every(isVerified)) this.inStep(startedAt);
  }
}

/** A time, in RFC 3339 or as a number, in Unix ms. */
function millis(time) {
  return typeof time === "number" ? time : Date.parse(time);
}
