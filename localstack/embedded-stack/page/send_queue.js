// Own messages of channels that deliver first, from the moment they are typed until they are
// stored: what to do with each, and when.
//
// Main path: queued → asked (a frame is sent) → kept (accepted: Redis has it) → removed (archived).
// An entry that is not archived after a minute is sent once more, and then posted: `POST /messages`
// stores first. Invariants: at most 8 frames are unanswered; once an id has left this page every
// attempt repeats the same message under it, unless the server refused the id on the first attempt;
// an entry leaves only when it is archived or a person discards it. Not here: the network, clocks,
// timers. `now` is a monotonic clock's, so that nobody who sets a clock delays a message; `at` is
// the server's time, in Unix ms.

/** Frames that a node may owe an answer. */
export const UNANSWERED_MAX = 8;
/** Bytes of a text in a frame. A longer one is posted. */
export const FRAME_TEXT_BYTES_MAX = 12 * 1024;
/** How long to wait for `archived`. */
export const REPEAT_AFTER_MS = 60_000;
const POST_WAIT_MAX_MS = 600_000;
/** Without a socket for that long a message is posted. */
export const NO_SOCKET_MS = 10_000;
const RATE_WAIT_MS = 1_000;
const SENDS_MAX = 2;
const FRESH_IDS_MAX = 2;

export class SendQueue {
  /** In the order typed. */
  entries = [];
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** Adds a message, or one that was kept over a reload. */
  add(fields, now) {
    const entry = { ...FRESH, ...fields, queuedAt: now, dueAt: now };
    if (entry.state === "kept") entry.dueAt = now + REPEAT_AFTER_MS;
    // Nobody waits for these answers any more.
    if (entry.state === "asked" || entry.state === "posting") entry.state = "queued";
    entry.isLong = new TextEncoder().encode(entry.text).length > FRAME_TEXT_BYTES_MAX;
    this.entries.push(entry);
    return entry;
  }

  /**
   * What to do now, in order: `{way, entry}`, where `way` is `send` or `post`. The entries count as
   * asked from here on.
   */
  due(now, hasSocket) {
    let unanswered = this.entries.filter(({ state }) => state === "asked").length;
    const posting = new Set(
      this.entries.filter(({ state }) => state === "posting").map(({ channel_id: id }) => id),
    );
    const steps = [];
    for (const entry of this.entries) {
      const way = wayOf(entry, now, hasSocket);
      // One call at a time in a channel: they are stored in the order typed.
      if (way === null || (way === "post" && posting.has(entry.channel_id))) continue;
      if (way === "send" && entry.state !== "asked" && unanswered >= UNANSWERED_MAX) continue;
      if (way === "send") this.#asks(entry, now);
      else Object.assign(entry, { state: "posting", posts: entry.posts + 1 });
      if (way === "send") unanswered += 1;
      else posting.add(entry.channel_id);
      steps.push({ way, entry });
    }
    return steps;
  }

  /** When something is due without an event before; null if nothing is. */
  dueAt(hasSocket) {
    const times = this.entries.flatMap((entry) => {
      if (entry.state === "failed" || entry.state === "posting") return [];
      if (entry.state !== "queued") return [entry.dueAt];
      return hasSocket ? [] : [entry.queuedAt + NO_SOCKET_MS];
    });
    return times.length === 0 ? null : Math.min(...times);
  }

  /** The node delivered it. */
  accepted(entry, at, replicated) {
    const acceptedAt = entry.acceptedAt ?? at;
    const state = entry.state === "posting" ? "posting" : "kept";
    Object.assign(entry, { state, acceptedAt, replicated, reason: null });
  }

  /** It was pushed to this page: Redis has it, whatever became of the answer. */
  echoed(entry, now, at) {
    entry.acceptedAt ??= at;
    if (["asked", "posting", "kept"].includes(entry.state)) return;
    Object.assign(entry, { state: "kept", dueAt: now + REPEAT_AFTER_MS, reason: null });
  }

  /** The node refused a frame. */
  refused(entry, { code, retryable, retry_after_ms: waitMs, field }, now) {
    entry.reason = code;
    if (code === "rate_limited") {
      // Nothing was tried.
      const dueAt = now + (waitMs > 0 ? waitMs : RATE_WAIT_MS);
      return Object.assign(entry, { state: "waiting", sends: entry.sends - 1, dueAt });
    }
    if (retryable) return Object.assign(entry, { state: "queued", way: "post" });
    return this.#fail(entry, code, field);
  }

