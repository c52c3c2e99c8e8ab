// Local state: channels, messages upserted by id, members, read marks, the event log.
//
// Invariants: a message id is in a timeline at most once, whichever way and however often it came;
// a timeline is sorted by id; nothing here knows the network or the document.

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LOG_ENTRIES_MAX = 30;

/** The people of the demo workspace; any other user id works as well. */
export const PEOPLE = ["alice", "bob", "carol"];

/** The ten characters of a ULID that say when. */
function encodeTime(ms) {
  let text = "";
  for (let rest = ms, place = 0; place < 10; place += 1) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

/** Unix ms of a message id. */
export function timeOf(id) {
  let ms = 0;
  for (const character of id.slice(0, 10)) ms = ms * 32 + ALPHABET.indexOf(character);
  return ms;
}

/** The lowest id of that millisecond: an exclusive offset that leaves out nothing but itself. */
export function lowestIdAt(ms) {
  return encodeTime(Math.max(0, ms)) + "0".repeat(16);
}

/** The id just before: turns "from this message on" into an exclusive offset. */
export function idBefore(id) {
  const last = id.search(/[^0]0*$/);
  if (last < 0) return id;
  const lower = ALPHABET[ALPHABET.indexOf(id[last]) - 1];
  return id.slice(0, last) + lower + "Z".repeat(id.length - last - 1);
}

/** A fresh ULID: 48 bits of time, 80 random bits. */
export function mintId(ms) {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return encodeTime(ms) + Array.from(random, (byte) => ALPHABET[byte & 31]).join("");
}

/** One channel's messages as far as they are known here. */
class Timeline {
  messages = new Map();
  order = [];
  /** Where older pages go on: undefined = nothing read yet, null = the beginning is here. */
  historyOffset = undefined;
  loadingOlder = false;
  olderFailed = false;
  /** What may be missing here, and when the last complete reading started: gaps.js. */
  gap = null;
  verifiedAt = 0;
  unread = new Set();
  /** What the latest reconnect brought: shown under a divider. */
  missed = new Set();

  insert(message) {
    if (this.messages.has(message.id)) return;
    this.messages.set(message.id, message);
    let place = this.order.length;
    while (place > 0 && this.order[place - 1] > message.id) place -= 1;
    this.order.splice(place, 0, message.id);
  }

  remove(id) {
    if (!this.messages.delete(id)) return;
    this.order.splice(this.order.indexOf(id), 1);
    this.unread.delete(id);
    this.missed.delete(id);
  }

  newestId() {
    return this.order.at(-1) ?? null;
  }

  newestStoredId() {
    return this.order.findLast((id) => this.messages.get(id).delivery === "stored") ?? null;
  }

  /** The ids of the first stored messages after one, oldest first. */
  storedAfter(after, most) {
    const ids = [];
    for (const id of this.order) {
      if (id <= after || this.messages.get(id).delivery !== "stored") continue;
      if (ids.length === most) break;
      ids.push(id);
    }
    return ids;
  }
}

/** What happened to the connection, in human words; a line grows while its story goes on. */
export class EventLog {
  entries = [];
  #changed;
  #nextKey = 1;

  constructor(changed) {
    this.#changed = changed;
  }

  /** Adds a line and returns it: `then` appends the next step, `amend` rewrites the last one. */
  add(text, tone = "plain") {
    const entry = { key: this.#nextKey, at: Date.now(), steps: [text], tone };
    this.#nextKey += 1;
    entry.then = (step, newTone) => {
      entry.steps.push(step);
      if (newTone) entry.tone = newTone;
      this.#changed();
      return entry;
    };
    entry.amend = (step, newTone) => {
      entry.steps[entry.steps.length - 1] = step;
      if (newTone) entry.tone = newTone;
      this.#changed();
      return entry;
    };
    this.entries.push(entry);
    if (this.entries.length > LOG_ENTRIES_MAX) this.entries.shift();
    this.#changed();
    return entry;
  }
}

export class Store {
  channels = new Map();
  channelsKnown = false;
  members = new Map();
  activeId = null;
  counters = { pushed: 0, duplicates: 0, replayed: 0, scrolled: 0 };
  /** The latest reconnect: null before the first. */
  reconnect = null;
  /** How long the latest own message took to be stored, and to come back on the socket. */
  lastSend = null;
  log = new EventLog(() => this.changed());
  /** Whether the person is looking at the newest messages of a channel; the view says. */
  isReading = () => false;
  #listeners = [];
  #timelines = new Map();
  #readMarks;
  #readMarksKey;

  constructor(workspaceId, userId) {
    this.workspaceId = workspaceId;
    this.userId = userId;
    this.#readMarksKey = `inkwire.read.${workspaceId}.${userId}`;
    this.#readMarks = readJson(localStorage, this.#readMarksKey);
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  changed() {
    for (const listener of this.#listeners) listener();
  }

  timeline(channelId) {
    let timeline = this.#timelines.get(channelId);
    if (!timeline) {
      timeline = new Timeline();
      this.#timelines.set(channelId, timeline);
    }
    return timeline;
  }

  get active() {
    return this.channels.get(this.activeId) ?? null;
  }

  /** Takes the server's list as the truth; returns what appeared and what went. */
  setChannels(list) {
    const before = this.channels;
    this.channels = new Map(list.map((channel) => [channel.channel_id, channel]));
    this.channelsKnown = true;
    const appeared = list.filter((channel) => !before.has(channel.channel_id));
    const gone = [...before.values()].filter(({ channel_id: id }) => !this.channels.has(id));
    for (const { channel_id: id } of gone) {
      this.#timelines.delete(id);
      this.members.delete(id);
    }
    this.changed();
    return { appeared, gone };
  }

  /** A DM is named after the other member, a group by its name. */
  nameOf(channel) {
    if (channel.type !== "DM") return channel.name;
    const members = this.members.get(channel.channel_id);
    if (!members) return "…";
    return members.find(({ user_id: id }) => id !== this.userId)?.user_id ?? this.userId;
  }

  /** Groups by name, then DMs by name. */
  sortedChannels(type) {
    return [...this.channels.values()]
      .filter((channel) => (channel.type === "DM") === (type === "DM"))
      .sort((a, b) => this.nameOf(a).localeCompare(this.nameOf(b)));
  }

  /**
   * Takes a stored message that came over the wire. `via` is `push`, `replay`, `scroll` or
   * `history`. Answers `new`, `confirmed` (the first sight of an own message) or `duplicate`.
   */
  deliver(message, via) {
    const timeline = this.timeline(message.channel_id);
    const known = timeline.messages.get(message.id);
    if (known) {
      const first = !known.seenOnWire;
      // Of two copies the one with the greatest revision stays, in whatever order they come.
      const fields = isNewer(message, known) ? message : {};
      Object.assign(known, fields, { delivery: "stored", seenOnWire: true });
      this.changed();
      return first ? "confirmed" : "duplicate";
    }
    timeline.insert({ ...message, delivery: "stored", seenOnWire: true });
    const own = message.sender_id === this.userId;
    if (via !== "history" && !own && !this.isReading(message.channel_id)) {
      timeline.unread.add(message.id);
    }
    if (via === "replay" || via === "scroll") timeline.missed.add(message.id);
    this.changed();
    return "new";
  }

  /** Shows an own message before the server has it. */
  insertLocal(message) {
    this.timeline(message.channel_id).insert(message);
    this.changed();
  }

  removeLocal(message) {
    this.timeline(message.channel_id).remove(message.id);
    this.changed();
  }

  /** The server stored a local message, maybe under another id: that one replaces the copy. */
  settleLocal(local, stored) {
    const timeline = this.timeline(local.channel_id);
    const here = timeline.messages.get(stored.id);
    const seenOnWire = here?.seenOnWire ?? false;
    timeline.remove(local.id);
    timeline.remove(stored.id);
    const newest = here && !isNewer(stored, here) ? here : stored;
    const { id, channel_id, sender_id, message, created_at, rev } = newest;
    const fields = { id, channel_id, sender_id, message, created_at, rev };
    timeline.insert({ ...fields, delivery: "stored", seenOnWire });
    this.changed();
  }

  /**
   * After a channel's first page: what is newer than the read mark is unread. On the very first
   * visit of a person in this browser everything that was there before counts as read.
   */
  countUnread(channelId, firstVisit) {
    if (firstVisit || this.isReading(channelId)) return this.markRead(channelId);
    const timeline = this.timeline(channelId);
    const mark = this.#readMarks[channelId] ?? "";
    for (const [id, message] of timeline.messages) {
      if (id > mark && message.sender_id !== this.userId) timeline.unread.add(id);
    }
    this.changed();
  }

  get hasReadMarks() {
    return Object.keys(this.#readMarks).length > 0;
  }

  markRead(channelId) {
    const timeline = this.timeline(channelId);
    const newest = timeline.newestStoredId();
    if (newest !== null && newest !== this.#readMarks[channelId]) {
      this.#readMarks[channelId] = newest;
      writeJson(localStorage, this.#readMarksKey, this.#readMarks);
    }
    if (timeline.unread.size === 0) return;
    timeline.unread.clear();
    this.changed();
  }

  unreadTotal() {
    let total = 0;
    for (const id of this.channels.keys()) total += this.timeline(id).unread.size;
    return total;
  }

  /** A new reconnect starts: the divider of the one before has told its story. */
  clearMissed() {
    for (const timeline of this.#timelines.values()) timeline.missed.clear();
  }
}

/** What storage holds under the key as an object; a full or forbidden storage is an empty one. */
export function readJson(storage, key) {
  try {
    return JSON.parse(storage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}

export function writeJson(storage, key, value) {
  try {
    storage.setItem(key, JSON.stringify(value));
  } catch {
    // Private windows may refuse storage: marks then last as long as the page.
  }
}

/** Whether a copy of a message is newer than the one that is here: revisions compare by bytes. */
function isNewer(copy, here) {
  return here.rev === undefined || (copy.rev ?? "") > here.rev;
}
