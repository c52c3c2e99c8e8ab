// Threads in the page: replies apart from the channel, catch-up, sending, marks, the followed ones.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Api, Problem } from "../../localstack/embedded-stack/page/api.js";
import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { Listing } from "../../localstack/embedded-stack/page/listing.js";
import { logOf, namesOf, rootOf } from "../../localstack/embedded-stack/page/logs.js";
import { Outbox } from "../../localstack/embedded-stack/page/outbox.js";
import { Reactions } from "../../localstack/embedded-stack/page/reactions.js";
import { Threads } from "../../localstack/embedded-stack/page/threads.js";
import { BrowserStorage, FakeApi, GENERAL, storagesOn, storeWith, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const ID = GENERAL.channel_id;
const ROOT = lowestIdAt(1_000);
const THREAD = logOf(ID, ROOT);

function root(fields = {}, channelId = ID) {
  const base = { id: ROOT, rev: ROOT, channel_id: channelId, sender_id: "bob", message: "root" };
  return { ...base, ...fields };
}

/** A reply of bob in the thread of `ROOT`. */
function reply(ms, fields = {}, channelId = ID) {
  const id = lowestIdAt(ms);
  const base = { id, rev: id, channel_id: channelId, thread: ROOT, sender_id: "bob" };
  return { ...base, message: `at ${ms}`, ...fields };
}

function summary(count, last) {
  return { count, last: lowestIdAt(last), users: ["bob"] };
}

/** A page that is live, with one channel, and the thread of `ROOT` in it. */
async function live(t, prepare = () => {}) {
  const server = new FakeServer(["general"]);
  const channelId = server.idOf("general");
  prepare(server, channelId);
  const core = start(t);
  await until("live", () => isLive(core));
  return { server, core, store: core.store, channelId, thread: logOf(channelId, ROOT) };
}

function isLive(core) {
  return core.connection.phase === "live" && core.store.channelsKnown;
}

/** Cuts the socket, and waits for the catch-up after it. */
async function reconnect(server, core) {
  const before = core.store.reconnect;
  server.cut();
  await until("live again", () => core.store.reconnect !== before && isLive(core));
}

function texts(store, log) {
  const { order, messages } = store.timeline(log);
  return order.map((id) => messages.get(id).message);
}

test("the name of a log says its channel and its root", () => {
  assert.deepEqual(namesOf(THREAD), { channel_id: ID, thread: ROOT });
  assert.deepEqual(namesOf(ID), { channel_id: ID });
  assert.deepEqual([rootOf(THREAD), rootOf(ID)], [ROOT, undefined]);
});

test("a reply is kept apart from the channel, and neither replaces the other", () => {
  const store = storeWith();
  store.unread.isReading = () => false;
  store.deliver(root(), "push");
  // The same id, in the thread: another message.
  store.deliver(reply(1_000, { rev: lowestIdAt(9_000), message: "twin" }), "history");
  store.deliver(reply(2_000), "push");
  assert.deepEqual([texts(store, ID), texts(store, THREAD)], [["root"], ["twin", "at 2000"]]);
  assert.deepEqual([store.unread.of(ID), store.unread.of(THREAD)], [1, 1]);
});

test("of copies of a reply the one with the greatest revision stays", () => {
  const store = storeWith();
  store.deliver(reply(2_000), "push");
  const edited = reply(2_000, { message: "edited", rev: lowestIdAt(5_000) });
  assert.equal(store.deliver(edited, "push"), "changed");
  assert.equal(store.deliver(reply(2_000), "push"), "duplicate");
  assert.deepEqual(texts(store, THREAD), ["edited"]);
});

test("a change of a reply that was never read is not taken until its thread is opened", () => {
  const store = storeWith();
  const changed = reply(2_000, { rev: lowestIdAt(5_000) });
  assert.equal(store.deliver(changed, "push"), "unread");
  assert.deepEqual([texts(store, THREAD), store.unread.of(THREAD)], [[], 0]);
  store.keepThread(THREAD);
  assert.equal(store.deliver(changed, "push"), "new");
});

test("the summary of a root follows its change frame, and ends with the copy that has none", () => {
  const store = storeWith();
  store.deliver(root(), "push");
  const at = (ms, replies) => root({ rev: lowestIdAt(ms), replies });
  store.deliver(at(3_000, summary(2, 2_500)), "push");
  store.deliver(at(2_000, summary(1, 2_000)), "push");
  const here = () => store.timeline(ID).messages.get(ROOT);
  assert.equal(here().replies.count, 2, "an older copy takes nothing back");
  store.deliver(root({ rev: lowestIdAt(4_000) }), "push");
  assert.equal(here().replies, undefined);
});

test("a root that is older than what was read is kept up to date", () => {
  const store = storeWith();
  store.timeline(ID).historyOffset = lowestIdAt(50_000);
  store.roots.keep(root());
  const changed = root({ rev: lowestIdAt(3_000), replies: summary(1, 2_000) });
  delete changed.message;
  assert.equal(store.deliver(changed, "push"), "unread");
  const { message, replies } = store.find(ID, ROOT);
  assert.deepEqual([message, replies.count, store.timeline(ID).order], ["root", 1, []]);
});

test("replies that come by socket stay out of the channel", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  const seen = [];
  core.threads.replied = ({ message }) => seen.push(message);
  const sent = reply(2_000, {}, channelId);
  server.push({ type: "message", cursor: "c2", message: sent });
  const edited = { ...sent, message: "edited", rev: lowestIdAt(3_000) };
  server.push({ type: "message_changed", cursor: "c3", message: edited });
  assert.deepEqual(seen, ["at 2000"], "a new reply may be the user's first in its thread");
  assert.deepEqual([texts(store, channelId), texts(store, thread)], [[], ["edited"]]);
});