  /** A call failed. `error` is a `Problem` or an `Unreachable` of api.js. */
  postFailed(entry, { code, retryable, field }, now) {
    entry.reason = code;
    if (!retryable) return this.#fail(entry, code, field);
    return Object.assign(entry, { state: "waiting", way: "post", dueAt: now + this.#postWait(entry) });
  }

  /** The socket is gone: its frames stay unanswered. */
  detached(now) {
    for (const entry of this.entries) {
      if (entry.state !== "asked") continue;
      if (entry.acceptedAt === null) Object.assign(entry, { state: "queued", queuedAt: now });
      else entry.state = "kept";
    }
  }

  /** A new socket: what was not accepted is sent on it rather than posted later. */
  attached() {
    for (const entry of this.entries) {
      const isTried = entry.acceptedAt !== null || entry.isLong || entry.sends >= SENDS_MAX;
      if (entry.state === "waiting" && !isTried) Object.assign(entry, { state: "queued", way: "send" });
    }
  }

  /** The network may be back, or a person asks: ends the waits between attempts. */
  retryNow(now) {
    for (const entry of this.entries) if (entry.state === "waiting") entry.dueAt = now;
  }

  /** The page was offline on purpose: from now on a socket is waited for. */
  waitAnew(now) {
    for (const entry of this.entries) if (entry.state === "queued") entry.queuedAt = now;
  }

  /** A person asked for another attempt. Whether it needs another id. */
  again(entry, now) {
    const needsId = REFUSED_IDS.has(entry.reason);
    Object.assign(entry, { ...AGAIN, queuedAt: now });
    return needsId;
  }

  fail(entry, reason) {
    Object.assign(entry, { state: "failed", reason });
  }

  remove(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
  }

  find(id) {
    return this.entries.find((entry) => entry.id === id);
  }

  #asks(entry, now) {
    const sends = entry.sends + 1;
    const waitMs = sends < SENDS_MAX ? REPEAT_AFTER_MS : this.#jittered(REPEAT_AFTER_MS);
    Object.assign(entry, { state: "asked", sends, dueAt: now + waitMs });
  }

  #fail(entry, code, field) {
    // The clock was wrong when the id was made, and nothing is stored under it.
    const isFirst = entry.acceptedAt === null && entry.sends + entry.posts === 1;
    const takesFresh = isFirst || entry.freshIds > 0;
    if (code === "id_out_of_range" && field !== "after" && takesFresh && entry.freshIds < FRESH_IDS_MAX)
      return Object.assign(entry, {
        state: "queued",
        way: "post",
        hasLeft: false,
        freshIds: entry.freshIds + 1,
      });
    return this.fail(entry, code);
  }

  #postWait({ posts }) {
    const doublings = Math.min(Math.max(0, posts - 1), 10);
    return this.#jittered(Math.min(REPEAT_AFTER_MS * 2 ** doublings, POST_WAIT_MAX_MS));
  }

  /** Up to half of a wait more, so that many pages do not post together. */
  #jittered(ms) {
    return ms + this.#random() * (ms / 2);
  }
}

/** How to try an entry now; null if it waits, for an answer, a socket or its time. */
function wayOf(entry, now, hasSocket) {
  const { state, way, dueAt, queuedAt, sends, isLong } = entry;
  if (state === "failed" || state === "posting") return null;
  if (state !== "queued" && now < dueAt) return null;
  if (way === "post" || isLong || sends >= SENDS_MAX) return "post";
  if (hasSocket) return "send";
  return state !== "queued" || now >= queuedAt + NO_SOCKET_MS ? "post" : null;
}

const AGAIN = { state: "queued", way: "send", sends: 0, posts: 0, freshIds: 0, reason: null };
const FRESH = {
  ...AGAIN,
  /** When the server accepted it first, by its clock; null if it did not. */
  acceptedAt: null,
  replicated: false,
  /** Whether its id may be known elsewhere. */
  hasLeft: false,
};
const REFUSED_IDS = new Set(["id_out_of_range", "id_conflict", "invalid_id"]);
