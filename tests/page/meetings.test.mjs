// Channels that keep nothing: what is never read of them, and what is said in them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Core } from "../../localstack/embedded-stack/page/core.js";
import { Drafts } from "../../localstack/embedded-stack/page/drafts.js";
import { Gaps } from "../../localstack/embedded-stack/page/gaps.js";
import { timeOf } from "../../localstack/embedded-stack/page/ids.js";
import { meetingEdgeState, meetingRows } from "../../localstack/embedded-stack/page/meeting_view.js";
import { refusalWords } from "../../localstack/embedded-stack/page/meetings.js";
import { ownerOf } from "../../localstack/embedded-stack/page/sidebar.js";
import { meetingBytesOver } from "../../localstack/embedded-stack/page/text.js";
import { BrowserStorage, Locks, storagesOn, storeWith, until } from "./fakes.mjs";
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

test("a meeting has no gap, and holds up no other channel", () => {
  const { server, id, general } = serverWithMeeting();
  const store = storeWith({ channels: server.channels });
  const gaps = new Gaps(store);
  gaps.open(null);
  gaps.open([id]);
  assert.deepEqual([gaps.isBehind(id), gaps.isBehind(general)], [false, true]);
  assert.equal(store.timeline(id).gap, null);
  assert.deepEqual(store.keptLogs(), [general]);
});

