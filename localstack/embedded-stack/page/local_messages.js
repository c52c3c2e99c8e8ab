// The messages of channels that deliver first, in this browser: a reload shows them before the
// server answers, and a message that the server lost is still here.
//
// Main path: `load` shows what is kept; every copy that arrives is written, in batches; `listRead`
// forgets channels that the user is no longer in. Invariants: at most 2,000 messages a channel are
// kept, the newest; what the server says later wins by its revision.

import { deliversFirst } from "./contracts.js";
import { lacksText } from "./copies.js";

const MESSAGES_MAX = 2_000;
/** How many of a channel are shown at once. */
const SHOWN_MAX = 200;
const WRITE_AFTER_MS = 300;
/** How many more than the most there may be until the oldest go. */
const SLACK = 100;

export class LocalMessages {
  /** As a listing of the store: it names nobody. */
  messages = [];
  #store;
  #db;
  #due = new Map();
  #timer = null;
  #written = new Map();

  constructor(store, db) {
    this.#store = store;
    this.#db = db;
    store.listings.add(this);
  }

  /** Shows what was kept, the open channel first. */
  async load() {
    const channels = await this.#db.entries("channels");
    this.#store.remembered = new Map(channels);
    this.#store.changed();
    const { activeId } = this.#store;
    const ids = channels.map(([id]) => id).sort((one) => (one === activeId ? -1 : 0));
    for (const id of ids) {
      const kept = await this.#db.entries("messages", `${id} `, SHOWN_MAX);
      this.#show(id, kept.map(([, message]) => message));
    }
  }

  /** The list of channels was read. */
  async listRead() {
    const delivering = [...this.#store.channels.values()].filter(deliversFirst);
    const labels = delivering.map((channel) => this.#labelOf(channel));
    const before = await this.#db.entries("channels");
    const gone = before.map(([id]) => id).filter((id) => !this.#store.channels.has(id));
    await this.#db.write("channels", labels, gone);
    for (const id of gone) {
      const keys = await this.#db.keys("messages", `${id} `);
      await this.#db.write("messages", [], keys);
    }
  }

  /** As a listing: a copy arrived. */
  take(message) {
    const { channel_id: channelId, id } = message;
    if (!deliversFirst(this.#store.channels.get(channelId)) || lacksText(message)) return;
    this.#due.set(`${channelId} ${id}`, message);
    this.#timer ??= setTimeout(() => this.flush(), WRITE_AFTER_MS);
  }

  /** Writes what arrived. Resolves when all of it is kept, or cannot be. */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const puts = [...this.#due];
    this.#due.clear();
    if (puts.length === 0) return;
    await this.#db.write("messages", puts);
    const channels = new Set(puts.map(([, { channel_id: id }]) => this.#store.channels.get(id)));
    channels.delete(undefined);
    await this.#db.write("channels", [...channels].map((channel) => this.#labelOf(channel)));
    for (const [, { channel_id: id }] of puts) this.#written.set(id, (this.#written.get(id) ?? 0) + 1);
    for (const [id, count] of this.#written) if (count >= SLACK) await this.#prune(id);
  }

  async #prune(channelId) {
    this.#written.set(channelId, 0);
    const keys = await this.#db.keys("messages", `${channelId} `);
    await this.#db.write("messages", [], keys.slice(0, Math.max(0, keys.length - MESSAGES_MAX)));
  }

  #show(channelId, messages) {
    const timeline = this.#store.timeline(channelId);
    // The server answered first.
    if (timeline.historyOffset !== undefined) return;
    for (const message of messages)
      timeline.insert({ ...message, delivery: "stored", seenOnWire: true });
    this.#store.changed();
  }

  /** The name of a DM is that of its other member, who may not be known yet. */
  #labelOf(channel) {
    const { channel_id: id, type, contract } = channel;
    const isNamed = type !== "DM" || this.#store.partnerOf(channel) !== undefined;
    const name = isNamed ? this.#store.nameOf(channel) : this.#store.remembered.get(id)?.name;
    return [id, { channel_id: id, type, contract, name: name ?? "…" }];
  }
}