test("a thread is read when it is opened, and caught up as long as it is kept", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  const [one, two] = [reply(2_000, {}, channelId), reply(3_000, {}, channelId)];
  server.replies.set(ROOT, [two, one]);
  await core.sync.openThread(thread);
  assert.deepEqual(texts(store, thread), ["at 2000", "at 3000"]);
  // While the page is away: a reply, an edit and a deletion.
  const deleted = { at: "2027-01-15T08:00:00.000Z", by: "bob" };
  server.replies.set(ROOT, [
    { ...one, message: "edited", rev: lowestIdAt(5_000) },
    { ...two, message: "", deleted, rev: lowestIdAt(6_000) },
    reply(7_000, {}, channelId),
  ]);
  await reconnect(server, core);
  assert.deepEqual(texts(store, thread), ["edited", "", "at 7000"]);
  assert.equal(store.timeline(thread).gap, null);
});

test("after a resync that names its channel, an open thread is read too", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  await core.sync.openThread(thread);
  server.replies.set(ROOT, [reply(2_000, {}, channelId)]);
  const resync = { type: "resync", reason: "stream", delay_ms: 0, cursor: "c2" };
  server.push({ ...resync, channels: [channelId] });
  await until("live again", () => isLive(core) && texts(store, thread).length === 1);
});

test("an open thread is read if its root counts a reply that did not come", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  const one = reply(2_000, {}, channelId);
  server.replies.set(ROOT, [one]);
  await core.sync.openThread(thread);
  const counts = (count, last) => {
    return root({ rev: lowestIdAt(last + 1), replies: summary(count, last) }, channelId);
  };
  const change = (message) => server.push({ type: "message_changed", cursor: "c2", message });
  change(counts(1, 2_000));
  assert.equal(store.timeline(thread).gap, null, "this one is here");
  server.replies.set(ROOT, [one, reply(3_000, {}, channelId)]);
  change(counts(2, 3_000));
  await until("it is read", () => isLive(core) && texts(store, thread).length === 2);
});

