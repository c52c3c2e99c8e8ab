// Own messages on their way: queued → sending → (waiting →) stored, or failed.
//
// Invariants: one message of a log is under way at a time, so that they are stored in the order
// typed; once an id has left this page every retry repeats the same request, which makes it safe,
// until the server says that nothing is stored under the id; text leaves this page only when it is
// stored or a person deletes it.

import { mintId, timeOf } from "./ids.js";
import { channelOf, logOfMessage, namesOf } from "./logs.js";
import { retryWait, sleep } from "./pace.js";

/** After this many failed attempts a person decides. */
const ATTEMPTS_MAX = 8;
/**
 * The server stores a message under an id that is not older than 10 s; else under one of its own.
 */
const MINT_AGAIN_AFTER_MS = 8_000;
/** How far an id, and `after`, may be ahead of the server's clock: a little below its limits. */
const ID_AHEAD_MS = 900;
const AFTER_AHEAD_MS = 9_000;
/** How often a refused id is replaced without asking. */
const FRESH_IDS_MAX = 2;
const SOME_CHANNEL = { name: "a channel", type: "GROUP_CHANNEL" };
const MAYBE_COPIED = "the page was loaded anew; another tab may have sent it";
const NOT_A_MEMBER = "you are no longer a member of this channel";

export class Outbox {
  /** Whether a reload would find all that is queued. */
  isStored = true;
  #api;
  #store;
  #entries = [];
  #running = new Set();
  #wake = new AbortController();
  #held = true;
  #isBehind;
  #storage;
  #storageKey;
  /** What was queued before a reload, until `restore`. */
  #left;

  /** `isBehind(log)`: messages wait until what was missed in their log is here. */
  constructor(api, store, storage, isBehind) {
    this.#api = api;
    this.#store = store;
    this.#isBehind = isBehind;
    this.#storage = storage;
    this.#storageKey = `inkwire.outbox.${store.workspaceId}.${store.userId}`;
    this.#left = storage.read(this.#storageKey).entries ?? [];
  }

  /** Shows the message at once and starts sending it. */
  submit(log, text, attachments = []) {
    const channel = this.#store.channels.get(channelOf(log));
    const label = this.#store.labelOf(channel);
    this.#adopt({ ...namesOf(log), id: this.#mint(log), label, text, attachments });
    this.#pump(log);
  }

