// Decides when a silent socket is dead. Uses a monotonic clock: a change of the computer's clock is
// not silence, and hides none.

/** Why a silent socket ended, beside the protocol's close codes. */
export const SILENT = "silent for too long";
export const SLEPT = "silent after a sleep of this tab or computer";

// Without a frame for one and a half ticks, at least 25 s, the connection is dead.
const SILENCE_MS = 25_000;
const SILENT_TICKS = 1.5;
// A check that is this late was suspended: the tab was frozen, or the computer slept. Frames that
// came meanwhile may still be queued, so there is some time to read them.
const LATE_CHECK_MS = 5_000;
const GRACE_MS = 5_000;

export class Silence {
  #now;
  #heardAt;
  #checkedAt;
  #limitMs = SILENCE_MS;
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
    if (now - this.#heardAt <= this.#limitMs) return null;
    if (this.#graceUntil === null) return SILENT;
    return now < this.#graceUntil ? null : SLEPT;
  }
}