test("a thread that nobody opened is not read", async (t) => {
  const { server, core, channelId } = await live(t);
  server.push({ type: "message", cursor: "c2", message: reply(2_000, {}, channelId) });
  const reads = [];
  server.instead = (call, _, query) => {
    if (call === "GET /scroll") reads.push(query.get("thread"));
  };
  await reconnect(server, core);
  assert.deepEqual(reads, [null]);
});

test("a thread that is opened while there is no socket is read by the next catch-up", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  server.replies.set(ROOT, [reply(2_000, {}, channelId)]);
  server.resumed = true;
  let connect;
  server.instead = (call) =>
    call === "GET /connect" ? new Promise((answer) => (connect = answer)) : undefined;
  server.cut();
  await core.sync.openThread(thread);
  assert.deepEqual(texts(store, thread), [], "what is stored meanwhile would be missing");
  await until("it connects", () => connect !== undefined);
  server.instead = () => undefined;
  connect(undefined);
  await until("it is read", () => texts(store, thread).length === 1);
  await until("live", () => isLive(core));
});

test("an edit whose text was left out reads the thread alone", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  const sent = reply(2_000, {}, channelId);
  server.replies.set(ROOT, [sent]);
  await core.sync.openThread(thread);
  const edited = {
    ...sent,
    message: "edited",
    rev: lowestIdAt(5_000),
    text_rev: lowestIdAt(5_000),
  };
  server.replies.set(ROOT, [edited]);
  const reads = [];
  server.instead = (call, _, query) => {
    if (call === "GET /scroll") reads.push(query.get("thread"));
  };
  const { message: _, ...bare } = edited;
  server.push({ type: "message_changed", cursor: "c2", message: bare });
  await until("the text is here", () => texts(store, thread)[0] === "edited");
  assert.deepEqual(reads, [ROOT]);
});

test("who is added to a channel again reads its threads afresh", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  server.replies.set(ROOT, [reply(2_000, {}, channelId)]);
  await core.sync.openThread(thread);
  const added = { type: "channel", change: "member_added", channel_id: channelId, cursor: "c2" };
  server.push({ ...added, user_id: "alice" });
  assert.deepEqual([texts(store, thread), store.timeline(thread).isKept], [[], false]);
  await core.sync.openThread(thread);
  assert.deepEqual(texts(store, thread), ["at 2000"]);
});

test("of many opened threads the latest ones are kept up to date", () => {
  const store = storeWith();
  const threads = Array.from({ length: 12 }, (_, at) => logOf(ID, lowestIdAt(at + 1)));
  for (const thread of threads) store.keepThread(thread);
  assert.deepEqual(store.keptLogs(), [ID, ...threads.slice(2)].sort());
});

function outboxOn(session, api = new FakeApi()) {
  const storages = storagesOn({ session });
  const store = storeWith({ storages });
  return { api, store, outbox: new Outbox(api, store, storages.session, () => false) };
}

test("a reply keeps its thread in the queue and over a reload", async () => {
  const session = new BrowserStorage();
  const before = outboxOn(session);
  before.outbox.submit(THREAD, "queued");
  assert.deepEqual([texts(before.store, ID), texts(before.store, THREAD)], [[], ["queued"]]);
  const { api, store, outbox } = outboxOn(session);
  outbox.restore("own");
  assert.deepEqual(texts(store, THREAD), ["queued"]);
  outbox.release();
  await until("it is sent", () => outbox.unsent === 0);
  const [{ channel_id, thread, message }] = api.sent;
  assert.deepEqual([channel_id, thread, message], [ID, ROOT, "queued"]);
  assert.deepEqual([texts(store, ID), texts(store, THREAD)], [[], ["queued"]]);
});

test("a reply is sent after the newest reply that is here, not after a message", async () => {
  const { api, store, outbox } = outboxOn(new BrowserStorage());
  const { serverTime } = api;
  store.deliver(reply(serverTime - 9_000), "push");
  store.deliver({ ...root(), id: lowestIdAt(serverTime - 1_000) }, "push");
  outbox.submit(THREAD, "reply");
  outbox.submit(ID, "message");
  outbox.release();
  await until("both are sent", () => outbox.unsent === 0);
  const after = Object.fromEntries(api.sent.map((body) => [body.message, body.after]));
  const [reply_after, message_after] = [9_000, 1_000].map((ms) => lowestIdAt(serverTime - ms));
  assert.deepEqual(after, { reply: reply_after, message: message_after });
});

