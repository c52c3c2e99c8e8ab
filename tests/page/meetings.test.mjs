// Channels that keep nothing: what is never read of them, and what is said in them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const NOT_KEPT = [409, { code: "not_kept" }];

function isLive(core) {
  return core.connection.phase === "live" && core.store.channelsKnown;
}

function stepsOf(core) {
  return core.store.log.entries.flatMap(({ steps }) => steps);
}

/** A server that has a kept channel and a meeting, and says which channels are read. */
function serverWithMeeting() {
  const server = new FakeServer(["general", "stand-up"]);
  const id = server.keepNothing("stand-up");
  const read = [];
  server.instead = (call, channelId) => {
    if (call === "GET /scroll") read.push(channelId);
    return call === "GET /scroll" && channelId === id ? NOT_KEPT : undefined;
  };
  return { server, id, read, general: server.idOf("general") };
}

test("a meeting is never read, however often the page catches up", async (t) => {
  const { server, id, read, general } = serverWithMeeting();
  const core = start(t);
  core.store.activeId = id;
  await until("live", () => isLive(core));
  server.cut();
  await until("live again", () => core.store.reconnect !== null && isLive(core));
  server.push({ type: "resync", reason: "stream", delay_ms: 0, channels: [id, general], cursor: "c2" });
  await until("live once more", () => core.store.reconnect.isAsked && isLive(core));
  server.push({ type: "channel", change: "renamed", channel_id: id, cursor: "c3" });
  const lists = () => server.calls.filter((call) => call === "GET /channels").length;
  const before = lists();
  await until("the list is read again", () => lists() > before);
  await core.sync.loadOlder(id);
  assert.ok(read.includes(general));
  assert.ok(!read.includes(id), read);
  assert.ok(!core.sync.isBehind(id));
});

test("counts and marks of a meeting are ignored", async (t) => {
  const { server, id } = serverWithMeeting();
  const up_to = "01MCC5RM000000000000000001";
  server.unread = [{ channel_id: id, epoch: 0, up_to, unread: 3, mentions: 1 }];
  const core = start(t);
  await until("live", () => isLive(core));
  server.push({ type: "read", channel_id: id, epoch: 1, up_to });
  assert.equal(core.store.unread.of(id), 0);
  assert.equal(core.store.unread.mentionsOf(id), 0);
  assert.equal(core.store.unread.hasMark(id), false);
});

test("a channel that turns out to keep nothing is no error and holds up nothing", async (t) => {
  for (const code of ["not_kept", "wrong_contract"]) {
    const server = new FakeServer(["general", "unmarked"]);
    const unmarked = server.idOf("unmarked");
    server.instead = (call, channelId) =>
      call === "GET /scroll" && channelId === unmarked ? [409, { code }] : undefined;
    const core = start(t);
    await until("live", () => isLive(core));
    assert.ok(!core.sync.isBehind(unmarked));
    assert.deepEqual(stepsOf(core).filter((step) => step.startsWith("cannot read")), []);
  }
});
