// Reactions in the page: whose they are, clicks before the server counts them, texts left out.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Api, Problem, Unreachable } from "../../localstack/embedded-stack/page/api.js";
import { lowestIdAt, mintId } from "../../localstack/embedded-stack/page/ids.js";
import { Reactions } from "../../localstack/embedded-stack/page/reactions.js";
import { isEmojiLike, reactedWords } from "../../localstack/embedded-stack/page/text.js";
import { storeWith, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const CHANNEL = "C01MCC5RM00000000000000000A";
const NOW = 1_800_000_000_000;
const TEN = Array.from({ length: 10 }, (_, at) => `user-${at}`);
const FULL = new Problem(409, { code: "too_many_reactions", detail: "no room" });

function reaction(emoji, users, fields = {}) {
  return { emoji, count: users.length, users, ...fields };
}

function revAt(step) {
  return lowestIdAt(NOW + step);
}

/** More users than are named. */
function crowd(count, fields = {}) {
  return reaction("👍", TEN, { count, ...fields });
}

/** The page of alice with a message of bob. `answer` answers calls, `changed` makes copies. */
function world(answer = () => assert.fail("no call is expected")) {
  const store = storeWith({ channels: [{ channel_id: CHANNEL, type: "GROUP_CHANNEL" }] });
  const id = mintId(NOW - 60_000);
  const sent = { id, channel_id: CHANNEL, sender_id: "bob", message: "a", rev: id, text_rev: id };
  store.deliver(sent, "push");
  const calls = [];
  const call = (name) => async (channelId, messageId, emoji, changeId) => {
    assert.deepEqual([channelId, messageId], [CHANNEL, id]);
    calls.push({ name, emoji, changeId });
    return answer(calls.length, emoji);
  };
  const api = { clock: { now: () => NOW }, react: call("react"), unreact: call("unreact") };
  const reactions = new Reactions(api, store);
  const undone = [];
  reactions.undone = (emoji, problem) => undone.push([emoji, problem.code]);
  const here = () => store.timeline(CHANNEL).messages.get(id);
  const shown = () =>
    reactions.of(here()).map(({ emoji, count, mine }) => `${emoji} ${count}${mine ? " mine" : ""}`);
  const changed = (step, list) => ({ ...sent, rev: revAt(step), reactions: list });
  const push = (step, list) => store.deliver(changed(step, list), "push");
  const click = (emoji) => reactions.toggle(here(), emoji);
  return { store, sent, calls, reactions, undone, here, shown, changed, push, click };
}

/** An answer that the test gives when it likes. */
function later() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

test("a frame does not say whose reactions they are: the named users do, or the older copy", () => {
  const { push, shown } = world();
  push(1, [reaction("👍", ["alice", "bob"]), reaction("🎉", ["bob"])]);
  assert.deepEqual(shown(), ["👍 2 mine", "🎉 1"]);
  push(2, [crowd(12), reaction("🎉", ["bob"])]);
  assert.deepEqual(shown(), ["👍 12 mine", "🎉 1"], "kept where it is unknown");
  push(3, [crowd(10)]);
  assert.deepEqual(shown(), ["👍 10"], "all are named, and alice is not");
  push(4, [crowd(11)]);
  assert.deepEqual(shown(), ["👍 11"]);
  push(5, undefined);
  assert.deepEqual(shown(), [], "a copy without reactions has none");
});

test("a copy of the same revision fills in whose the reactions are", () => {
  const { push, shown, store, here } = world();
  push(1, [crowd(12)]);
  assert.deepEqual(shown(), ["👍 12"]);
  store.deliver({ ...here(), reactions: [crowd(12, { mine: true })] }, "history");
  assert.deepEqual(shown(), ["👍 12 mine"]);
  store.deliver({ ...here(), reactions: [crowd(12)] }, "push");
  assert.deepEqual(shown(), ["👍 12 mine"], "a frame takes nothing back");
});

test("a click is shown at once, and the server's copy takes its place", async () => {
  const call = later();
  const { calls, changed, click, push, shown } = world(() => call.promise);
  push(1, [reaction("👍", ["bob"])]);
  const done = click("👍");
  assert.deepEqual(shown(), ["👍 2 mine"]);
  push(2, [reaction("👍", ["bob"]), reaction("🎉", ["bob"])]);
  assert.deepEqual(shown(), ["👍 2 mine", "🎉 1"], "another change does not hide the click");
  push(3, [reaction("👍", ["bob", "alice"])]);
  assert.deepEqual(shown(), ["👍 2 mine"], "the frame has the click: it is not counted twice");
  call.resolve(changed(3, [reaction("👍", ["bob", "alice"], { mine: true })]));
  await done;
  push(4, [reaction("👍", ["bob", "carol"])]);
  assert.deepEqual(shown(), ["👍 2"], "the server has the last word");
  assert.deepEqual(
    calls.map(({ name }) => name),
    ["react"],
  );
});

test("a click on an own reaction withdraws it", async () => {
  const { calls, changed, click, push, shown } = world(() => changed(2, undefined));
  push(1, [reaction("👍", ["alice"])]);
  const done = click("👍");
  assert.deepEqual(shown(), []);
  await done;
  assert.deepEqual(shown(), []);
  assert.equal(calls[0].name, "unreact");
});

test("a click that the server refuses is undone, with the reason", async () => {
  const { click, push, shown, undone } = world(() => Promise.reject(FULL));
  push(1, [reaction("👍", ["bob"])]);
  const done = Promise.all([click("👍"), click("🎉")]);
  assert.deepEqual(shown(), ["👍 2 mine", "🎉 1 mine"]);
  await done;
  assert.deepEqual(shown(), ["👍 1"]);
  assert.deepEqual(undone.sort(), [
    ["🎉", "too_many_reactions"],
    ["👍", "too_many_reactions"],
  ]);
});

test("a retry keeps the click's id, and another click has a greater one", async (t) => {
  const { calls, changed, click, reactions, shown, undone } = world((count) => {
    if (count <= 2) throw new Unreachable("no answer");
    return changed(count, count === 3 ? [reaction("👍", ["alice"], { mine: true })] : undefined);
  });
  const nudge = setInterval(() => reactions.retryNow(), 1);
  t.after(() => clearInterval(nudge));
  await click("👍");
  assert.deepEqual(shown(), ["👍 1 mine"]);
  await click("👍");
  assert.deepEqual([shown(), undone], [[], []]);
  const ids = calls.map(({ changeId }) => changeId);
  assert.deepEqual(ids.slice(0, 3), [ids[0], ids[0], ids[0]]);
  assert.notEqual(ids[3], ids[0]);
});

test("the retries end, and then the click is undone", async (t) => {
  const { calls, click, reactions, shown, undone } = world(() => {
    throw new Unreachable("no answer");
  });
  const nudge = setInterval(() => reactions.retryNow(), 1);
  t.after(() => clearInterval(nudge));
  await click("👍");
  assert.deepEqual([calls.length, shown(), undone], [4, [], [["👍", "unreachable"]]]);
});

test("clicks while a call is under way become one more call, with a greater id", async () => {
  const first = later();
  const { calls, changed, click, shown } = world((count) =>
    count === 1 ? first.promise : changed(2, undefined),
  );
  const done = click("👍");
  await Promise.all([click("👍"), click("👍"), click("👍")]);
  assert.deepEqual(shown(), []);
  assert.equal(calls.length, 1);
  first.resolve(changed(1, [reaction("👍", ["alice"], { mine: true })]));
  await done;
  assert.deepEqual(shown(), []);
  assert.deepEqual(
    calls.map(({ name }) => name),
    ["react", "unreact"],
  );
  assert.ok(calls[1].changeId > calls[0].changeId);
});

test("while many react, a stored click stays shown until the count follows", async () => {
  const { changed, click, push, shown } = world(() => changed(1, [crowd(50, { mine: true })]));
  push(1, [crowd(50)]);
  await click("👍");
  assert.deepEqual(shown(), ["👍 51 mine"], "the answer does not count it yet");
  push(2, [crowd(58)]);
  assert.deepEqual(shown(), ["👍 58 mine"]);
});

test("while many react, a new emoji stays shown until the server has it", async () => {
  const { changed, click, push, shown } = world(() => changed(1, [crowd(50)]));
  push(1, [crowd(50)]);
  await click("🎉");
  assert.deepEqual(shown(), ["👍 50", "🎉 1 mine"]);
  push(2, [crowd(58), reaction("🎉", TEN, { count: 30 })]);
  assert.deepEqual(shown(), ["👍 58", "🎉 30 mine"]);
});

test("after the call, the next copy is right, even if it lacks the click", async () => {
  const { changed, click, push, shown } = world(() => changed(1, [crowd(50)]));
  push(1, [crowd(50)]);
  await click("🎉");
  push(2, [crowd(50), reaction("🎉", ["bob"])]);
  assert.deepEqual(shown(), ["👍 50", "🎉 1"], "another page of alice withdrew it");
});

test("a later frame that came before the answer leaves the reaction the user's", async () => {
  const call = later();
  const { changed, click, push, shown } = world(() => call.promise);
  push(1, [crowd(50)]);
  const done = click("👍");
  push(3, [crowd(60)]);
  assert.deepEqual(shown(), ["👍 60 mine"]);
  call.resolve(changed(2, [crowd(51, { mine: true })]));
  await done;
  assert.deepEqual(shown(), ["👍 60 mine"]);
});

test("a deleted message shows no reactions, not even a click under way", async () => {
  const call = later();
  const { click, push, shown, store, sent } = world(() => call.promise);
  push(1, [reaction("👍", ["bob"])]);
  const done = click("🎉");
  const deleted = { at: "2027-01-15T08:00:00.000Z", by: "bob" };
  store.deliver({ ...sent, message: "", rev: revAt(2), deleted }, "push");
  assert.deepEqual(shown(), []);
  call.resolve(Promise.reject(new Problem(409, { code: "message_deleted" })));
  await done;
  assert.deepEqual(shown(), []);
});

test("a text that is left out is kept if it is the same, and else the copy is not taken", () => {
  const { changed, here, store } = world();
  const bare = (step, fields) => {
    const { message: _, ...rest } = changed(step, [reaction("👍", ["bob"])]);
    return store.deliver({ ...rest, ...fields }, "push");
  };
  assert.equal(bare(1), "changed");
  assert.deepEqual([here().message, here().reactions.length], ["a", 1]);
  const edit = revAt(2);
  assert.equal(bare(3, { text_rev: edit }), "lacks_text");
  assert.ok(here().rev < edit, "the copy is not taken");
  store.deliver({ ...changed(2), message: "edited", rev: edit, text_rev: edit }, "push");
  assert.equal(bare(3, { text_rev: edit }), "changed");
  assert.equal(here().message, "edited");
});

test("a text that is left out and in unread history is not read", () => {
  const { store, sent } = world();
  const timeline = store.timeline(CHANNEL);
  timeline.historyOffset = sent.id;
  const { message: _, ...old } = { ...sent, id: mintId(NOW - 86_400_000), rev: mintId(NOW) };
  assert.equal(store.deliver(old, "push"), "unread");
  timeline.historyOffset = null;
  assert.equal(store.deliver(old, "push"), "lacks_text");
  assert.deepEqual(timeline.order, [sent.id]);
});

test("changes whose text is not here read their channel again, once for many", async (t) => {
  const server = new FakeServer(["general", "other"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live" && core.store.channelsKnown);
  const channel_id = server.idOf("general");
  const id = mintId(Date.now());
  const sent = { id, channel_id, sender_id: "bob", message: "a", rev: id, text_rev: id };
  server.push({ type: "message", cursor: "c2", message: sent });
  const edit = mintId(Date.now() + 1);
  const edited = { ...sent, message: "edited", text_rev: edit, edit, rev: mintId(Date.now() + 2) };
  const reads = [];
  server.instead = (call, channelId) => {
    if (call !== "GET /scroll") return undefined;
    reads.push(channelId);
    return [200, { messages: [edited], next_offset: null }];
  };
  const { message: _, ...bare } = edited;
  for (const cursor of ["c3", "c4", "c5"]) {
    server.push({ type: "message_changed", cursor, message: bare });
  }
  assert.equal(core.connection.phase, "catching_up");
  const shown = () => core.store.timeline(channel_id).messages.get(id).message;
  assert.equal(shown(), "a", "nothing is shown that is not known");
  await until("the text is here", () => shown() === "edited");
  await until("live again", () => core.connection.phase === "live");
  assert.deepEqual(reads, [channel_id]);
  const stories = core.store.log.entries.map(({ steps }) => steps[0]);
  assert.equal(stories.filter((step) => step.includes("without its text")).length, 1);
});

test("a change of a known message counts as pushed, its second copy as a duplicate", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live" && core.store.channelsKnown);
  const id = mintId(Date.now());
  const sent = { id, channel_id: server.idOf("general"), sender_id: "bob", message: "a", rev: id };
  const reacted = { ...sent, rev: mintId(Date.now() + 1), reactions: [reaction("👍", ["bob"])] };
  server.push({ type: "message", cursor: "c2", message: sent });
  for (const cursor of ["c3", "c4"])
    server.push({ type: "message_changed", cursor, message: reacted });
  const { pushed, duplicates } = core.store.counters;
  assert.deepEqual([pushed, duplicates], [2, 1]);
});

test("the emoji and the click's id are in the path, and nothing is in the body", async () => {
  const api = new Api("demo", "alice");
  const requests = [];
  api.request = async (...request) => requests.push(request);
  await api.react("C1", "M1", ":+1:", "X1");
  await api.unreact("C1", "M1", "👍", "X2");
  assert.deepEqual(requests, [
    ["PUT", "/channels/C1/messages/M1/reactions/%3A%2B1%3A?change_id=X1", {}],
    ["DELETE", "/channels/C1/messages/M1/reactions/%F0%9F%91%8D?change_id=X2", {}],
  ]);
});

test("only what may be an emoji or a name is taken as one", () => {
  for (const text of ["👍", "👍🏽", "❤️", "🇩🇪", "1️⃣", "👩‍🚀", ":ship-it:", ":+1:"])
    assert.ok(isEmojiLike(text), text);
  for (const text of ["", "a", "1", "42", "::", ":A:", ":a b:", "👍 ", "yes 👍"])
    assert.ok(!isEmojiLike(text), text);
});

test("the words for a reaction name who reacted, the user first", () => {
  const words = (users, count = users.length) =>
    reactedWords({ emoji: "👍", users, count }, "alice").replace(/[\u2068\u2069]/g, "");
  assert.equal(words(["bob"]), "bob reacted with 👍");
  assert.equal(words(["bob", "alice"]), "You and bob reacted with 👍");
  assert.equal(words(["bob", "alice"], 3), "You, bob and 1 other reacted with 👍");
  assert.equal(words(["bob"], 12), "bob and 11 others reacted with 👍");
});
