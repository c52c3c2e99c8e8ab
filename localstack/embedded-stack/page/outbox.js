// Own messages on their way: queued → sending → (waiting →) stored, or failed.
//
// Invariants: one message of a channel is under way at a time, so that they are stored in the order
// typed; once an id has left this page every retry repeats the same request, which makes it safe.

import { retryWait, sleep } from "./pace.js";
import { mintId, readJson, timeOf, writeJson } from "./store.js";

/** After that many unanswered attempts in a row a person decides. */
const ATTEMPTS_MAX = 8;
/** The store takes ids up to 10 s old at the price of one write: older ones are minted anew. */
const MINT_AGAIN_AFTER_MS = 8_000;

export class Outbox {
  #api;
  #store;
  #entries = [];
  #running = new Set();
  #wake = new AbortController();
  #held = true;
  #isBehind;
  #storageKey;

  /** `isBehind(channelId)`: what was missed in a channel comes before what is typed there. */
  constructor(api, store, isBehind) {
    this.#api = api;
    this.#store = store;
    this.#isBehind = isBehind;
    this.#storageKey = `inkwire.outbox.${store.workspaceId}.${store.userId}`;
  }

  /** Shows the message at once and starts sending it. */
  submit(channelId, text) {
    const id = this.#mint(channelId);
    this.#adopt({ id, channel_id: channelId, text, after: null, attempted: false });
    this.#pump(channelId);
  }

  /** Brings back what a reload interrupted: the ids are the same, so nothing is stored twice. */
  restore() {
    const { entries = [] } = readJson(sessionStorage, this.#storageKey);
    for (const entry of entries) {
      const known = this.#store.channels.has(entry.channel_id);
      const stored = this.#store.timeline(entry.channel_id).messages.has(entry.id);
      if (known && !stored) this.#adopt(entry);
    }
  }

  /** While held, messages queue. */
  hold() {
    this.#held = true;
  }

  release() {
    this.#held = false;
    // Waiting out a backoff would be for nothing: there is a connection again.
    this.#wake.abort();
    this.#wake = new AbortController();
    this.pumpAll();
  }

  /** Sends what nothing holds up any more. */
  pumpAll() {
    for (const channelId of new Set(this.#entries.map((entry) => entry.channel_id))) {
      this.#pump(channelId);
    }
  }

  /** A channel has caught up: what waits there may go. */
  channelRead(channelId) {
    this.#pump(channelId);
  }

  retry(id) {
    const entry = this.#entries.find((candidate) => candidate.id === id);
    if (!entry) return;
    // These answers say that nothing is stored under the id and nothing ever will be.
    if (entry.refusedId) Object.assign(entry, { attempted: false, refusedId: false });
    entry.attempts = 0;
    this.#show(entry, "queued");
    this.#pump(entry.channel_id);
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

  #adopt(entry) {
    const { id, channel_id, text } = entry;
    const message = {
      id,
      channel_id,
      sender_id: this.#store.userId,
      message: text,
      created_at: new Date(timeOf(id)).toISOString(),
      delivery: "queued",
    };
    Object.assign(entry, { attempts: 0, refusedId: false, message });
    this.#entries.push(entry);
    this.#save();
    this.#store.insertLocal(message);
  }

  async #pump(channelId) {
    if (this.#running.has(channelId)) return;
    this.#running.add(channelId);
    while (!this.#held && !this.#api.offline && !this.#isBehind(channelId)) {
      const entry = this.#entries.find(
        ({ channel_id: id, message }) => id === channelId && message.delivery !== "failed",
      );
      if (!entry) break;
      await this.#attempt(entry);
    }
    this.#running.delete(channelId);
    this.#store.changed();
  }

  async #attempt(entry) {
    // The push can overtake the answer, or come although the answer never does.
    if (entry.message.delivery === "stored") return this.#drop(entry);
    if (!entry.attempted) this.#stamp(entry);
    this.#show(entry, "sending");
    const body = { channel_id: entry.channel_id, message: entry.text, id: entry.id };
    if (entry.after !== null) body.after = entry.after;
    const sentAt = performance.now();
    this.#store.lastSend = { id: entry.id, sentAt, storedMs: null, echoMs: null };
    try {
      this.#stored(entry, await this.#api.postMessage(body), sentAt);
    } catch (error) {
      await this.#refused(entry, error);
    }
  }

  /** Fixes id and `after` for good: from here on every retry is this same request. */
  #stamp(entry) {
    const newest = this.#store.timeline(entry.channel_id).newestStoredId();
    const tooOld = this.#api.clock.now() - timeOf(entry.id) > MINT_AGAIN_AFTER_MS;
    if (tooOld || (newest !== null && entry.id <= newest)) {
      this.#store.removeLocal(entry.message);
      entry.id = this.#mint(entry.channel_id);
      entry.message.id = entry.id;
      entry.message.created_at = new Date(timeOf(entry.id)).toISOString();
      this.#store.insertLocal(entry.message);
    }
    entry.after = newest;
    entry.attempted = true;
    this.#save();
  }

  #stored(entry, answer, sentAt) {
    const { lastSend, log } = this.#store;
    if (lastSend?.id === entry.id) lastSend.storedMs = performance.now() - sentAt;
    if (answer.id !== entry.id) log.add("a message was stored under an id of the server");
    if (answer.duplicate) log.add("a retry was recognised: the message is stored once", "good");
    this.#drop(entry);
    this.#store.settleLocal(entry.message, answer);
  }

  async #refused(entry, error) {
    if (entry.message.delivery === "stored") return this.#drop(entry);
    if (this.#api.offline) return this.#show(entry, "queued");
    if (!error.retryable || entry.attempts + 1 >= ATTEMPTS_MAX) {
      this.#store.lastSend = null;
      entry.refusedId = error.code === "id_out_of_range" || error.code === "id_conflict";
      return this.#show(entry, "failed", reasonOf(error));
    }
    const waitMs = retryWait(error.retryAfterMs, entry.attempts);
    entry.attempts += 1;
    entry.message.retryAt = Date.now() + waitMs;
    this.#show(entry, "waiting", reasonOf(error));
    await sleep(waitMs, this.#wake.signal);
    if (this.#api.offline) this.#show(entry, "queued");
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
    const entries = this.#entries.map(({ id, channel_id, text, after, attempted }) => {
      return { id, channel_id, text, after, attempted };
    });
    writeJson(sessionStorage, this.#storageKey, { entries });
  }

  /** Never before what is on the page, whatever the local clock says. */
  #mint(channelId) {
    const newest = this.#store.timeline(channelId).newestId();
    const floor = newest === null ? 0 : timeOf(newest) + 1;
    return mintId(Math.max(this.#api.clock.now(), floor));
  }
}

function reasonOf(error) {
  switch (error.code) {
    case "channel_not_found":
      return "you are no longer a member of this channel";
    case "message_too_long":
    case "too_large":
      return "the text is too long";
    case "unreachable":
      return error.message;
    default:
      return `${error.code.replaceAll("_", " ")}`;
  }
}
