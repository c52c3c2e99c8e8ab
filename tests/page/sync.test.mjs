// Catching up while the server refuses, hangs or is down.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Gaps } from "../../localstack/embedded-stack/page/gaps.js";
import { lowestIdAt, timeOf } from "../../localstack/embedded-stack/page/ids.js";
import { Store } from "../../localstack/embedded-stack/page/store.js";
import { storagesOn, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const FORBIDDEN = [403, { code: "forbidden" }];

function isLive(core) {
  return core.connection.phase === "live" && core.store.channelsKnown;
}

test("a refused channel or list of members does not delay own messages", async (t) => {
  const server = new FakeServer(["good", "bad"]);
  const [good, bad] = [server.idOf("good"), server.idOf("bad")];
  server.instead = (call, channelId) => {
    const isBad = (call === "GET /scroll" && channelId === bad) || call.endsWith("/members");
    return isBad ? FORBIDDEN : undefined;
  };
  const core = start(t);
  core.store.activeId = bad;
  await until("live", () => isLive(core));
  core.outbox.submit(bad, "to the channel that cannot be read");
  core.outbox.submit(good, "to the other one");
  await until("both are sent", () => server.posted.length === 2);
  const steps = core.store.log.entries.flatMap(({ steps }) => steps);
  assert.ok(
    steps.some((step) => step.startsWith("cannot read") && step.includes("# bad")),
    steps,
  );
});

test("a refused list leaves the page live", async (t) => {
  const server = new FakeServer(["good"]);
  server.instead = (call) => (call === "GET /channels" ? FORBIDDEN : undefined);
  const core = start(t);
  await until("live", () => core.connection.phase === "live");
});

test("an own message waits for its own channel only", async (t) => {
  const names = Array.from({ length: 40 }, (_, at) => `channel ${at}`);
  const server = new FakeServer(names);
  const core = start(t);
  core.store.activeId = server.idOf("channel 20");
  await until("live", () => isLive(core));
  // From now on most channels get no answer, and the open one only when the test allows it.
  const [open, other] = [server.idOf("channel 20"), server.idOf("channel 30")];
  let openGate;
  const gate = new Promise((resolve) => (openGate = resolve));
  let hanging = 0;
  server.instead = (call, channelId) => {
    if (call !== "GET /scroll" || channelId === other) return undefined;
    if (channelId === open) return gate;
    hanging += 1;
    return new Promise(() => {});
  };
  server.cut();
  await until("catching up", () => hanging === 3);
  core.outbox.submit(other, "to a channel that is not open");
  core.outbox.submit(open, "to the open channel");
  assert.deepEqual(server.posted, []);
  openGate();
  await until("both are sent", () => server.posted.length === 2);
  assert.ok(hanging <= 4, `${hanging} other channels were read meanwhile`);
});

test("a channel that appears while the list cannot be read is listed later", async (t) => {
  const server = new FakeServer(["old"]);
  const core = start(t);
  await until("live", () => isLive(core));
  let refused = 0;
  server.instead = (call, channelId) => {
    if (call === "GET /scroll" && channelId === "C1") return FORBIDDEN;
    if (call !== "GET /channels" || refused === 2) return undefined;
    refused += 1;
    return FORBIDDEN;
  };
  // A refused channel does not block the next one.
  for (const [channel_id, name] of [
    ["C1", "refused"],
    ["C2", "new"],
  ])
    server.channels.push({ ...server.channels[0], channel_id, name });
  server.push({ type: "channel", change: "created", channel_id: "C2", cursor: "c2" });
  await until("it was refused", () => refused > 0);
  const nudge = setInterval(() => core.networkMayBeBack(), 20);
  t.after(() => clearInterval(nudge));
  await until("the new channel is listed", () => core.store.channels.has("C2"));
  await until("and read", () => core.store.timeline("C2").historyOffset === null);
  assert.equal(refused, 2);
});

test("a resync of a node causes no second reconnect", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => isLive(core));
  server.resumed = true;
  server.cut();
  await until("live again", () => core.store.reconnect?.resumed && isLive(core));
  assert.equal(core.store.reconnect.isAsked, false);
  server.push({ type: "resync", reason: "stream", delay_ms: 0, cursor: "c3" });
  assert.equal(core.connection.phase, "catching_up");
  assert.equal(core.store.reconnect.isAsked, true);
  await until("live once more", () => isLive(core));
  assert.match(core.store.log.entries.at(-1).steps.at(-1), /^read again: nothing was missed/);
});

test("a hanging attempt ends when the user asks for a retry", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => isLive(core));
  let isHanging = true;
  server.instead = (call) =>
    call === "GET /connect" && isHanging ? new Promise(() => {}) : undefined;
  const connects = () => server.calls.filter((call) => call === "GET /connect").length;
  const before = connects();
  server.cut();
  await until("it hangs", () => connects() > before);
  isHanging = false;
  core.retryNow();
  await until("live again", () => isLive(core));
  assert.match(server.queries.at(-1), /failed=N1/, "the lost node is still reported");
});