  /**
   * Takes up what was queued before a reload, under the same ids, so nothing is stored twice.
   * `owner` is the answer of tab.js: a copy is dropped, because the other tab sends it.
   */
  restore(owner) {
    const left = owner === "copy" ? [] : this.#left;
    const typedSince = this.#entries;
    this.#left = [];
    this.#entries = [];
    for (const entry of left) {
      const stored = this.#store.timeline(logOfMessage(entry)).messages.has(entry.id);
      if (!stored) this.#adopt(entry);
    }
    if (owner === "unknown") {
      for (const entry of this.#entries) this.#show(entry, "failed", MAYBE_COPIED);
    }
    this.#entries.push(...typedSince);
    this.#save();
    this.refuseFormer();
  }

  /** From now on messages are queued. */
  hold() {
    this.#held = true;
  }

  release() {
    this.#held = false;
    this.retryNow();
  }

  /** Ends the waits between attempts. */
  retryNow() {
    this.#wake.abort();
    this.#wake = new AbortController();
    this.pumpAll();
  }

  /** Sends whatever need not wait any longer. */
  pumpAll() {
    for (const log of this.waitingLogs()) this.#pump(log);
  }

  /** A log has caught up: its messages may be sent. */
  logRead(log) {
    this.#pump(log);
  }

  /** Marks messages to channels that the person is no longer in as failed; their text is kept. */
  refuseFormer() {
    for (const entry of this.#entries) {
      const { channel_id: id, label, message } = entry;
      if (this.#store.channels.has(id)) continue;
      this.#store.rememberFormer(id, label);
      if (message.delivery !== "sending") this.#show(entry, "failed", NOT_A_MEMBER);
    }
  }

  retry(id) {
    const entry = this.#entries.find((candidate) => candidate.id === id);
    if (!entry || !this.#store.channels.has(entry.channel_id)) return;
    if (entry.isRefusedId) this.#remint(entry);
    Object.assign(entry, { attempts: 0, freshIds: 0 });
    this.#show(entry, "queued");
    this.#pump(logOfMessage(entry));
  }

  discard(id) {
    const entry = this.#entries.find((candidate) => candidate.id === id);
    if (!entry) return;
    this.#drop(entry);
    this.#store.removeLocal(entry.message);
  }

  /** How many messages wait for a connection. */
  get queued() {
    return this.#entries.filter(({ message }) => message.delivery !== "failed").length;
  }

  /** How many messages may not be stored: closing the tab would lose them. */
  get unsent() {
    return this.#entries.length + this.#left.length;
  }

  waitingLogs() {
    return new Set(this.#entries.map(logOfMessage));
  }

  #adopt(typed) {
    const { id, label = SOME_CHANNEL, text, attachments = [] } = typed;
    const { after = null, attempted = false } = typed;
    const names = namesOf(logOfMessage(typed));
    const message = {
      id,
      ...names,
      sender_id: this.#store.userId,
      message: text,
      created_at: new Date(timeOf(id)).toISOString(),
      ...(attachments.length > 0 ? { attachments } : {}),
      delivery: "queued",
    };
    const counts = { attempts: 0, freshIds: 0, isRefusedId: false };
    const request = { id, ...names, label, text, attachments, after, attempted };
    this.#entries.push({ ...request, ...counts, message });
    this.#save();
    this.#store.insertLocal(message);
  }

  async #pump(log) {
    if (this.#running.has(log)) return;
    this.#running.add(log);
    while (!this.#held && !this.#api.offline && !this.#isBehind(log)) {
      const isDue = ({ message }) => logOfMessage(message) === log && message.delivery !== "failed";
      const entry = this.#entries.find(isDue);
      if (!entry) break;
      await this.#attempt(entry);
    }
    this.#running.delete(log);
    this.#store.changed();
  }

  async #attempt(entry) {
    // The push may come before the response, or without it.
    if (entry.message.delivery === "stored") return this.#drop(entry);
    if (!entry.attempted) this.#stamp(entry);
    this.#show(entry, "sending");
    const body = { ...namesOf(logOfMessage(entry)), message: entry.text, id: entry.id };
    if (entry.attachments.length > 0) body.attachments = entry.attachments.map(({ id }) => id);
    if (entry.after !== null) body.after = entry.after;
    const sentAt = performance.now();
    this.#store.lastSend = { id: entry.id, sentAt, storedMs: null, echoMs: null };
    try {
      this.#stored(entry, await this.#api.postMessage(body), sentAt);
    } catch (error) {
      await this.#failed(entry, error);
    }
  }

  /** Fixes id and `after`: every retry is the same request. */
  #stamp(entry) {
    const now = this.#api.clock.now();
    const age = now - timeOf(entry.id);
    entry.after = this.#newestStored(logOfMessage(entry));
    const isBefore = entry.after !== null && entry.id <= entry.after;
    if (isBefore || age > MINT_AGAIN_AFTER_MS || age < -ID_AHEAD_MS) this.#remint(entry);
    entry.attempted = true;
    this.#save();
  }

  #stored(entry, answer, sentAt) {
    const { lastSend, log } = this.#store;
    if (lastSend?.id === entry.id) lastSend.storedMs = performance.now() - sentAt;
    if (answer.id !== entry.id) log.add("the server stored a message under another id");
    if (answer.duplicate)
      log.add("the server recognised a retry: the message is stored once", "good");
    this.#drop(entry);
    this.#store.settleLocal(entry.message, answer);
  }

