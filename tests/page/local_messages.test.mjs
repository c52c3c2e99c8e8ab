// What this browser keeps of channels that deliver first.

import assert from "node:assert/strict";
import { test } from "node:test";

import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { LocalDb } from "../../localstack/embedded-stack/page/local_db.js";
import { LocalMessages } from "../../localstack/embedded-stack/page/local_messages.js";
import { BrowserStorage, GENERAL, storagesOn, storeWith } from "./fakes.mjs";

const T = 1_800_000_000_000;
const FAST = { ...GENERAL, channel_id: "CFAST", name: "fast", contract: "deliver_first" };

/** A database in memory. */
class MemoryDb {
  #tables = new Map();

  #table(name) {
    if (!this.#tables.has(name)) this.#tables.set(name, new Map());
    return this.#tables.get(name);
  }

  async entries(table, prefix = "", most = Infinity) {
    const all = [...this.#table(table)].filter(([key]) => key.startsWith(prefix)).sort();
    return all.slice(-most);
  }

  async keys(table, prefix) {
    return (await this.entries(table, prefix)).map(([key]) => key);
  }

  async write(table, puts, removes = []) {
    for (const [key, value] of puts) this.#table(table).set(key, value);
    for (const key of removes) this.#table(table).delete(key);
    return true;
  }
}

function pageWith(db, channels = [GENERAL, FAST]) {
  const store = storeWith({ channels });
  return { store, local: new LocalMessages(store, db) };
}

function message(n, channel = FAST) {
  const { channel_id } = channel;
  return { id: lowestIdAt(T + n), channel_id, sender_id: "bob", message: `m${n}`, rev: lowestIdAt(T + n) };
}

async function keptOf(db) {
  return (await db.entries("messages")).map(([, { message: text }]) => text);
}

test("a reload shows what channels that deliver first had, and no other", async () => {
  const db = new MemoryDb();
  const before = pageWith(db);
  for (const n of [2, 1]) before.store.deliver(message(n), "push");
  before.store.deliver(message(3, GENERAL), "push");
  await before.local.listRead();
  await before.local.flush();
  const { store, local } = pageWith(db, []);
  Object.assign(store, { channelsKnown: false, activeId: FAST.channel_id });
  await local.load();
  const { messages, order } = store.timeline(FAST.channel_id);
  assert.deepEqual(order.map((id) => messages.get(id).message), ["m1", "m2"]);
  assert.deepEqual([...store.remembered.keys()], [FAST.channel_id]);
  assert.equal(store.titleOf(store.shown), "fast");
  assert.equal(store.timeline(GENERAL.channel_id).messages.size, 0);
});

test("the server's copy wins over the one that was kept", async () => {
  const db = new MemoryDb();
  const before = pageWith(db);
  before.store.deliver(message(1), "push");
  await before.local.flush();
  const { store, local } = pageWith(db);
  store.remembered.set(FAST.channel_id, FAST);
  await local.load();
  store.deliver({ ...message(1), rev: lowestIdAt(T + 9), message: "newer" }, "history");
  assert.equal(store.timeline(FAST.channel_id).messages.get(message(1).id).message, "newer");
  // What the server answered first is not mixed with what was kept.
  const late = pageWith(db);
  late.store.timeline(FAST.channel_id).historyOffset = null;
  await late.local.load();
  assert.equal(late.store.timeline(FAST.channel_id).messages.size, 0);
});

test("at most 2,000 messages a channel are kept, the newest", async () => {
  const db = new MemoryDb();
  const { store, local } = pageWith(db);
  for (let n = 0; n < 2_050; n += 1) store.deliver(message(n), "push");
  await local.flush();
  const kept = await keptOf(db);
  assert.deepEqual([kept.length, kept[0], kept.at(-1)], [2_000, "m50", "m2049"]);
});

test("nothing is kept of a channel that the user is no longer in", async () => {
  const db = new MemoryDb();
  const { store, local } = pageWith(db);
  store.deliver(message(1), "push");
  await local.listRead();
  await local.flush();
  store.setChannels([GENERAL]);
  await local.listRead();
  assert.deepEqual([await keptOf(db), await db.entries("channels")], [[], []]);
});

test("without IndexedDB what is small is in localStorage, and a blocked browser says so", async () => {
  const browser = new BrowserStorage();
  const open = () => new LocalDb("page", () => undefined, storagesOn({ local: browser }).local);
  assert.equal(await open().write("outbox", [["k", { text: "hi" }]]), true);
  assert.deepEqual(await open().entries("outbox"), [["k", { text: "hi" }]]);
  assert.equal(await open().write("messages", [["k", {}]]), false);
  await open().write("outbox", [], ["k"]);
  assert.deepEqual(await open().entries("outbox"), []);
  browser.isFull = true;
  assert.equal(await open().write("outbox", [["k", { text: "hi" }]]), false);
});