test("a reply that waits holds up no message of its channel", async () => {
  const { api, outbox } = outboxOn(new BrowserStorage());
  let answerReply;
  api.answer = (body) =>
    body.thread
      ? new Promise((answer) => (answerReply = () => answer(api.stored(body))))
      : api.stored(body);
  outbox.submit(THREAD, "reply");
  outbox.submit(ID, "message");
  outbox.release();
  await until("the message is stored", () => outbox.unsent === 1);
  answerReply();
  await until("and the reply", () => outbox.unsent === 0);
});

test("a refused reply says why, and a retry sends it again to its thread", async () => {
  const { api, store, outbox } = outboxOn(new BrowserStorage());
  api.answer = () => {
    throw new Problem(409, { code: "message_deleted", field: "thread" });
  };
  outbox.submit(THREAD, "late");
  outbox.release();
  const [local] = store.timeline(THREAD).unsent();
  await until("it failed", () => local.delivery === "failed");
  assert.equal(local.reason, "the message was deleted, and takes no replies");
  api.answer = (body) => api.stored(body);
  outbox.retry(local.id);
  await until("it is sent", () => outbox.unsent === 0);
  assert.deepEqual(
    api.sent.map(({ thread }) => thread),
    [ROOT, ROOT],
  );
});

test("text for a thread of a lost channel is listed and kept", () => {
  const store = storeWith();
  store.drafts.set(THREAD, store.labelOf(GENERAL), "half a reply");
  store.setChannels([]);
  assert.deepEqual(
    store.formerWithText().map(({ channel_id: log, name }) => [log, name]),
    [[THREAD, "general, thread"]],
  );
});

test("a click on a reaction of a reply changes the reply, not a message with its id", async () => {
  const store = storeWith();
  store.deliver({ ...root(), thread: undefined }, "push");
  store.deliver(reply(1_000), "push");
  const calls = [];
  const answer = reply(1_000, {
    rev: lowestIdAt(2_000),
    reactions: [{ emoji: "👍", count: 1, users: ["alice"], mine: true }],
  });
  const react = async (...args) => {
    calls.push(args.slice(0, 3));
    return answer;
  };
  const reactions = new Reactions({ clock: { now: () => 3_000 }, react }, store);
  const done = reactions.toggle(store.find(THREAD, ROOT), "👍");
  assert.equal(reactions.of(store.find(ID, ROOT)).length, 0);
  assert.equal(reactions.of(store.find(THREAD, ROOT)).length, 1);
  await done;
  assert.deepEqual(calls, [[THREAD, ROOT, "👍"]]);
  assert.equal(store.find(THREAD, ROOT).reactions[0].mine, true);
});

test("calls on a reply name its thread", async () => {
  const api = new Api("demo", "alice");
  const paths = [];
  api.request = async (method, path) => paths.push(`${method} ${path}`);
  await api.editMessage("C1.R1", "M1", {});
  await api.deleteMessage("C1", "M1");
  await api.react("C1.R1", "M1", ":+1:", "X1");
  await api.pin("C1.R1", "M1", "X1");
  await api.unfollow("C1.R1");
  assert.deepEqual(paths, [
    "PATCH /channels/C1/messages/M1?thread=R1",
    "DELETE /channels/C1/messages/M1",
    "PUT /channels/C1/messages/M1/reactions/%3A%2B1%3A?change_id=X1&thread=R1",
    "PUT /channels/C1/pins/M1?change_id=X1&thread=R1",
    "DELETE /channels/C1/threads/R1/follow",
  ]);
});

