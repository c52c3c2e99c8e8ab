// How far the messages of channels that deliver first have come: the watermarks of their members,
// and what is known of single own messages.
//
// Invariant: a mark never goes back. Nothing here knows the network or the document.

import { deliversFirst } from "./contracts.js";
import { lowestIdAt, timeOf } from "./ids.js";
import { progressOf, recipientsOf, tickOf, tickWords, whoWords } from "./ticks.js";

const FACTS_MAX = 2_000;
const SAVE_AFTER_MS = 300;
/** Its sender would still have a message that is not archived by then. */
const ARCHIVED_BY_MS = 60_000;

export class Receipts {
  #api;
  #store;
  #db;
  /** By channel: `{delivered, read}`, each a watermark by user. */
  #marks = new Map();
  /** By id, of own messages: `{channelId, acceptedAt, replicated, archived}`. */
  #facts = new Map();
  #due = new Set();
  #timer = null;

  constructor(api, store, db) {
    this.#api = api;
    this.#store = store;
    this.#db = db;
  }

  /** Takes up what this browser has kept. */
  async load() {
    for (const [channelId, kept] of await this.#db.entries("receipts")) {
      this.#raise(channelId, kept);
      for (const id of kept.archived ?? []) this.#note(id, { channelId, archived: true });
    }
    this.#store.changed();
  }

  /** Reads the marks of a channel: frames tell only what happens while it is on the screen. */
  async read(channelId) {
    if (!deliversFirst(this.#store.channels.get(channelId))) return;
    try {
      const marks = await this.#api.receipts(channelId);
      if (this.#raise(channelId, marks)) this.#saveSoon(channelId);
      this.#store.changed();
    } catch {
      // An older server has no such call, and the next frame says as much.
    }
  }

  onFrame({ channel_id: channelId, delivered, read, archived }) {
    for (const id of archived ?? []) this.archived(id, channelId);
    const isNews = this.#raise(channelId, { delivered, read });
    if (isNews) this.#saveSoon(channelId);
    this.#store.changed();
  }

  accepted(id, acceptedAt, replicated) {
    this.#note(id, { acceptedAt, replicated });
  }

  archived(id, channelId) {
    this.#note(id, { channelId, archived: true });
    this.#saveSoon(channelId);
  }

  /** What is known of an own message; empty if it was sent elsewhere, or long ago. */
  factsOf(id) {
    return this.#facts.get(id) ?? {};
  }

  marksOf(channelId) {
    return this.#marks.get(channelId) ?? NO_MARKS;
  }

  /**
   * How far an own message has come: `{tick, archived, replicated, progress, words, who}`; null in
   * a channel of another contract.
   */
  of(message) {
    const { id, channel_id: channelId, delivery, reason } = message;
    const { channels, former, members, remembered } = this.#store;
    const channel = channels.get(channelId) ?? former.get(channelId) ?? remembered.get(channelId);
    if (!deliversFirst(channel)) return null;
    const { acceptedAt, replicated = false, archived = false } = this.#known(id);
    const recipients = recipientsOf(message, members.get(channelId));
    const progress = progressOf(id, recipients, this.marksOf(channelId), acceptedAt);
    const tick = tickOf(delivery, progress);
    const words = tickWords(tick, progress, { replicated, archived }, reason);
    const who = whoWords(progress, (user) => this.#store.displayName(user));
    const isArchived = archived && delivery === "stored";
    return { tick, archived: isArchived, replicated, progress, words, who };
  }

  /** Of a message that no queue here has any more, only its age is known. */
  #known(id) {
    const isOld = this.#api.clock.now() - timeOf(id) > ARCHIVED_BY_MS;
    return this.#facts.get(id) ?? { archived: isOld };
  }

  #note(id, news) {
    const facts = { ...this.#facts.get(id), ...news };
    this.#facts.delete(id);
    this.#facts.set(id, facts);
    if (this.#facts.size > FACTS_MAX) this.#facts.delete(this.#facts.keys().next().value);
    this.#store.changed();
  }

  #raise(channelId, news) {
    const here = this.#marks.get(channelId) ?? { delivered: {}, read: {} };
    let isNews = false;
    for (const kind of ["delivered", "read"])
      for (const [user, id] of Object.entries(news[kind] ?? {})) {
        if (typeof id !== "string" || here[kind][user] >= id) continue;
        here[kind][user] = id;
        isNews = true;
      }
    if (isNews) this.#marks.set(channelId, here);
    return isNews;
  }

  /** What is older counts as archived without this. */
  #archivedIn(channelId) {
    const since = lowestIdAt(this.#api.clock.now() - ARCHIVED_BY_MS);
    const isRecent = ([id, facts]) => facts.archived && facts.channelId === channelId && id >= since;
    return { archived: [...this.#facts].filter(isRecent).map(([id]) => id) };
  }

  #saveSoon(channelId) {
    this.#due.add(channelId);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      const puts = [...this.#due].map((id) => [id, { ...this.marksOf(id), ...this.#archivedIn(id) }]);
      this.#due.clear();
      this.#db.write("receipts", puts);
    }, SAVE_AFTER_MS);
  }
}

const NO_MARKS = { delivered: {}, read: {} };
