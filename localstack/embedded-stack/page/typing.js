// Who types where: tells the node that the user does, and keeps who else does.
//
// Invariants: the user's typing is told at most once in 3 s for each log; the typists of a log are
// those of its latest frame, without who has written there since, and for 6 s only.

import { logOf, logOfMessage, namesOf } from "./logs.js";

/** The node passes it on once in that time. */
const TELL_GAP_MS = 3_000;
const VOID_MS = 6_000;
/** A frame comes up to a second after what it says: a message that is delivered first is faster. */
const OVERTAKEN_MS = 1_500;
const WRITERS_MAX = 200;
const NOBODY = { until: -Infinity };

export class Typing {
  #store;
  #connection;
  #now;
  /** When the node was told last that the user types, by log. */
  #toldAt = new Map();
  /** When users wrote last, by log and user. */
  #wroteAt = new Map();
  /** The typists by log: `users`, how many `more`, and `until` when. */
  #typists = new Map();

  constructor(store, connection, now = () => performance.now()) {
    this.#store = store;
    this.#connection = connection;
    this.#now = now;
  }

  /** The user changed the text that they write for a log. */
  typed(log) {
    if (this.#toldWithin(TELL_GAP_MS, log)) return;
    if (this.#connection.send({ type: "typing", ...namesOf(log) }))
      this.#toldAt.set(log, this.#now());
  }

  onFrame({ channel_id: channelId, thread, users, more }) {
    const { userId } = this.#store;
    const log = logOf(channelId, thread);
    const hasWritten = (user) => this.#now() - this.#wroteAt.get(`${log} ${user}`) < OVERTAKEN_MS;
    const others = users.filter((user) => user !== userId && !hasWritten(user));
    // The frame counts the user too, and names the first few only.
    const isCounted = !users.includes(userId) && this.#toldWithin(VOID_MS, log);
    const unnamed = Math.max(0, more - Number(isCounted));
    this.#typists.set(log, { users: others, more: unnamed, until: this.#now() + VOID_MS });
    this.#store.changed();
  }

  /** A new message: its sender has finished. */
  onMessage(message) {
    const log = logOfMessage(message);
    this.#noteWriter(`${log} ${message.sender_id}`);
    const typists = this.#typists.get(log);
    if (typists === undefined) return;
    typists.users = typists.users.filter((user) => user !== message.sender_id);
    this.#store.changed();
  }

  /**
   * Who types in a log, without the user: `users` by id, and how many `more`. The page asks every
   * second, so no timer is needed.
   */
  in(log) {
    const { users, more, until } = this.#typists.get(log) ?? NOBODY;
    return this.#now() < until ? { users, more } : { users: [], more: 0 };
  }

  #noteWriter(key) {
    this.#wroteAt.delete(key);
    this.#wroteAt.set(key, this.#now());
    if (this.#wroteAt.size > WRITERS_MAX) this.#wroteAt.delete(this.#wroteAt.keys().next().value);
  }

  #toldWithin(ms, log) {
    return this.#now() - this.#toldAt.get(log) < ms;
  }
}
