// When to ask the node whether the path to it is alive, instead of waiting for silence: the user
// comes back, the network changed, or something is sent after a pause.

/** A shorter absence does not hide a lost path: ticks come every 15 s. */
const AWAY_MS = 10_000;
const PAUSE_MS = 60_000;

export class Probes {
  #connection;
  #now;
  /** Since when the page is hidden, or another window has the focus; null while it is used. */
  #awaySince = null;

  constructor(connection, now = () => performance.now()) {
    this.#connection = connection;
    this.#now = now;
  }

  userLeft() {
    this.#awaySince ??= this.#now();
  }

  userCameBack() {
    const wasAway = this.#awaySince !== null && this.#now() - this.#awaySince >= AWAY_MS;
    this.#awaySince = null;
    if (wasAway) this.#connection.ping();
  }

  networkChanged() {
    this.#connection.ping();
  }

  beforeSend() {
    if (this.#connection.quietMs > PAUSE_MS) this.#connection.ping();
  }
}
