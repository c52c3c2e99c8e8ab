// Read marks and unread counts: those of the server, of other devices, and of this page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { ReadMarks } from "../../localstack/embedded-stack/page/marks.js";
import { BrowserStorage, GENERAL, storagesOn, storeWith, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const ID = GENERAL.channel_id;

function message(ms, sender = "bob", channelId = ID) {
  const id = lowestIdAt(ms);
  return { id, rev: id, channel_id: channelId, sender_id: sender, message: `at ${ms}` };
}

/** A store with messages of bob at 1 to 5 ms, none of them read. */
function withFive() {
  const store = storeWith({});
  store.unread.isReading = () => false;
  for (const ms of [1, 2, 3, 4, 5]) store.deliver(message(ms), "push");
  return store;
}

test("a mark moves forward only, and the next epoch begins anywhere", () => {
  const marks = new ReadMarks(storagesOn().local, "demo", "alice");
  assert.equal(marks.take(ID, 0, lowestIdAt(3)), true);
  assert.equal(marks.take(ID, 0, lowestIdAt(2)), false);
  assert.equal(marks.take(ID, 1, lowestIdAt(1)), true);
  assert.equal(marks.take(ID, 0, lowestIdAt(9)), false);
  assert.deepEqual([marks.epochOf(ID), marks.of(ID)], [1, lowestIdAt(1)]);
  assert.equal(marks.moveTo(ID, lowestIdAt(4)), true);
  assert.equal(marks.epochOf(ID), 1);
});

test("marks of an earlier version of the page are in the first epoch", () => {
  const local = new BrowserStorage();
  local.setItem("inkwire.read.demo.alice", JSON.stringify({ [ID]: lowestIdAt(3) }));
  const marks = new ReadMarks(storagesOn({ local }).local, "demo", "alice");
  assert.deepEqual([marks.epochOf(ID), marks.of(ID)], [0, lowestIdAt(3)]);
  assert.equal(marks.take(ID, 0, lowestIdAt(2)), false);
});

test("what another device read is read here, and a mark that came late changes nothing", () => {
  const store = withFive();
  store.unread.takeMark(ID, 0, lowestIdAt(4));
  assert.equal(store.unread.of(ID), 1);
  store.unread.takeMark(ID, 0, lowestIdAt(2));
  assert.equal(store.unread.of(ID), 1);
});

test("what another device marked unread stays unread until the channel is opened again", () => {
  const store = withFive();
  store.unread.markRead(ID);
  assert.equal(store.unread.of(ID), 0);
  store.unread.takeMark(ID, 1, lowestIdAt(3));
  assert.equal(store.unread.of(ID), 2);
  assert.equal(store.timeline(ID).keepsUnread, true);
  store.unread.markRead(ID);
  assert.deepEqual(store.unread.markOf(ID), { channel_id: ID, up_to: lowestIdAt(5), epoch: 1 });
});

test("the server's count is shown if it is more than what is here, and goes when it is read", () => {
  const store = withFive();
  store.unread.takeCounts({ channel_id: ID, epoch: 0, up_to: lowestIdAt(0), unread: "99+" });
  assert.equal(store.unread.of(ID), 100);
  store.deliver(message(6), "push");
  assert.equal(store.unread.of(ID), 101);
  // The mark here moved since the server counted.
  store.unread.markRead(ID);
  store.unread.takeCounts({ channel_id: ID, epoch: 0, up_to: lowestIdAt(0), unread: 7 });
  assert.equal(store.unread.of(ID), 0);
});

test("a first visit takes the server's marks, and what is read is sent in one call", async (t) => {
  const server = new FakeServer(["open", "other"]);
  const [open, other] = [server.idOf("open"), server.idOf("other")];
  server.history = [message(9, "bob", other), message(8, "bob", other)];
  server.unread = [
    { channel_id: open, epoch: 0, up_to: lowestIdAt(0), unread: 0, mentions: 0 },
    { channel_id: other, epoch: 2, up_to: lowestIdAt(8), unread: 1, mentions: 0 },
  ];
  const core = start(t);
  const { store } = core;
  await until("the count is here", () => store.unread.of(other) === 1);
  await until("live", () => core.connection.phase === "live");
  assert.deepEqual(store.unread.markOf(other), { channel_id: other, up_to: lowestIdAt(8), epoch: 2 });
  store.unread.markRead(other);
  assert.equal(server.calls.filter((call) => call === "POST /read").length, 0, "not at once");
  await core.readState.flush();
  const sent = server.marks.filter(({ channel_id: id }) => id === other);
  assert.deepEqual(sent, [{ channel_id: other, up_to: lowestIdAt(9), epoch: 2 }]);
  server.push({ type: "read", channel_id: other, epoch: 3, up_to: lowestIdAt(7) });
  assert.equal(store.unread.of(other), 2);
  // A mark in a thread, of a later version, says nothing about the channel.
  const frame = { type: "read", channel_id: other, epoch: 9, up_to: lowestIdAt(9) };
  server.push({ ...frame, thread: lowestIdAt(8) });
  assert.equal(store.unread.of(other), 2);
});

test("a refused call for counts or marks holds nothing up", async (t) => {
  const server = new FakeServer(["open"]);
  const open = server.idOf("open");
  server.history = [message(9, "bob", open)];
  const isReadState = (call) => call === "GET /unread" || call === "POST /read";
  server.instead = (call) => (isReadState(call) ? [503, { code: "unavailable" }] : undefined);
  const core = start(t);
  await until("live", () => core.connection.phase === "live");
  core.store.unread.markRead(open);
  await core.readState.flush();
  server.instead = () => undefined;
  await core.readState.flush();
  assert.deepEqual(server.marks.map(({ up_to: upTo }) => upTo), [lowestIdAt(9)]);
});