  async #failed(entry, error) {
    if (entry.message.delivery === "stored") return this.#drop(entry);
    if (this.#api.offline) return this.#show(entry, "queued");
    if (error.code === "id_out_of_range" && this.#takeFreshId(entry, error.field)) return;
    if (!error.retryable || entry.attempts + 1 >= ATTEMPTS_MAX) {
      this.#store.lastSend = null;
      entry.isRefusedId = error.code === "id_out_of_range" || error.code === "id_conflict";
      return this.#show(entry, "failed", reasonOf(error));
    }
    const waitMs = retryWait(error.retryAfterMs, entry.attempts);
    entry.attempts += 1;
    entry.message.retryAt = performance.now() + waitMs;
    this.#show(entry, "waiting", reasonOf(error));
    await sleep(waitMs, this.#wake.signal);
    if (this.#api.offline) this.#show(entry, "queued");
  }

  /**
   * The clock was wrong when the id was made; the error has the right time. For field `id` it also
   * says that nothing is stored under the id, so another one is safe.
   */
  #takeFreshId(entry, field) {
    if (entry.freshIds >= FRESH_IDS_MAX) return false;
    entry.freshIds += 1;
    if (field === "after") entry.after = this.#newestStored(logOfMessage(entry));
    else this.#remint(entry);
    this.#show(entry, "queued");
    return true;
  }

  /**
   * Gives an entry a new id. Entries that were typed after it stay after it.
   */
  #remint(entry) {
    const { message } = entry;
    const log = logOfMessage(entry);
    this.#store.removeLocal(message);
    entry.id = message.id = this.#mint(log, entry);
    message.created_at = new Date(timeOf(entry.id)).toISOString();
    Object.assign(entry, { attempted: false, isRefusedId: false });
    this.#store.insertLocal(message);
    const isNext = (other) => logOfMessage(other) === log && !other.attempted;
    const next = this.#entries.slice(this.#entries.indexOf(entry) + 1).find(isNext);
    if (next !== undefined && next.id <= entry.id) this.#remint(next);
    else this.#save();
  }

  #show(entry, delivery, reason = null) {
    if (entry.message.delivery === "stored") return;
    Object.assign(entry.message, { delivery, reason });
    this.#store.changed();
  }

  #drop(entry) {
    this.#entries = this.#entries.filter((candidate) => candidate !== entry);
    this.#save();
  }

  #save() {
    const entries = this.#entries.map((entry) => {
      const { id, label, text, attachments, after, attempted } = entry;
      return { id, ...namesOf(logOfMessage(entry)), label, text, attachments, after, attempted };
    });
    this.isStored = this.#storage.write(this.#storageKey, { entries: [...this.#left, ...entries] });
  }

  /**
   * A new id: from the current time, but after what is stored and what is queued before the entry.
   * Ids too far ahead are ignored: they come from a wrong clock.
   */
  #mint(log, entry = null) {
    const now = this.#api.clock.now();
    const place = entry === null ? this.#entries.length : this.#entries.indexOf(entry);
    const queued = this.#entries.slice(0, place).filter((other) => logOfMessage(other) === log);
    const before = [this.#newestStored(log), ...queued.map(({ id }) => id)];
    const times = before.filter((id) => id !== null).map((id) => timeOf(id) + 1);
    return mintId(Math.max(now, ...times.filter((time) => time <= now + AFTER_AHEAD_MS)));
  }

  #newestStored(log) {
    const latest = this.#api.clock.now() + AFTER_AHEAD_MS;
    return this.#store.timeline(log).newestStoredId(latest);
  }
}

function reasonOf(error) {
  switch (error.code) {
    case "channel_not_found":
      return NOT_A_MEMBER;
    case "message_deleted":
      return "the message was deleted, and takes no replies";
    case "message_not_found":
      return "the message that this answers is gone";
    case "message_too_long":
    case "too_large":
      return "the text is too long";
    case "invalid_field":
      if (error.field === "attachments") return "a file cannot be attached any more: attach it again";
      return error.message;
    case "unreachable":
      return error.message;
    default:
      return `${error.code.replaceAll("_", " ")}`;
  }
}
