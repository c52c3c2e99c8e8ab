// One recovery: from a `ready` or `resync` that says that messages may be missing until all of them
// are here. Keeps its counts and its entry in the log.

export class Recovery {
  /** When the socket was attached, by the server's clock. Older messages that come were missed. */
  attachedAt;
  resumed;
  story;
  readyAt = performance.now();
  /** When the latest missed message came. */
  lastAt = performance.now();
  replayed = 0;
  scrolled = 0;
  /** The timer of the quiet after a replay. */
  quiet = null;
  #store;

  constructor(store, { resumed, attachedAt, story }) {
    Object.assign(this, { resumed, attachedAt, story });
    this.#store = store;
  }

  /** Brings the numbers of the panel up to date. */
  count() {
    const missed = this.replayed + this.scrolled;
    const catchUpMs = Math.max(1, Math.round(this.lastAt - this.readyAt));
    const { reconnect } = this.#store;
    if (reconnect) Object.assign(reconnect, { missed, catchUpMs });
    return { missed, catchUpMs };
  }

  /** Writes the result to the log. */
  log() {
    const { reconnect } = this.#store;
    const { missed, catchUpMs } = this.count();
    const words = [];
    if (this.replayed > 0) words.push(`${missedMessages(this.replayed)} replayed`);
    if (this.scrolled > 0) words.push(`${missedMessages(this.scrolled)} read from the history`);
    if (words.length === 0) words.push(reconnect ? "nothing was missed" : "history read");
    const how = this.resumed ? "resumed" : "not resumed";
    const prefix = reconnect ? (reconnect.isAsked ? "read again" : how) : "live";
    const took = missed > 0 || !reconnect ? ` in ${catchUpMs} ms` : "";
    this.story.amend(`${prefix}: ${words.join(", ")}${took}`, "good");
    this.#store.changed();
  }
}

export function missedMessages(count) {
  return count === 1 ? "1 missed message" : `${count} missed messages`;
}
