// Tells the node which messages this device has, in channels that deliver first: their senders see
// it as the second tick.
//
// Invariants: only what is here without a gap counts; at most one frame in half a second a channel,
// and few at once; each new socket is told again, because Redis may have lost the receipts.

import { deliversFirst } from "./contracts.js";
import { timeOf } from "./ids.js";
import { RECEIPTS_MEMBERS_MAX } from "./ticks.js";

const EVERY_MS = 500;
/** A node takes 40 frames a second of a socket. */
const AT_ONCE_MAX = 8;
/** Ids further ahead come from a wrong clock: the node ignores them. */
const AHEAD_MS = 1_000;

export class Got {
  #store;
  #connection;
  #keep;
  #now;
  /** The newest that this socket was told, by channel. */
  #said = new Map();
  #due = new Set();
  #timer = null;

  /** `keep()` resolves when what is here is stored here; `now()` is the server's time. */
  constructor(store, connection, keep, now) {
    this.#store = store;
    this.#connection = connection;
    this.#keep = keep;
    this.#now = now;
  }

  attached({ signal }) {
    signal.addEventListener("abort", () => {
      clearTimeout(this.#timer);
      this.#timer = null;
    });
    this.again();
  }

  /** Says everything again: the node may have passed on nothing of it. */
  again() {
    this.#said.clear();
    this.all();
  }

  /** Any channel may have news. */
  all() {
    for (const id of this.#store.channels.keys()) this.note(id);
  }

  /** A channel may have news. */
  note(channelId) {
    if (!deliversFirst(this.#store.channels.get(channelId))) return;
    this.#due.add(channelId);
    this.#flushSoon();
  }

  #flushSoon() {
    this.#timer ??= setTimeout(() => this.#flush(), EVERY_MS);
  }

  async #flush() {
    await this.#keep();
    this.#timer = null;
    const due = [...this.#due].slice(0, AT_ONCE_MAX);
    for (const id of due) {
      this.#due.delete(id);
      this.#tell(id);
    }
    if (this.#due.size > 0) this.#flushSoon();
  }

  #tell(id) {
    const members = this.#store.members.get(id)?.length ?? 0;
    const { messages, order, gap, historyOffset } = this.#store.timeline(id);
    const isBehind = gap !== null || historyOffset === undefined;
    if (members > RECEIPTS_MEMBERS_MAX || isBehind) return;
    const latest = this.#now() + AHEAD_MS;
    // An own message that was not pushed yet may be ahead of others.
    const isHere = (one) => messages.get(one).seenOnWire === true && timeOf(one) <= latest;
    const upTo = order.findLast(isHere);
    if (upTo === undefined || upTo <= (this.#said.get(id) ?? "")) return;
    if (this.#connection.send({ type: "got", channel_id: id, up_to: upTo })) this.#said.set(id, upTo);
  }
}
