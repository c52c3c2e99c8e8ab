// Decides when a silent socket is dead. Uses a monotonic clock: a change of the computer's clock is
// not silence, and hides none.

/** Why a silent socket ended, beside the protocol's close codes. */
export const SILENT = "silent for too long";
export const UNANSWERED = "no answer to a ping";
export const SLEPT = "silent after a sleep of this tab or computer";

// Without a frame for one and a half ticks, at least 25 s, the connection is dead.
const SILENCE_MS = 25_000;
const SILENT_TICKS = 1.5;
// The node answers a ping at once, or with its next pong within 2 s.
const ANSWER_MS = 5_000;
const PING_GAP_MS = 2_000;
// A check that is this late was suspended: the tab was frozen, or the computer slept. Frames that
// came meanwhile may still be queued, so there is some time to read them.
const LATE_CHECK_MS = 5_000;
const GRACE_MS = 5_000;

export class Silence {
  #now;
  #heardAt;
  #checkedAt;
  #limitMs = SILENCE_MS;
  /** When the latest ping was sent, and the first one that no frame came after. */
  #pingedAt = null;
  #unansweredSince = null;
  /** After a late check: until when the socket may still be silent. */
  #graceUntil = null;

  constructor(now = () => performance.now()) {
    this.#now = now;
    this.#heardAt = now();
    this.#checkedAt = now();
  }

  heard() {
    this.#heardAt = this.#now();
    this.#graceUntil = null;
    this.#unansweredSince = null;
  }

  /** Whether a ping may be sent now: more of them would say nothing new. */
  get mayPing() {
    return this.#pingedAt === null || this.#now() - this.#pingedAt >= PING_GAP_MS;
  }

  /** A ping was sent: some frame has to come soon. */
  pinged() {
    this.#pingedAt = this.#now();
    this.#unansweredSince ??= this.#pingedAt;
  }

  /** How long ago the latest ping was sent; null before the first. */
  get sincePingMs() {
    return this.#pingedAt === null ? null : this.#now() - this.#pingedAt;
  }

  /** How long ago the latest frame came. */
  get quietMs() {
    return this.#now() - this.#heardAt;
  }

  /** The node said how often ticks come. */
  expect(tickMs) {
    if (Number.isFinite(tickMs)) this.#limitMs = Math.max(SILENCE_MS, SILENT_TICKS * tickMs);
  }

  /** To be asked every second: null while the socket may live, else why not. */
  verdict() {
    const now = this.#now();
    if (now - this.#checkedAt > LATE_CHECK_MS) this.#graceUntil ??= now + GRACE_MS;
    this.#checkedAt = now;
    const isUnanswered = this.#unansweredSince !== null && now - this.#unansweredSince > ANSWER_MS;
    if (!isUnanswered && now - this.#heardAt <= this.#limitMs) return null;
    if (this.#graceUntil === null) return isUnanswered ? UNANSWERED : SILENT;
    return now < this.#graceUntil ? null : SLEPT;
  }
}
