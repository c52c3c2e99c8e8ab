// Messages that are delivered first: sent by frame, kept until they are archived, and told as got.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Core } from "../../localstack/embedded-stack/page/core.js";
import { lowestIdAt, mintId } from "../../localstack/embedded-stack/page/ids.js";
import { BrowserStorage, Locks, storagesOn, until } from "./fakes.mjs";
import { FakeServer } from "./server.mjs";

const FRAMES = ["ping", "typing", "view", "idle", "join", "leave", "send", "got"];

/** A page that is live and has a channel that delivers first. */
async function inFastChannel(t, { local = new BrowserStorage(), locks = new Locks() } = {}) {
  const server = new FakeServer(["general", "fast"]);
  server.accepts = FRAMES;
  const joined_at = new Date(0).toISOString();
  server.members = ["alice", "bob"].map((user_id) => ({ user_id, joined_at }));
  const id = server.deliverFirst("fast");
  const core = new Core("demo", "alice", storagesOn({ local }), locks);
  core.start();
  t.after(() => core.setOffline(true));
  await until("live", () => core.connection.phase === "live" && core.store.channelsKnown);
  core.store.activeId = id;
  core.sync.channelList.loadMembers(id);
  await until("members", () => core.store.members.has(id));
  const shown = () => [...core.store.timeline(id).messages.values()];
  const sends = () => server.framesOf("send");
  const accept = ({ ref, id: message }) =>
    server.push({ type: "accepted", ref, id: message, replicated: false, server_time: Date.now() });
  return { server, core, id, shown, sends, accept, local, locks };
}

test("a message is sent by frame, and its ticks go from queued to read", async (t) => {
  const { server, core, id, shown, sends, accept } = await inFastChannel(t);
  core.submit(id, "hello", []);
  const tick = () => core.receipts.of(shown()[0]);
  await until("it is sent", () => sends().length === 1);
  const { ref: _, ...sent } = sends()[0];
  assert.deepEqual(sent, { channel_id: id, id: shown()[0].id, message: "hello" });
  assert.equal(tick().tick, "queued");
  accept(sends()[0]);
  assert.deepEqual([tick().tick, tick().archived], ["accepted", false]);
  const told = (fields) => server.push({ type: "receipts", channel_id: id, ...fields });
  told({ delivered: {}, read: {}, archived: [sent.id] });
  assert.deepEqual([tick().tick, tick().archived, core.deliveries.keeps(sent.id)], ["accepted", true, false]);
  told({ delivered: { bob: sent.id }, read: {}, archived: [] });
  assert.equal(tick().tick, "delivered");
  told({ delivered: {}, read: { bob: sent.id }, archived: [] });
  assert.equal(tick().tick, "read");
  assert.deepEqual(server.posted, [], "no call was made");
});

test("ids follow the order typed, and their row keeps its key when an id is made anew", async (t) => {
  const { core, id, shown, sends, server } = await inFastChannel(t);
  server.push({
    type: "message",
    cursor: "c2",
    message: { id: mintId(Date.now() + 500), channel_id: id, sender_id: "bob", message: "ahead" },
  });
  for (const text of ["one", "two", "three"]) core.submit(id, text, []);
  await until("all are sent", () => sends().length === 3);
  const ids = shown().map((message) => message.id);
  assert.deepEqual(ids, [...ids].sort());
  assert.deepEqual(sends().map(({ message }) => message), ["one", "two", "three"]);
});

test("what is typed offline waits, and leaves under a current id", async (t) => {
  const { core, id, shown, sends } = await inFastChannel(t);
  core.setOffline(true);
  core.submit(id, "queued", []);
  const { key, id: before } = shown()[0];
  assert.equal(shown()[0].delivery, "queued");
  // Half a minute passes.
  const { now } = Date;
  t.after(() => Object.assign(Date, { now }));
  Date.now = () => now() + 30_000;
  core.setOffline(false);
  await until("it is sent", () => sends().length === 1);
  assert.equal(shown()[0].key, key);
  assert.notEqual(sends()[0].id, before);
});