test("a list of messages tells a reply from a message with its id", async () => {
  const store = storeWith();
  const listing = new Listing(store);
  const messages = [root(), reply(1_000)];
  await listing.open(async () => ({ messages, next_offset: null }));
  assert.equal(listing.shown(() => true).length, 2);
});

test("a mark of another device reads the thread and no other log", async (t) => {
  const { server, store, channelId, thread } = await live(t);
  const other = { ...root({}, channelId), id: lowestIdAt(4_000), rev: lowestIdAt(4_000) };
  server.push({ type: "message", cursor: "c2", message: other });
  for (const ms of [2_000, 3_000])
    server.push({ type: "message", cursor: "c3", message: reply(ms, {}, channelId) });
  assert.deepEqual([store.unread.of(thread), store.unread.of(channelId)], [2, 1]);
  const read = { type: "read", channel_id: channelId, thread: ROOT, epoch: 0 };
  server.push({ ...read, up_to: lowestIdAt(2_000) });
  assert.deepEqual([store.unread.of(thread), store.unread.of(channelId)], [1, 1]);
});

test("a read thread is marked on the server, by its root", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  server.push({ type: "message", cursor: "c2", message: reply(2_000, {}, channelId) });
  store.unread.markRead(thread);
  await core.readState.flush();
  const mark = { channel_id: channelId, thread: ROOT, up_to: lowestIdAt(2_000), epoch: 0 };
  assert.deepEqual(server.marks, [mark]);
});

test("an opened thread has news above its mark; without a mark it has none", async (t) => {
  const { server, core, store, channelId, thread } = await live(t);
  const other = logOf(channelId, lowestIdAt(9_000));
  server.replies.set(ROOT, [reply(3_000, {}, channelId), reply(2_000, {}, channelId)]);
  server.replies.set(rootOf(other), [reply(9_500, { thread: rootOf(other) }, channelId)]);
  store.unread.takeMark(thread, 0, lowestIdAt(2_000));
  await core.sync.openThread(thread);
  await core.sync.openThread(other);
  assert.deepEqual([...store.timeline(thread).unread], [lowestIdAt(3_000)]);
  assert.equal(store.unread.of(other), 0);
});

test("a thread that opens with the page waits for its mark, so that its news stay news", async (t) => {
  const server = new FakeServer(["general"]);
  const channelId = server.idOf("general");
  server.replies.set(ROOT, [reply(3_000, {}, channelId), reply(2_000, {}, channelId)]);
  let answer;
  const waits = new Promise((resolve) => (answer = resolve));
  server.instead = (call) => (call === "GET /threads" ? waits : undefined);
  const core = start(t);
  await until("the channel is known", () => core.store.channelsKnown);
  const opening = core.sync.openThread(logOf(channelId, ROOT));
  await new Promise((resolve) => setTimeout(resolve, 30));
  const followed = { channel_id: channelId, root: root({}, channelId), up_to: lowestIdAt(2_000) };
  answer([200, { threads: [{ ...followed, unread: true }], next_offset: null }]);
  await opening;
  const { unread } = core.store.timeline(logOf(channelId, ROOT));
  assert.deepEqual([...unread], [lowestIdAt(3_000)]);
});

test("nothing is kept of the roots of a channel that was left", () => {
  const store = storeWith();
  store.roots.keep(root());
  store.setChannels([]);
  assert.equal(store.find(ID, ROOT), undefined);
});

test("the followed threads are listed by their last reply, with what is unread", async (t) => {
  const other = lowestIdAt(5_000);
  const { server, core, store, channelId } = await live(t, (fake, id) => {
    const old = root({ replies: summary(3, 8_000) }, id);
    const young = { ...root({ replies: summary(1, 6_000) }, id), id: other, rev: other };
    fake.threads = [
      { channel_id: id, root: young, up_to: lowestIdAt(6_000), unread: false },
      { channel_id: id, root: old, up_to: lowestIdAt(2_000), unread: true },
    ];
  });
  const { threads } = core;
  assert.deepEqual(
    threads.list().map(({ id }) => id),
    [ROOT, other],
  );
  assert.equal(threads.unread(), 1);
  const late = reply(9_000, { thread: other }, channelId);
  server.push({ type: "message", cursor: "c2", message: late });
  assert.deepEqual(
    [threads.unread(), threads.unreadOf({ channel_id: channelId, id: other })],
    [2, 1],
  );
  store.unread.takeMark(logOf(channelId, ROOT), 0, lowestIdAt(8_000));
  assert.equal(threads.unread(), 1);
  store.setChannels([]);
  assert.deepEqual(threads.list(), [], "nothing of a channel that was left");
});

