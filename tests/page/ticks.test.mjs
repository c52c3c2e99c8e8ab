// The ticks of own messages: never ahead of what members' devices said.

import assert from "node:assert/strict";
import { test } from "node:test";

import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { LocalDb } from "../../localstack/embedded-stack/page/local_db.js";
import { Receipts } from "../../localstack/embedded-stack/page/receipts.js";
import {
  progressOf,
  RECEIPTS_MEMBERS_MAX,
  recipientsOf,
  tickOf,
  tickWords,
  whoWords,
} from "../../localstack/embedded-stack/page/ticks.js";
import { GENERAL, storagesOn, storeWith, until } from "./fakes.mjs";

const T = 1_800_000_000_000;
const NOBODY = { delivered: {}, read: {} };
const ID = lowestIdAt(T);

function joined(user_id, ms = T - 60_000) {
  return { user_id, joined_at: new Date(ms).toISOString() };
}

function tickWith(delivered, read, acceptedAt = T) {
  return tickOf("stored", progressOf(ID, ["bob", "carol"], { delivered, read }, acceptedAt));
}

test("two ticks need all members, and colour needs that all have read", () => {
  const later = lowestIdAt(T + 1);
  assert.equal(tickWith({}, {}), "accepted");
  assert.equal(tickWith({ bob: ID }, {}), "accepted");
  assert.equal(tickWith({ bob: ID, carol: lowestIdAt(T - 1) }, {}), "accepted");
  assert.equal(tickWith({ bob: ID, carol: later }, {}), "delivered");
  assert.equal(tickWith({ bob: ID }, { carol: ID }), "delivered", "who reads it has it");
  assert.equal(tickWith({}, { bob: later, carol: ID }), "read");
});

test("marks of before a late message say nothing about it", () => {
  const acceptedAt = T + 60_000;
  const before = { bob: lowestIdAt(T + 30_000), carol: lowestIdAt(T + 30_000) };
  assert.equal(tickWith(before, before, acceptedAt), "accepted");
  const after = { bob: lowestIdAt(acceptedAt), carol: lowestIdAt(acceptedAt) };
  assert.equal(tickWith(after, {}, acceptedAt), "delivered");
});

test("what did not leave, or failed, has no ticks whatever the marks say", () => {
  const progress = progressOf(ID, ["bob"], { delivered: { bob: ID }, read: { bob: ID } }, undefined);
  for (const delivery of ["queued", "sending", "waiting"])
    assert.equal(tickOf(delivery, progress), "queued");
  assert.equal(tickOf("failed", progress), "failed");
});

test("only members of that time count, and nobody alone or in a crowd gets two ticks", () => {
  const message = { id: ID, sender_id: "alice" };
  const members = [joined("alice"), joined("bob"), joined("carol", T + 1)];
  assert.deepEqual(recipientsOf(message, members), ["bob"]);
  assert.deepEqual(recipientsOf(message, undefined), []);
  const crowd = Array.from({ length: RECEIPTS_MEMBERS_MAX + 1 }, (_, n) => joined(`user${n}`));
  assert.deepEqual(recipientsOf(message, crowd), []);
  assert.equal(tickOf("stored", progressOf(ID, [], NOBODY, T)), "accepted");
});

test("the words say what the ticks show, and where the message is", () => {
  const words = (tick, marks, facts) =>
    tickWords(tick, progressOf(ID, ["bob", "carol"], marks, T), facts, "no answer");
  const both = { bob: ID, carol: ID };
  assert.equal(words("accepted", NOBODY, { replicated: false }), "Sent. Redis has it.");
  assert.equal(words("accepted", NOBODY, { replicated: true }), "Sent. Redis has it, and a replica.");
  assert.equal(
    words("accepted", { delivered: { bob: ID }, read: {} }, { archived: true }),
    "Delivered to 1 of 2. It is in the archive.",
  );
  assert.equal(
    words("delivered", { delivered: both, read: { bob: ID } }, { archived: true }),
    "Delivered to all 2. Read by 1. It is in the archive.",
  );
  assert.equal(words("read", { delivered: {}, read: both }, { archived: true }), "Read by all 2. It is in the archive.");
  assert.equal(words("failed", NOBODY, {}), "Not sent: no answer.");
});