test("a refusal as unavailable is followed by a call with the same id, which archives", async (t) => {
  const { server, core, id, shown, sends } = await inFastChannel(t);
  core.submit(id, "hello", []);
  await until("it is sent", () => sends().length === 1);
  const { ref, id: sent } = sends()[0];
  server.push({ type: "refused", ref, code: "unavailable", retryable: true });
  await until("it is posted", () => server.posted.length === 1);
  await until("it is archived", () => core.receipts.of(shown()[0]).archived);
  assert.deepEqual([shown().length, shown()[0].id], [1, sent]);
  assert.equal(core.deliveries.keeps(sent), false);
});

test("a final refusal keeps the text, which is sent again or discarded", async (t) => {
  const { server, core, id, shown, sends, accept } = await inFastChannel(t);
  core.submit(id, "hello", []);
  await until("it is sent", () => sends().length === 1);
  const refuse = ({ ref }) =>
    server.push({ type: "refused", ref, code: "channel_archived", retryable: false });
  refuse(sends()[0]);
  assert.deepEqual([shown()[0].delivery, shown()[0].reason], ["failed", "the channel is archived"]);
  assert.ok(core.hasUnsaved);
  assert.ok(core.deliveries.retry(shown()[0].id));
  await until("it is sent again", () => sends().length === 2);
  accept(sends()[1]);
  assert.equal(shown()[0].delivery, "stored");
  core.submit(id, "no", []);
  refuse(sends()[2]);
  assert.ok(core.deliveries.discard(sends()[2].id));
  assert.deepEqual(shown().map(({ message }) => message), ["hello"]);
});

test("a reload sends what was queued and not what was archived, and once in several tabs", async (t) => {
  const first = await inFastChannel(t);
  first.core.submit(first.id, "archived", []);
  await until("it is sent", () => first.sends().length === 1);
  const { id: archived } = first.sends()[0];
  first.accept(first.sends()[0]);
  const told = { type: "receipts", channel_id: first.id, delivered: {}, read: {} };
  first.server.push({ ...told, archived: [archived] });
  first.core.setOffline(true);
  first.core.submit(first.id, "queued", []);
  const isKept = () => JSON.stringify(first.local.getItem("inkwire.demo.alice.outbox")).includes("queued");
  await until("it is in the storage", isKept);
  const { local } = first;
  // The tab that queued it lives: it sends it itself.
  const beside = await inFastChannel(t, { local, locks: first.locks });
  assert.deepEqual(beside.shown(), []);
  beside.core.setOffline(true);
  first.locks.releaseAll();
  const next = await inFastChannel(t, { local });
  await until("it is sent", () => next.sends().length === 1);
  assert.equal(next.sends()[0].message, "queued");
  assert.deepEqual(next.shown().map(({ message }) => message), ["queued"]);
});

test("the device says what it has, once, and again to each new socket", async (t) => {
  const { server, core, id } = await inFastChannel(t);
  const startedAt = Date.now();
  const push = (ms) => {
    const message = { id: lowestIdAt(startedAt + ms), channel_id: id, sender_id: "bob", message: "hi" };
    server.push({ type: "message", cursor: `c${ms}`, message });
    return message.id;
  };
  push(-30);
  const newest = push(-20);
  await until("it is told", () => server.framesOf("got").length > 0);
  assert.deepEqual(server.framesOf("got"), [{ channel_id: id, up_to: newest }], "both in one frame");
  // What is known already is not said again.
  push(-20);
  const since = performance.now();
  await until("its time has passed", () => performance.now() - since > 700);
  assert.equal(server.framesOf("got").length, 1);
  server.push({ type: "tick", cursor: "c9", server_time: Date.now(), fresh: true });
  server.cut();
  await until("it is told again", () => server.framesOf("got").length === 2);
  assert.deepEqual(server.framesOf("got")[1], { channel_id: id, up_to: newest });
  assert.ok(core.connection.isAttached);
});
