// One back-off for all reads of this page that run at once.
//
// While the server is in trouble (unreachable, 429, 5xx) one read at a time asks it, after a wait of
// full jitter that grows; the others wait for its answer. So parallel reads ask no more often than
// one would.

const BACKOFF_BASE_MS = 1_000;
const BACKOFF_CAP_MS = 30_000;
/** The longest wait that this page believes a server. */
export const WAIT_MAX_MS = 300_000;

/** Full jitter: anything from nothing to the exponential step, so that a crowd spreads out. */
export function fullJitter(attempt) {
  return Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt, 10));
}

/**
 * A random share on top of a wait that the server chose for many: up to half of the wait, and at
 * least up to a second.
 */
export function spread(waitMs) {
  return Math.random() * Math.max(BACKOFF_BASE_MS, waitMs / 2);
}

/** The wait before the next attempt: what the answer asked for and a share of it, else full jitter. */
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
  /** While in trouble: when the next read may go out, by `performance.now()`. */
  #resumeAt = null;
  #turn = Promise.resolve();

  /** Repeats a read until it is answered, refused for good, or `isOver()`. */
  async untilAnswered(read, signal, isOver) {
    for (;;) {
      let leave = this.#resumeAt === null ? null : await this.#enter();
      // The trouble may be over, or have grown, while this read waited for its turn.
      const probes = leave !== null && this.#resumeAt !== null;
      if (!probes) {
        leave?.();
        leave = null;
      }
      try {
        if (probes) await sleep(this.#resumeAt - performance.now(), signal);
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

  /** One at a time, in order: resolves with the function that lets the next one in. */
  #enter() {
    let leave;
    const before = this.#turn;
    this.#turn = new Promise((resolve) => {
      leave = resolve;
    });
    return before.then(() => leave);
  }

  /** Reads that were under way when the trouble began fail too: they are the same failure. */
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
