// One back-off, shared by all reads of this page.
//
// While the server fails (unreachable, 429, 5xx) one read at a time retries, with full jitter and
// growing waits; the others wait for its result. So parallel reads retry no more often than one
// would.

const BACKOFF_BASE_MS = 1_000;
const BACKOFF_CAP_MS = 30_000;
/** The longest wait that this page accepts from a server. */
export const WAIT_MAX_MS = 300_000;

/** Full jitter: a random part of the exponential step, so that many clients spread out. */
export function fullJitter(attempt) {
  return Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt, 10));
}

/** Random extra time after a wait that the server gave to many: up to half of it, at least 1 s. */
export function spread(waitMs) {
  return Math.random() * Math.max(BACKOFF_BASE_MS, waitMs / 2);
}

/** The wait before the next attempt: `Retry-After` and some extra time, else full jitter. */
export function retryWait(retryAfterMs, attempt) {
  if (!(retryAfterMs > 0)) return fullJitter(attempt);
  const waitMs = Math.min(retryAfterMs, WAIT_MAX_MS);
  return waitMs + spread(waitMs);
}

/** Waits, or returns at once when the signal aborts. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}

export class Pace {
  #failures = 0;
  /** While the server fails: when the next read may start, by `performance.now()`. */
  #resumeAt = null;
  #turn = Promise.resolve();
  #wake = new AbortController();

  /** Ends the wait before the next read. */
  retryNow() {
    if (this.#resumeAt === null) return;
    this.#resumeAt = performance.now();
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  /** Retries a read until it succeeds, fails for good, or `isOver()`. */
  async untilAnswered(read, signal, isOver) {
    for (;;) {
      let leave = this.#resumeAt === null ? null : await this.#enter();
      // While this read waited for its turn, the server may have recovered.
      const probes = leave !== null && this.#resumeAt !== null;
      if (!probes) {
        leave?.();
        leave = null;
      }
      try {
        if (probes) await this.#wait(signal);
        const answer = await read();
        this.#answered(probes);
        return answer;
      } catch (error) {
        if (isOver()) throw error;
        if (!error.retryable) {
          this.#answered(probes);
          throw error;
        }
        this.#failed(probes, error.retryAfterMs ?? 0);
      } finally {
        leave?.();
      }
    }
  }

  #wait(signal) {
    const signals = signal ? [signal, this.#wake.signal] : [this.#wake.signal];
    return sleep(this.#resumeAt - performance.now(), AbortSignal.any(signals));
  }

  /** One at a time, in order: resolves with the function that lets the next one in. */
  #enter() {
    let leave;
    const before = this.#turn;
    this.#turn = new Promise((resolve) => {
      leave = resolve;
    });
    return before.then(() => leave);
  }

  /** Reads that were in flight at the first failure fail too. They count as the same failure. */
  #failed(wasProbe, retryAfterMs) {
    if (this.#resumeAt !== null && !wasProbe) return;
    const waitMs = retryWait(retryAfterMs, this.#failures);
    this.#failures += 1;
    this.#resumeAt = performance.now() + waitMs;
  }

  #answered(wasProbe) {
    if (this.#resumeAt !== null && !wasProbe) return;
    this.#failures = 0;
    this.#resumeAt = null;
  }
}
