// Sends the user's messages in channels that deliver first, and keeps each until it is stored.
//
// Main path: `submit` shows a message and queues it; `#pump` sends what send_queue.js says is due,
// by frame or by call; answers, `archived` and time bring the next step. Invariants: a message
// is written to the browser's storage as soon as it is typed, and stays there until it is archived;
// the queue of a tab that is gone is taken over by one other tab. Not here: what is due (send_queue.js), the document.

import { deliversFirst } from "./contracts.js";
import { mintAbove, timeOf } from "./ids.js";
import { SendQueue } from "./send_queue.js";

const TABLE = "outbox";
/** Until it leaves, a message gets its id anew after this time. */
const MINT_AGAIN_AFTER_MS = 2_000;
/** An id may be ahead of the server's clock by a second. */
const ID_AHEAD_MS = 900;
const TIMER_MIN_MS = 200;
const TIMER_MAX_MS = 60_000;
const NOT_A_MEMBER = "you are no longer a member of this channel";

export class Deliveries {
  /** Whether a reload would find all that is queued. */
  isStored = true;
  #parts;
  #queue = new SendQueue();
  /** Entries whose frames are unanswered, by `ref`. */
  #asked = new Map();
  #isHeld = true;
  #timer = null;
  #changes = Promise.resolve();

  /** `parts` has `api`, `store`, `connection`, `receipts`, `db` and `owners`. */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Takes up what was queued before a reload, and what other tabs leave behind. */
  async restore() {
    const { db, owners } = this.#parts;
    const kept = await db.entries(TABLE);
    const names = new Set(kept.map(([, { owner }]) => owner));
    names.delete(owners.me);
    for (const name of names) owners.whenGone(name, () => this.#adopt(name));
  }

  /** Shows a message at once and sends it as soon as it may be. */
  submit(channelId, text) {
    const { store } = this.#parts;
    const id = this.#mint(channelId);
    const label = store.labelOf(store.channels.get(channelId));
    const entry = this.#add({ key: id, id, channel_id: channelId, label, text });
    this.#save(entry);
    this.#pump();
  }

  /** A new socket. Its end leaves frames unanswered. */
  attached({ signal }) {
    signal.addEventListener("abort", () => {
      this.#asked.clear();
      this.#queue.detached(this.#now);
      this.#pump();
    });
    this.#queue.attached();
    this.#pump();
  }

  /** The list of channels was read: messages may be sent. */
  listRead() {
    this.#isHeld = false;
    for (const entry of this.#queue.entries) this.#refuseFormer(entry);
    this.#pump();
  }

  /** The page is offline, or online again. */
  setOffline(isOffline) {
    if (!isOffline) this.#queue.waitAnew(this.#now);
    this.#pump();
  }

  retryNow() {
    this.#queue.retryNow(this.#now);
    this.#pump();
  }

  /** Sends a failed message again. False if it is none of these. */
  retry(id) {
    const entry = this.#queue.find(id);
    if (entry === undefined) return false;
    if (entry.state !== "failed" || !this.#parts.store.channels.has(entry.channel_id)) return true;
    if (this.#queue.again(entry, this.#now)) this.#remint(entry);
    this.#show(entry);
    this.#save(entry);
    this.#pump();
    return true;
  }

  /** False if it is none of these. */
  discard(id) {
    const entry = this.#queue.find(id);
    if (entry === undefined) return false;
    this.#remove(entry);
    this.#parts.store.removeLocal(entry.message);
    return true;
  }

  /** How many messages the server does not have. */
  get unsent() {
    return this.#queue.entries.filter(({ acceptedAt }) => acceptedAt === null).length;
  }

  /** How many messages wait for a connection. */
  get queued() {
    const waits = ({ acceptedAt, state }) => acceptedAt === null && state !== "failed";
    return this.#queue.entries.filter(waits).length;
  }

  /** Whether a message is kept here until it is stored. */
  keeps(id) {
    return this.#queue.find(id) !== undefined;
  }

  /** Whether the frame is the answer to one of these messages. */
  onFrame(frame) {
    if (frame.type === "message") this.#onEcho(frame.message);
    if (frame.type === "receipts") for (const id of frame.archived ?? []) this.#archived(id, frame.channel_id);
    const entry = this.#asked.get(frame.ref);
    if (entry === undefined || !ANSWERS.has(frame.type)) return false;
    this.#asked.delete(frame.ref);
    if (frame.type === "accepted") this.#accepted(entry, frame);
    else this.#refused(entry, frame);
    this.#pump();
    return true;
  }

  get #now() {
    return performance.now();
  }

  get #serverNow() {
    return this.#parts.api.clock.now();
  }

  get #hasSocket() {
    return this.#parts.connection.accepts("send");
  }

  #add(fields) {
    const { store } = this.#parts;
    const { key, id, channel_id, text } = fields;
    const message = {
      key,
      id,
      channel_id,
      sender_id: store.userId,
      message: text,
      created_at: new Date(timeOf(id)).toISOString(),
    };
    const entry = this.#queue.add({ ...fields, message }, this.#now);
    const { acceptedAt, replicated } = entry;
    if (acceptedAt !== null) this.#parts.receipts.accepted(id, acceptedAt, replicated);
    this.#show(entry);
    store.insertLocal(message);
    return entry;
  }