test("counts and marks of a meeting are ignored", async (t) => {
  const { server, id } = serverWithMeeting();
  const up_to = "01MCC5RM000000000000000001";
  server.unread = [{ channel_id: id, epoch: 0, up_to: "", unread: 3, mentions: 1 }];
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

const [ONE, TWO, OTHER] = ["1", "2", "3"].map((end) => `01MCC5RM00000000000000000${end}`);
const MEETING_FRAMES = ["ping", "typing", "view", "join", "leave", "send"];

/** A page that is live and has opened a meeting, as a person does. */
async function inMeeting(t, core = undefined) {
  const { server, id } = serverWithMeeting();
  server.accepts = MEETING_FRAMES;
  core ??= start(t);
  await until("live", () => isLive(core));
  const closed = [];
  core.meetings.closed = (words) => closed.push(words.replaceAll(/[\u2068\u2069]/g, ""));
  const open = () => {
    core.store.activeId = id;
    core.meetings.open(core.store.active);
  };
  const joined = (at, missed, session = "S1") =>
    server.push({ type: "joined", channel_id: id, at: `${session}:${at}`, missed });
  const said = (n, text, messageId = messageIdOf(n), sender_id = "bob") =>
    server.push({
      type: "said",
      channel_id: id,
      n,
      message: { id: messageId, channel_id: id, sender_id, message: text },
    });
  const shown = () =>
    meetingRows(core.meetings.of(id)).map(({ text, message }) => text ?? message.message);
  const states = () => core.meetings.of(id).unsent.map(({ delivery }) => delivery);
  open();
  return { server, core, id, open, joined, said, shown, states, closed };
}

function messageIdOf(n) {
  return `01MCC5RM0000000000000001${String(n).padStart(2, "0")}`;
}

async function liveAgain(server, core) {
  const before = server.queries.length;
  server.cut();
  await until("live again", () => server.queries.length > before && isLive(core));
}

test("a meeting is joined when it is opened, once, and again on each new socket", async (t) => {
  const { server, core, id, open, joined, said } = await inMeeting(t);
  open();
  assert.deepEqual(server.framesOf("join"), [{ channel_id: id }]);
  assert.equal(core.meetings.of(id).state, "joining");
  joined(4, 4);
  assert.equal(core.meetings.of(id).state, "joined");
  said(5, "five");
  core.store.activeId = server.idOf("general");
  core.meetings.open(core.store.active);
  assert.equal(core.meetings.of(core.store.activeId), null);
  await liveAgain(server, core);
  assert.deepEqual(server.framesOf("join").at(-1), { channel_id: id, after: "S1:5" });
  open();
  assert.equal(server.framesOf("join").length, 2);
});

test("an address that names a meeting joins it once it is listed", async (t) => {
  const { server, id } = serverWithMeeting();
  server.accepts = MEETING_FRAMES;
  const core = start(t);
  core.store.activeId = id;
  await until("joined", () => server.framesOf("join").length === 1);
});

test("a node that does not take the frames gets none", async (t) => {
  const { server, id } = serverWithMeeting();
  const core = start(t);
  core.store.activeId = id;
  await until("live", () => isLive(core));
  core.submit(id, "hello", []);
  assert.deepEqual([...server.framesOf("join"), ...server.framesOf("send")], []);
  assert.equal(core.connection.accepts("join"), false);
  assert.equal(meetingEdgeState(core.meetings.of(id), false), "meeting unknown");
  assert.equal(meetingEdgeState(core.meetings.of(id), true), "meeting waiting");
  assert.equal(core.meetings.of(id).unsent[0].reason, "there is no connection");
});

test("leaving the channel or the page leaves the meeting", async (t) => {
  const { server, core, id, joined } = await inMeeting(t);
  joined(2, 2);
  core.meetings.pageGoes();
  assert.deepEqual(server.framesOf("leave"), [{ channel_id: id }]);
  core.meetings.pageIsBack();
  assert.deepEqual(server.framesOf("join").at(-1), { channel_id: id, after: "S1:2" });
  core.meetings.close(id);
  assert.equal(server.framesOf("leave").length, 2);
  assert.equal(core.meetings.of(id), null);
});

test("the meetings that were opened the longest ago are left, above 16", async (t) => {
  const names = Array.from({ length: 17 }, (_, at) => `m${at}`);
  const server = new FakeServer(names);
  server.accepts = MEETING_FRAMES;
  for (const name of names) server.keepNothing(name);
  const core = start(t);
  await until("live", () => isLive(core));
  for (const channel of server.channels.slice(0, 16)) core.meetings.open(channel);
  core.meetings.open(server.channels[0]);
  core.meetings.open(server.channels[16]);
  assert.deepEqual(server.framesOf("leave"), [{ channel_id: server.channels[1].channel_id }]);
});

test("who comes late or comes back is told how many messages they missed", async (t) => {
  const { core, id, joined, said, shown, server } = await inMeeting(t);
  joined(2, 2);
  assert.deepEqual(shown(), ["You missed 2 messages"]);
  said(2, "said before");
  said(3, "three");
  await liveAgain(server, core);
  joined(4, 1);
  said(5, "five");
  await liveAgain(server, core);
  joined(5, 0);
  joined(0, null, "S2");
  said(1, "a new session", OTHER);
  assert.deepEqual(shown(), [
    "You missed 2 messages",
    "three",
    "You missed 1 message",
    "five",
    "You may have missed messages",
    "a new session",
  ]);
  assert.equal(core.meetings.of(id).after, "S2:1");
});

test("a hole in the numbers is counted, and a message that comes twice is shown once", async (t) => {
  const { joined, said, shown } = await inMeeting(t);
  joined(0, 0);
  said(1, "one");
  said(4, "four");
  said(4, "four again");
  said(5, "one again", messageIdOf(1));
  said(7, "seven");
  assert.deepEqual(shown(), ["one", "2 messages were lost", "four", "1 message was lost", "seven"]);
});

test("own messages whose number is known are no hole, and stand where they were said", async (t) => {
  const { server, core, id, joined, said, shown, states } = await inMeeting(t);
  joined(0, 0);
  core.submit(id, "mine", []);
  const [{ ref, id: messageId }] = server.framesOf("send");
  // The answer comes before what was said, and the own copy is lost.
  server.push({ type: "accepted", ref, id: messageId, n: 2, replicated: false });
  said(1, "theirs");
  said(3, "next");
  assert.deepEqual(shown(), ["theirs", "mine", "next"]);
  assert.deepEqual(states(), []);
  core.submit(id, "mine too", []);
  const second = server.framesOf("send")[1];
  assert.ok(second.id > messageId && second.ref !== ref);
  said(4, "mine too", second.id, "alice");
  assert.deepEqual(states(), []);
  server.push({ type: "accepted", ref: second.ref, id: second.id, n: 4, replicated: false });
  said(5, "last");
  assert.deepEqual(shown(), ["theirs", "mine", "next", "mine too", "last"]);
  // An own message that was taken counts as heard by who comes back.
  core.submit(id, "before the loss", []);
  const third = server.framesOf("send")[2];
  server.push({ type: "accepted", ref: third.ref, id: third.id, n: 6, replicated: false });
  await liveAgain(server, core);
  joined(8, 3);
  assert.deepEqual(shown().slice(-2), ["before the loss", "You missed 2 messages"]);
});

test("some hundreds of lines are kept", async (t) => {
  const { joined, said, shown } = await inMeeting(t);
  joined(0, 0);
  for (let n = 1; n <= 310; n += 1) said(n, `m${n}`, `01MCC5RM00000000000001${String(n).padStart(4, "0")}`);
  assert.equal(shown().length, 300);
  assert.deepEqual([shown()[0], shown().at(-1)], ["m11", "m310"]);
});

test("a message is on its way until it is accepted, and fails with a retry", async (t) => {
  const { server, core, id, joined, states, shown } = await inMeeting(t);
  joined(0, 0);
  core.submit(id, "hello", []);
  const [first] = server.framesOf("send");
  assert.deepEqual({ ...first, id: null }, { ref: 1, channel_id: id, id: null, message: "hello" });
  assert.ok(Math.abs(timeOf(first.id) - core.api.clock.now()) < 5_000);
  assert.deepEqual(states(), ["sending"]);
  server.push({ type: "refused", ref: 1, code: "rate_limited", retryable: true, retry_after_ms: 1_200 });
  assert.deepEqual(states(), ["failed"]);
  assert.equal(core.meetings.of(id).unsent[0].reason, "too many at once: wait 2 s");
  assert.equal(core.hasUnsaved, true);
  assert.equal(core.meetings.retry(first.id), true);
  assert.deepEqual(states(), ["sending"]);
  await liveAgain(server, core);
  assert.equal(core.meetings.of(id).unsent[0].reason, "the connection ended before the answer");
  core.meetings.retry(first.id);
  const frames = server.framesOf("send");
  assert.deepEqual(frames.map((frame) => frame.id), [first.id, first.id, first.id]);
  assert.equal(new Set(frames.map(({ ref }) => ref)).size, 3);
  joined(1, 1);
  server.push({ type: "accepted", ref: frames[2].ref, id: first.id, n: 2, replicated: false });
  assert.deepEqual(shown(), ["You missed 1 message", "hello"]);
  assert.equal(core.meetings.retry(OTHER), false);
  assert.equal(core.hasUnsaved, false);
});

test("a failed message can be discarded", async (t) => {
  const { server, core, id, states } = await inMeeting(t);
  core.submit(id, "hello", []);
  const [{ id: messageId }] = server.framesOf("send");
  assert.equal(core.meetings.discard(messageId), true);
  assert.deepEqual(states(), []);
  assert.equal(core.meetings.discard(messageId), false);
});

test("nothing of a meeting is written to storage, posted or counted", async (t) => {
  const [local, session] = [new BrowserStorage(), new BrowserStorage()];
  const written = [];
  for (const storage of [local, session])
    storage.setItem = (key, text) => written.push(key + text);
  const core = new Core("demo", "alice", storagesOn({ local, session }), new Locks());
  t.after(() => core.setOffline(true));
  core.start();
  const { server, id, joined, said } = await inMeeting(t, core);
  joined(0, 0);
  said(1, "needle one", messageIdOf(1), "erin");
  core.submit(id, "needle two", []);
  core.store.drafts.setPassing(id, "needle three");
  // A kept channel's text is written: the test would see it.
  core.submit(server.idOf("general"), "control", []);
  await until("it is posted", () => server.posted.length === 1);
  assert.ok(written.some((text) => text.includes("control")));
  await liveAgain(server, core);
  await core.readState.flush();
  assert.equal(core.store.drafts.get(id), "needle three");
  assert.equal(core.hasUnsaved, true);
  assert.deepEqual(written.filter((text) => /needle/.test(text) || text.includes(id)), []);
  assert.deepEqual(server.posted, ["control"]);
  assert.ok(server.marks.every((mark) => mark.channel_id !== id));
  assert.equal(core.store.unread.of(id), 0);
  assert.ok(core.store.messages().every((message) => message.channel_id !== id));
  assert.ok(core.store.shownPeople().has("erin"));
});

test("text for a meeting is kept until the page goes, and no longer", () => {
  const { session } = storagesOn();
  const drafts = new Drafts(session, "demo", "alice");
  drafts.setPassing("C1", "half a sentence");
  assert.equal(drafts.get("C1"), "half a sentence");
  assert.equal(new Drafts(session, "demo", "alice").get("C1"), "");
  drafts.setPassing("C1", "");
  assert.equal(drafts.hasPassing, false);
});

test("a meeting that ends is closed for everybody, with a notice", async (t) => {
  const { server, core, id, joined, closed } = await inMeeting(t);
  joined(0, 0);
  server.push({ type: "ended", channel_id: id, cursor: "c-end" });
  assert.deepEqual(closed, ["The meeting stand-up has ended."]);
  assert.equal(core.meetings.of(id), null);
  assert.equal(core.store.active, null);
  assert.equal(core.store.isInMeeting(id), true);
  assert.equal(core.connection.cursor, "c-end");
  server.push({ type: "ended", channel_id: id });
  assert.equal(closed.length, 1);
});

test("a join that is refused is tried again, until the list says that the meeting is gone", async (t) => {
  const { server, core, id, closed } = await inMeeting(t);
  server.push({ type: "refused", channel_id: id, code: "channel_not_found", retryable: false });
  assert.match(meetingEdgeState(core.meetings.of(id), true), /^meeting refused: the meeting is over/);
  core.meetings.joinAgain(id);
  assert.equal(server.framesOf("join").length, 2);
  server.push({ type: "refused", channel_id: id, code: "channel_not_found", retryable: false });
  server.channels = server.channels.filter((channel) => channel.channel_id !== id);
  await until("closed", () => closed.length > 0);
  assert.deepEqual(closed, ["The meeting stand-up has ended, or you are no longer in it."]);
  assert.equal(core.meetings.of(id), null);
});

test("a join that is refused for a while is repeated by itself", async (t) => {
  const { server, id, core } = await inMeeting(t);
  const refused = { type: "refused", channel_id: id, code: "unavailable", retryable: true };
  server.push({ ...refused, retry_after_ms: 1 });
  assert.equal(core.meetings.of(id).state, "refused");
  await until("joins again", () => server.framesOf("join").length === 2);
});

test("a message ends the typing of its sender", async (t) => {
  const { server, core, id, joined, said } = await inMeeting(t);
  joined(0, 0);
  server.push({ type: "typing", channel_id: id, users: ["bob", "carol"], more: 0 });
  assert.deepEqual(core.typing.in(id).users, ["bob", "carol"]);
  said(1, "done");
  assert.deepEqual(core.typing.in(id).users, ["carol"]);
});

test("messages of one sender that follow each other are drawn together, but not over a note", () => {
  const message = (id, sender_id) => ({ id, sender_id, message: id });
  const lines = [
    { key: ONE, message: message(ONE, "bob") },
    { key: TWO, message: message(TWO, "bob") },
    { key: "note 1", text: "1 message was lost" },
    { key: OTHER, message: message(OTHER, "bob") },
  ];
  const rows = meetingRows({ lines, unsent: [message(messageIdOf(9), "alice")] });
  assert.deepEqual(rows.map(({ compact }) => compact), [false, true, undefined, false, false]);
  assert.equal(rows[2].kind, "lost");
});

test("a text has at most 4 KiB of UTF-8", () => {
  assert.equal(meetingBytesOver("a".repeat(4_096)), 0);
  assert.equal(meetingBytesOver("a".repeat(4_097)), 1);
  assert.equal(meetingBytesOver("\u20ac".repeat(1_366)), 2);
  assert.ok(meetingBytesOver("\u20ac".repeat(1_365)) <= 0);
});

test("refusals are in plain English", () => {
  assert.equal(refusalWords({ code: "rate_limited" }), "too many at once: wait a moment");
  assert.equal(refusalWords({ code: "message_too_long" }), "the text is too long");
  assert.equal(refusalWords({ code: "some_new_code" }), "some new code");
});

test("the creator owns a channel or, without them, its oldest member", () => {
  const members = [
    { user_id: "carol", joined_at: "2026-01-03T00:00:00Z" },
    { user_id: "bob", joined_at: "2026-01-02T00:00:00Z" },
  ];
  assert.equal(ownerOf({ created_by: "carol" }, members), "carol");
  assert.equal(ownerOf({ created_by: "alice" }, members), "bob");
});