test("in a group the title names who has it, and in a DM it does not", () => {
  const progress = progressOf(ID, ["bob", "carol", "dave"], { delivered: { carol: ID }, read: { bob: ID } }, T);
  const words = whoWords(progress, (user) => user).replaceAll(/[\u2068\u2069]/g, "");
  assert.equal(words, "Read by: bob\nDelivered to: carol\nNot yet: dave");
  assert.equal(whoWords(progress.slice(0, 1), (user) => user), "");
  const many = Array.from({ length: 10 }, (_, n) => ({ user: `u${n}`, state: "read" }));
  assert.match(whoWords(many, (user) => user), /and 2 others$/);
});

const FAST = { ...GENERAL, contract: "deliver_first" };

function receiptsWith({ now = T, storages = storagesOn() } = {}) {
  const store = storeWith({ storages, channels: [FAST] });
  store.setMembers(FAST.channel_id, [joined("alice"), joined("bob")]);
  const db = new LocalDb("test", () => undefined, storages.local);
  const server = { marks: { delivered: {}, read: {} } };
  const api = { clock: { now: () => now }, receipts: async () => server.marks };
  const receipts = new Receipts(api, store, db);
  const message = {
    id: ID,
    channel_id: FAST.channel_id,
    sender_id: "alice",
    message: "hi",
    delivery: "stored",
  };
  const told = (fields) => receipts.onFrame({ channel_id: FAST.channel_id, ...fields });
  return { store, server, receipts, message, told };
}

test("a mark never goes back", () => {
  const { receipts, message, told } = receiptsWith();
  told({ delivered: { bob: ID }, read: {}, archived: [] });
  told({ delivered: { bob: lowestIdAt(T - 5_000) }, read: {}, archived: [] });
  assert.equal(receipts.of(message).tick, "delivered");
});

test("what happened while the channel was not on the screen is read, and kept over a reload", async () => {
  const storages = storagesOn();
  const { server, receipts, message } = receiptsWith({ storages });
  server.marks = { delivered: { bob: ID }, read: { bob: ID } };
  await receipts.read(FAST.channel_id);
  assert.equal(receipts.of(message).tick, "read");
  const isKept = () => Object.keys(storages.local.read("test.receipts")).length > 0;
  await until("the marks are kept", isKept);
  const next = receiptsWith({ storages });
  await next.receipts.load();
  assert.equal(next.receipts.of(message).tick, "read");
});

test("an accepted message is archived when the server says so, and not before", () => {
  const { receipts, message, told } = receiptsWith({ now: T + 3_600_000 });
  receipts.accepted(ID, T, true);
  assert.equal(receipts.of(message).archived, false, "however old it is");
  told({ archived: [ID] });
  assert.equal(receipts.of(message).archived, true);
});

test("what was archived a moment before a reload is archived after it", async () => {
  const storages = storagesOn();
  const { told } = receiptsWith({ storages, now: T + 1_000 });
  told({ archived: [ID] });
  await until("it is kept", () => storages.local.read("test.receipts")[FAST.channel_id] !== undefined);
  const next = receiptsWith({ storages, now: T + 2_000 });
  assert.equal(next.receipts.of(next.message).archived, false);
  await next.receipts.load();
  assert.equal(next.receipts.of(next.message).archived, true);
});

test("channels of other contracts have no ticks", () => {
  const store = storeWith();
  const db = new LocalDb("test", () => undefined, storagesOn().local);
  const receipts = new Receipts({}, store, db);
  const message = { id: ID, channel_id: GENERAL.channel_id, sender_id: "alice", delivery: "stored" };
  assert.equal(receipts.of(message), null);
});