test("a wait that the server asked for ends early only when the user asks for a retry", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => isLive(core));
  let answer = [503, { code: "unavailable", retryable: true, retry_after_ms: 60_000 }];
  server.instead = (call) => (call === "GET /connect" ? answer : undefined);
  server.cut();
  await until("it waits", () => core.connection.retryAt !== null);
  answer = undefined;
  core.networkMayBeBack();
  await new Promise(setImmediate);
  assert.equal(core.connection.phase, "reconnecting", "the server asked for this wait");
  core.retryNow();
  await until("live again", () => isLive(core));
});

/** A message of the only channel of `server`, as a page or a frame has it. */
function said(server, ms, rev = lowestIdAt(ms)) {
  const message = { channel_id: server.channels[0].channel_id, sender_id: "bob", message: "hi" };
  return { ...message, id: lowestIdAt(ms), rev, created_at: new Date(ms).toISOString() };
}

test("who is added to a channel again reads it afresh", async (t) => {
  const server = new FakeServer(["general"]);
  const { channel_id } = server.channels[0];
  const [old, older] = [said(server, 2_000), said(server, 1_000)];
  server.history = [old, older];
  const core = start(t);
  await until("live", () => isLive(core));
  const timeline = core.store.timeline(channel_id);
  assert.deepEqual(timeline.order, [older.id, old.id]);
  // The older one changed while the user was no member, and the page no longer has it. The frame of
  // the removal is lost.
  server.history = [said(server, 3_000), old];
  const answers = [];
  server.instead = (call) =>
    call === "GET /scroll" ? new Promise((answer) => answers.push(answer)) : undefined;
  const added = { type: "channel", channel_id, cursor: "c2" };
  server.push({ ...added, change: "member_added", user_id: "alice" });
  assert.deepEqual(timeline.order, [], "its copies may be outdated");
  await until("it is read", () => answers.length === 1);
  // The user is removed and added once more meanwhile.
  server.push({ ...added, change: "members_added", user_ids: ["bob", "alice"] });
  answers[0]([200, { messages: [old, older], next_offset: null }]);
  await until("it is read again", () => answers.length === 2);
  assert.deepEqual(timeline.order, [], "the first answer may be outdated, too");
  answers[1](undefined);
  await until("it is there", () => timeline.order.length === 2);
  assert.deepEqual(timeline.order, [old.id, lowestIdAt(3_000)]);
  server.push({ ...added, change: "member_added", user_id: "bob" });
  assert.equal(timeline.order.length, 2, "another user's membership");
});

test("what was pushed before the first page and is older than it is read on demand", async (t) => {
  const server = new FakeServer(["general"]);
  let answer;
  server.instead = (call) =>
    call === "GET /scroll" ? new Promise((answered) => (answer = answered)) : undefined;
  const core = start(t);
  await until("it is read", () => answer !== undefined);
  const [pushed, newest] = [said(server, 1_000), said(server, 9_000)];
  server.push({ type: "message", message: pushed, cursor: "c2" });
  const timeline = core.store.timeline(pushed.channel_id);
  assert.deepEqual(timeline.order, [pushed.id]);
  // Whether it changed since is not known: its change may have fallen into a gap.
  answer([200, { messages: [newest], next_offset: newest.id }]);
  await until("live", () => isLive(core));
  assert.deepEqual(timeline.order, [newest.id]);
});

test("what a reading brought stays, though changes of older messages are lost", async (t) => {
  const server = new FakeServer(["general"]);
  const channel_id = server.idOf("general");
  const core = start(t);
  await until("live", () => isLive(core));
  const timeline = core.store.timeline(channel_id);
  const at = (ms) => ({ id: lowestIdAt(Date.now() + ms), channel_id, sender_id: "bob", message: "hi" });
  const pages = [[at(1_000)], [at(2_000)], [at(3_000)]];
  const ids = pages.flat().map(({ id }) => id);
  server.instead = (call) => {
    if (call !== "GET /scroll") return undefined;
    const messages = pages.shift() ?? [];
    const next_offset = pages.length > 0 ? messages[0].id : null;
    return [200, { messages, next_offset, complete: false }];
  };
  server.cut();
  await until("all is read", () => timeline.order.includes(ids[2]));
  assert.deepEqual(timeline.order, ids);
});

test("a reading of one channel says nothing about another", () => {
  const store = new Store("demo", "alice", storagesOn());
  store.setChannels(["C1", "C2"].map((id) => ({ channel_id: id, type: "GROUP", name: id })));
  const gaps = new Gaps(store);
  for (const id of ["C1", "C2"]) store.timeline(id).historyOffset = null;
  const hour = 3_600_000;
  gaps.inStep(hour);
  gaps.open(["C1"]);
  gaps.logRead("C1", gaps.openingOf("C1"), 9 * hour);
  gaps.allRead(null, 9 * hour);
  // The frames of the other one are lost with their socket.
  gaps.open(null);
  assert.equal(timeOf(gaps.startOf("C1", null)), 9 * hour - 30_000);
  assert.equal(timeOf(gaps.startOf("C2", null)), hour - 600_000);
});