  /** Takes over the queue of a tab that is gone. */
  async #adopt(owner) {
    const { db } = this.#parts;
    const kept = (await db.entries(TABLE)).filter(([, value]) => value.owner === owner);
    for (const [, value] of kept) {
      if (this.#queue.entries.some(({ key }) => key === value.key)) continue;
      const entry = this.#add(value);
      if (!this.#isHeld) this.#refuseFormer(entry);
    }
    await this.#write(this.#queue.entries.map((entry) => this.#kept(entry)));
    this.#pump();
  }

  #pump() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const { api, store } = this.#parts;
    store.changed();
    if (this.#isHeld || api.offline) return;
    for (const { way, entry } of this.#queue.due(this.#now, this.#hasSocket)) {
      if (!entry.hasLeft) this.#stamp(entry);
      this.#show(entry);
      this.#save(entry);
      if (way === "send") this.#send(entry);
      else this.#post(entry);
    }
    const dueAt = this.#queue.dueAt(this.#hasSocket);
    if (dueAt === null) return;
    const waitMs = Math.min(Math.max(dueAt - this.#now, TIMER_MIN_MS), TIMER_MAX_MS);
    this.#timer = setTimeout(() => this.#pump(), waitMs);
  }

  /** Before a message leaves, its id is made current: later it stays. */
  #stamp(entry) {
    const { id, channel_id: channelId } = entry;
    const age = this.#serverNow - timeOf(id);
    const isCurrent = age < MINT_AGAIN_AFTER_MS && age > -ID_AHEAD_MS;
    if (!isCurrent || id <= (this.#newest(channelId, entry) ?? "")) this.#remint(entry);
    entry.hasLeft = true;
  }

  #send(entry) {
    const { connection } = this.#parts;
    const { id, channel_id, text } = entry;
    const ref = connection.nextRef();
    this.#asked.set(ref, entry);
    this.#parts.store.lastSend = { id, sentAt: performance.now(), storedMs: null, echoMs: null };
    connection.send({ type: "send", ref, channel_id, id, message: text });
  }

  async #post(entry) {
    const { id, channel_id, text } = entry;
    try {
      const stored = await this.#parts.api.postMessage({ channel_id, id, message: text });
      const { duplicate: _, server_time: __, ...copy } = stored;
      this.#parts.receipts.accepted(id, entry.acceptedAt ?? this.#serverNow, true);
      if (this.keeps(id)) this.#parts.store.deliver(copy, "push");
      this.#archived(id, channel_id);
    } catch (error) {
      this.#queue.postFailed(entry, error, this.#now);
      this.#show(entry);
      this.#save(entry);
    }
    this.#pump();
  }

  #accepted(entry, { replicated, server_time: serverTime }) {
    const { receipts, store } = this.#parts;
    const at = Number.isFinite(serverTime) ? serverTime : this.#serverNow;
    this.#queue.accepted(entry, at, replicated === true);
    receipts.accepted(entry.id, entry.acceptedAt, replicated === true);
    const { lastSend } = store;
    if (lastSend?.id === entry.id) lastSend.acceptedMs ??= performance.now() - lastSend.sentAt;
    this.#show(entry);
    this.#save(entry);
  }

  #refused(entry, frame) {
    this.#queue.refused(entry, frame, this.#now);
    this.#show(entry);
    this.#save(entry);
  }

