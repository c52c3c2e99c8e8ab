// The server's time as this page knows it, so that a wrong local clock does not get into an id.

/** For how long a sample with a short round trip is preferred to newer ones. */
const SAMPLE_MS = 30_000;

export class ServerClock {
  #sample = null;
  #monotonic;

  /**
   * `monotonic` is a clock that nobody sets: changing the computer's clock changes nothing here.
   */
  constructor(monotonic = () => performance.now()) {
    this.#monotonic = monotonic;
  }

  now() {
    if (this.#sample === null) return Date.now();
    return Math.round(this.#sample.serverTime + this.#monotonic() - this.#sample.at);
  }

  /** Takes the time in a response. `sentAt` and `answeredAt` are monotonic. */
  observe(serverTime, sentAt, answeredAt) {
    if (!Number.isFinite(serverTime)) return;
    const roundTrip = answeredAt - sentAt;
    const sample = { serverTime, at: (sentAt + answeredAt) / 2, roundTrip };
    if (this.#sample === null || this.#replaces(sample)) this.#sample = sample;
  }

  /**
   * Takes the time of a frame. It was sent a moment ago, so the server's clock is at least there.
   */
  isAtLeast(serverTime) {
    if (!Number.isFinite(serverTime)) return;
    if (this.#sample !== null && this.now() >= serverTime) return;
    this.#sample = { serverTime, at: this.#monotonic(), roundTrip: Infinity };
  }

  /**
   * The shortest round trip is the most exact, until it is old or a newer sample contradicts it.
   */
  #replaces(sample) {
    const here = this.#sample;
    if (sample.roundTrip <= here.roundTrip || sample.at - here.at > SAMPLE_MS) return true;
    const expected = here.serverTime + sample.at - here.at;
    return Math.abs(sample.serverTime - expected) > (here.roundTrip + sample.roundTrip) / 2 + 1;
  }
}