/** The followed threads of alice; `list` is the server's answer, `calls` what was called. */
function followed(list = Promise.resolve([])) {
  const store = storeWith();
  const calls = [];
  const call = (name, answer) => async (thread) => {
    calls.push(`${name} ${thread ?? ""}`.trim());
    return answer;
  };
  const api = {
    threads: call("threads", list),
    follow: call("follow"),
    unfollow: call("unfollow"),
  };
  return { store, calls, threads: new Threads(api, store) };
}

test("a thread is followed once the server has it, whatever an older list says", async () => {
  let answer;
  const { store, calls, threads } = followed(new Promise((resolve) => (answer = resolve)));
  store.deliver(root(), "push");
  const loading = threads.load();
  const following = threads.set(THREAD, true);
  assert.deepEqual([threads.isBusy(THREAD), threads.follows(THREAD)], [true, false]);
  await threads.set(THREAD, false);
  await following;
  answer([]);
  await loading;
  assert.deepEqual([threads.follows(THREAD), threads.list().length], [true, 1]);
  await threads.set(THREAD, false);
  assert.deepEqual([threads.follows(THREAD), threads.list()], [false, []]);
  assert.deepEqual(calls, ["threads", `follow ${THREAD}`, `unfollow ${THREAD}`]);
});

test("what is here of an opened thread is counted exactly, whatever the list says", async (t) => {
  const { server, core, channelId, thread } = await live(t);
  await core.sync.openThread(thread);
  for (const ms of [2_000, 3_000])
    server.push({ type: "message", cursor: "c2", message: reply(ms, {}, channelId) });
  const one = root({ replies: summary(2, 3_000) }, channelId);
  server.threads = [{ channel_id: channelId, root: one, up_to: lowestIdAt(1_500), unread: true }];
  await core.threads.load();
  assert.equal(core.threads.unreadWords(one), "2 new");
  const unopened = { ...one, id: lowestIdAt(9_000), rev: lowestIdAt(9_000) };
  server.threads.push({ ...server.threads[0], root: unopened, up_to: lowestIdAt(9_000) });
  await core.threads.load();
  assert.equal(core.threads.unreadWords(unopened), "New", "the server does not say how many");
});

test("a reply that makes the user follow its thread reads the list again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { store, calls, threads } = followed();
  store.deliver(root(), "push");
  threads.replied(reply(2_000));
  t.mock.timers.tick(60_000);
  assert.deepEqual(calls, [], "nothing makes her follow it");
  threads.replied(reply(3_000, { mentions: ["alice"] }));
  threads.replied(reply(4_000, { sender_id: "alice" }));
  t.mock.timers.tick(60_000);
  assert.deepEqual(calls, ["threads"]);
});

test("a list that cannot be read leaves the page live", async (t) => {
  const { core } = await live(t, (server) => {
    server.instead = (call) => (call === "GET /threads" ? [403, { code: "forbidden" }] : undefined);
  });
  assert.deepEqual([core.threads.isKnown, core.threads.problem.code], [false, "forbidden"]);
});

test("a reply under an id of another clock sorts within its thread", () => {
  const store = storeWith();
  store.insertLocal({ ...reply(9_000), sender_id: "alice", delivery: "sending" });
  store.settleLocal({ ...reply(9_000) }, { ...reply(2_500), message: "moved" });
  store.deliver(reply(3_000), "push");
  assert.deepEqual(texts(store, THREAD), ["moved", "at 3000"]);
});