  #onEcho({ id, sender_id: sender, channel_id: channelId }) {
    if (sender !== this.#parts.store.userId) return;
    const entry = this.#queue.find(id);
    if (entry === undefined || entry.channel_id !== channelId) return;
    this.#queue.echoed(entry, this.#now, this.#serverNow);
    this.#parts.receipts.accepted(id, entry.acceptedAt, entry.replicated);
    this.#show(entry);
    this.#save(entry);
  }

  #archived(id, channelId) {
    this.#parts.receipts.archived(id, channelId);
    const entry = this.#queue.find(id);
    if (entry === undefined) return;
    entry.message.delivery = "stored";
    this.#remove(entry);
  }

  #remove(entry) {
    this.#queue.remove(entry);
    this.#write([], [entry.key]);
    this.#parts.store.changed();
  }

  #refuseFormer(entry) {
    const { store } = this.#parts;
    const { channel_id: id, label, acceptedAt } = entry;
    if (store.channels.has(id)) return;
    store.rememberFormer(id, label);
    if (acceptedAt === null) this.#queue.fail(entry, "channel_not_found");
    this.#show(entry);
  }

  /** What the message's row says. */
  #show(entry) {
    const { message, state, acceptedAt, reason, dueAt: retryAt } = entry;
    const why = reason === null ? null : reasonWords(reason);
    const delivery = acceptedAt !== null && state !== "failed" ? "stored" : DELIVERY[state];
    Object.assign(message, { delivery, reason: why, retryAt });
    this.#parts.store.changed();
  }

  /** Gives a message that did not leave a new id: those that were typed after it stay after it. */
  #remint(entry) {
    const { store } = this.#parts;
    const { message, channel_id: channelId } = entry;
    store.removeLocal(message);
    entry.id = message.id = this.#mint(channelId, entry);
    message.created_at = new Date(timeOf(entry.id)).toISOString();
    entry.hasLeft = false;
    store.insertLocal(message);
    const { entries } = this.#queue;
    const isNext = (other) => other.channel_id === channelId && !other.hasLeft;
    const next = entries.slice(entries.indexOf(entry) + 1).find(isNext);
    if (next !== undefined && next.id <= entry.id) this.#remint(next);
    this.#save(entry);
  }

  #mint(channelId, entry = null) {
    return mintAbove(this.#serverNow, this.#newest(channelId, entry) ?? undefined);
  }

  /** The newest id that a new one has to follow: what is here, and what was typed before. */
  #newest(channelId, entry = null) {
    const { entries } = this.#queue;
    const before = entry === null ? entries : entries.slice(0, entries.indexOf(entry));
    const latest = this.#serverNow + ID_AHEAD_MS;
    const queued = before.filter((other) => other.channel_id === channelId).map(({ id }) => id);
    const stored = this.#parts.store.timeline(channelId).newestStoredId(latest);
    const ids = [...queued, stored].filter((id) => id !== null && timeOf(id) <= latest);
    return ids.sort().at(-1) ?? null;
  }

  #kept(entry) {
    const { key, id, channel_id, label, text, state, way, sends, posts, freshIds } = entry;
    const { reason, acceptedAt, replicated, hasLeft } = entry;
    const request = { key, id, channel_id, label, text, hasLeft };
    const progress = { state, way, sends, posts, freshIds, reason, acceptedAt, replicated };
    return [key, { ...request, ...progress, owner: this.#parts.owners.me }];
  }

  #save(entry) {
    if (this.#queue.entries.includes(entry)) this.#write([this.#kept(entry)]);
  }

  async #write(puts, removes = []) {
    this.isStored = await this.#parts.db.write(TABLE, puts, removes);
  }
}

/** Whether a log takes the way of this module. */
export function isDelivered(store, log) {
  return deliversFirst(store.channels.get(log));
}

const ANSWERS = new Set(["accepted", "refused"]);
const DELIVERY = {
  queued: "queued",
  asked: "sending",
  posting: "sending",
  kept: "stored",
  waiting: "waiting",
  failed: "failed",
};

/** Why a message is not sent, or waits, in plain English. */
export function reasonWords(code) {
  switch (code) {
    case "channel_not_found":
      return NOT_A_MEMBER;
    case "channel_archived":
      return "the channel is archived";
    case "message_too_long":
    case "too_large":
      return "the text is too long";
    case "id_out_of_range":
    case "invalid_id":
      return "it is too old to be sent under its id";
    case "id_conflict":
      return "its id was used for another message";
    case "rate_limited":
      return "too many at once";
    case "unreachable":
      return "no answer";
    default:
      return code.replaceAll("_", " ");
  }
}
