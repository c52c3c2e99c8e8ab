// Who is present: which users the node is asked about, what is kept of its answers, when it is told
// that the user is away, and in which words presence is shown.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Idle, listenToInput } from "../../localstack/embedded-stack/page/idle.js";
import { Invisible } from "../../localstack/embedded-stack/page/invisible.js";
import { Presence, presentOf } from "../../localstack/embedded-stack/page/presence.js";
import { USERS_MAX, usersOf, viewOf } from "../../localstack/embedded-stack/page/screen.js";
import { hereWords, presenceWords } from "../../localstack/embedded-stack/page/text.js";
import { GENERAL, storeWith, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const ID = GENERAL.channel_id;
const DM = { channel_id: "C01ARZ3NDEKTSV4RRFFQ69G5FAW", type: "DM" };
const SHOWN = { isHidden: false, isChannelCovered: false };
const MINUTE_MS = 60_000;

const membersOf = (...users) => users.map((user_id) => ({ user_id }));

/** A store with a group and a DM with bob, whose members are known. */
function storeWithPeople() {
  const store = storeWith({ channels: [GENERAL, DM] });
  store.setMembers(ID, membersOf("carol", "alice", "dave"));
  store.setMembers(DM.channel_id, membersOf("alice", "bob"));
  return store;
}

test("the members of the open channel and the others of DMs are viewed, sorted", () => {
  const store = storeWithPeople();
  assert.deepEqual(viewOf(store, SHOWN), { channels: [], threads: [], users: ["bob"] });
  store.activeId = ID;
  assert.deepEqual(viewOf(store, SHOWN).users, ["alice", "bob", "carol", "dave"]);
  store.activeId = DM.channel_id;
  assert.deepEqual(viewOf(store, SHOWN).users, ["alice", "bob"]);
  assert.deepEqual(viewOf(store, { ...SHOWN, isChannelCovered: true }).users, ["alice", "bob"]);
  assert.deepEqual(viewOf(store, { ...SHOWN, isHidden: true }).users, []);
});

test("the other one of a DM is not viewed before the members are read", () => {
  const store = storeWith({ channels: [GENERAL, DM] });
  store.activeId = ID;
  assert.deepEqual(usersOf(store), []);
});

test("members of a channel that the user lost are not viewed", () => {
  const store = storeWithPeople();
  store.activeId = ID;
  store.setChannels([DM]);
  assert.deepEqual(usersOf(store), ["bob"]);
});

test("at most 200 users are viewed: DMs first, then members as they are listed", () => {
  const store = storeWithPeople();
  const many = Array.from({ length: 300 }, (_, at) => `user-${String(at).padStart(3, "0")}`);
  store.setMembers(DM.channel_id, membersOf("alice", "zoe"));
  store.setMembers(ID, membersOf(...many.toReversed()));
  store.activeId = ID;
  assert.equal(USERS_MAX, 200);
  assert.deepEqual(usersOf(store), [...many.slice(0, 199), "zoe"]);
});

/** What a page knows, on a socket that a test can end. */
function presence(users) {
  const store = storeWith();
  const drawn = { times: 0 };
  store.onChange(() => (drawn.times += 1));
  const at = new Presence(store);
  const socket = new AbortController();
  at.attached(socket);
  at.viewed(users);
  const frame = (states) => at.onFrame({ type: "presence", users: states });
  const all = () => users.map((user) => at.of(user));
  return { at, drawn, frame, all, end: () => socket.abort() };
}

test("an answer says all, a change says one, and the page is drawn", () => {
  const { at, drawn, frame, all } = presence(["alice", "bob", "carol"]);
  assert.deepEqual(all(), ["unknown", "unknown", "unknown"]);
  frame({ alice: "active", bob: "idle", carol: "offline" });
  assert.deepEqual(all(), ["active", "idle", "offline"]);
  frame({ carol: "active" });
  assert.deepEqual(all(), ["active", "idle", "active"]);
  assert.equal(drawn.times, 2);
  assert.equal(at.of(undefined), "unknown");
});

test("a state that this page does not know is unknown", () => {
  const { frame, all } = presence(["alice"]);
  frame({ alice: "active" });
  frame({ alice: "asleep" });
  assert.deepEqual(all(), ["unknown"]);
});

test("a lost socket leaves nothing known, and nobody offline", () => {
  const { drawn, frame, all, end } = presence(["alice", "bob"]);
  frame({ alice: "active", bob: "offline" });
  const before = drawn.times;
  end();
  assert.deepEqual(all(), ["unknown", "unknown"]);
  assert.equal(drawn.times, before + 1);
});

test("who leaves the view is forgotten, who stays is not, and late changes do not count", () => {
  const { at, frame, all } = presence(["bob", "carol"]);
  frame({ bob: "active", carol: "idle" });
  at.viewed(["carol"]);
  frame({ bob: "offline" });
  assert.deepEqual(all(), ["unknown", "idle"]);
  // Of bob nothing was heard meanwhile.
  at.viewed(["bob", "carol"]);
  assert.deepEqual(all(), ["unknown", "idle"]);
});

test("who is here: active and idle ones, or null before anything is known", () => {
  const { at, frame } = presence(["alice", "bob", "carol"]);
  const here = () => presentOf(["alice", "bob", "carol", "dave"], at);
  assert.equal(here(), null);
  frame({ alice: "active", bob: "offline", carol: "idle" });
  const wanted = [{ user: "alice", isIdle: false }, { user: "carol", isIdle: true }];
  assert.deepEqual(here(), wanted);
  frame({ alice: "offline", carol: "offline" });
  assert.deepEqual(here(), []);
});

/** The user's page, whose connection keeps what it sends, by a clock that a test moves. */
function idle() {
  const clock = { ms: 0 };
  const connection = { isUp: true, sent: [] };
  connection.send = ({ type, idle: isIdle }) => {
    assert.equal(type, "idle");
    if (connection.isUp) connection.sent.push(isIdle);
    return connection.isUp;
  };
  const at = new Idle(connection, () => clock.ms);
  const pass = (ms) => {
    clock.ms += ms;
    at.check();
  };
  return { connection, pass, at };
}

test("after 5 min without input the user is idle, and with the next input no longer", () => {
  const { connection, pass, at } = idle();
  pass(5 * MINUTE_MS - 1);
  at.input();
  pass(5 * MINUTE_MS - 1);
  assert.deepEqual(connection.sent, []);
  pass(1);
  pass(MINUTE_MS);
  assert.deepEqual(connection.sent, [true]);
  at.input();
  at.input();
  assert.deepEqual(connection.sent, [true, false]);
});

test("a new socket is told of an idle user at once, and of another one nothing", () => {
  const { connection, pass, at } = idle();
  at.attached();
  assert.deepEqual(connection.sent, []);
  pass(5 * MINUTE_MS);
  at.attached();
  assert.deepEqual(connection.sent, [true, true]);
});

test("what could not be told is told later, and not if it is over by then", () => {
  const { connection, pass, at } = idle();
  connection.isUp = false;
  pass(5 * MINUTE_MS);
  connection.isUp = true;
  pass(1_000);
  assert.deepEqual(connection.sent, [true]);
  connection.isUp = false;
  at.input();
  connection.isUp = true;
  at.attached();
  pass(1_000);
  assert.deepEqual(connection.sent, [true]);
});

test("keys, pointer, wheel and text of an input method are input, scrolling by the page is not", () => {
  const target = new EventTarget();
  let inputs = 0;
  listenToInput(target, () => (inputs += 1));
  for (const name of ["keydown", "pointerdown", "pointermove", "wheel", "input"])
    target.dispatchEvent(new Event(name));
  target.dispatchEvent(new Event("scroll"));
  assert.equal(inputs, 5);
});

test("views and answers pass through the page, and the next socket starts afresh", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live" && core.store.channelsKnown);
  const { cursor } = core.connection;
  const view = { channels: [server.idOf("general")], threads: [], users: ["alice", "bob"] };
  core.screen.show(view);
  await until("the view is sent", () => server.framesOf("view").length === 2);
  server.push({ type: "presence", users: { alice: "active", bob: "idle" } });
  assert.equal(core.presence.of("bob"), "idle");
  assert.equal(core.connection.cursor, cursor);
  server.cut();
  assert.equal(core.presence.of("bob"), "unknown");
  await until("the view is sent again", () => server.framesOf("view").length === 3);
  assert.deepEqual(server.framesOf("view").at(-1), view);
  assert.equal(core.presence.of("bob"), "unknown");
  server.push({ type: "presence", users: { alice: "active", bob: "offline" } });
  assert.equal(core.presence.of("bob"), "offline");
  core.setOffline(true);
  assert.equal(core.presence.of("bob"), "unknown");
});

test("every socket of an idle user is told, and a node that does not take it gets nothing", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live");
  const { now } = performance;
  let aheadMs = 0;
  t.mock.method(performance, "now", () => now.call(performance) + aheadMs);
  aheadMs = 5 * MINUTE_MS;
  core.idle.check();
  assert.deepEqual(server.framesOf("idle"), [{ idle: true }]);
  server.cut();
  await until("told again", () => server.framesOf("idle").length === 2);
  server.accepts = ["view"];
  server.cut();
  const isBack = () => server.queries.length === 3 && core.connection.phase === "live";
  await until("live again", isBack);
  core.idle.input();
  assert.equal(server.framesOf("idle").length, 2);
});

test("an invisible user asks for tickets that say so, and an open socket is renewed", async (t) => {
  const server = new FakeServer(["general"]);
  server.accepts.push("renew");
  const core = start(t);
  await until("live", () => core.connection.phase === "live");
  assert.deepEqual(server.queries, [""], "visible at first");
  core.invisible.set(true);
  await until("renewed", () => server.framesOf("renew").length === 1);
  assert.deepEqual(server.framesOf("renew"), [{ ticket: "t" }]);
  assert.deepEqual(server.queries.at(-1), "renew=N1&invisible=true");
  // Not answered yet: asked again later, not at once.
  await core.invisible.check();
  assert.equal(server.framesOf("renew").length, 1);
  server.push({ type: "renewed", expires_at: 1, invisible: true });
  await core.invisible.check();
  assert.equal(server.framesOf("renew").length, 1);
  server.isInvisible = true;
  server.cut();
  await until("live again", () => core.connection.phase === "live" && server.queries.length === 3);
  assert.match(server.queries.at(-1), /invisible=true/);
  await core.invisible.check();
  assert.equal(server.framesOf("renew").length, 1, "the node said so");
  core.invisible.set(false);
  await until("visible", () => server.framesOf("renew").length === 2);
  assert.equal(server.queries.at(-1), "renew=N1");
  // A node of a version before says nothing: whoever believes it is not invisible.
  server.push({ type: "renewed", expires_at: 1 });
  core.invisible.set(true);
  server.isInvisible = false;
  server.cut();
  await until("asked again", () => server.framesOf("renew").length > 2);
});

test("the wish is kept, and what fails is tried again", async (t) => {
  const storage = new Map();
  const safe = { read: (key) => storage.get(key) ?? {}, write: (key, value) => storage.set(key, value) };
  const api = { renewal: () => Promise.reject(new Error("away")) };
  const sent = [];
  const connection = { node: { id: "N1" }, accepts: () => true, send: (frame) => sent.push(frame) };
  const invisible = new Invisible(api, connection, safe, "k");
  invisible.set(true);
  await invisible.check();
  assert.deepEqual(sent, []);
  api.renewal = () => (api.asksInvisible(), Promise.resolve({ node_id: "N1", ticket: "t2" }));
  const { now } = performance;
  t.mock.method(performance, "now", () => now.call(performance) + 2_000);
  await until("sent", () => (invisible.check(), sent.length > 0));
  const otherTab = new Invisible(api, connection, safe, "k");
  assert.equal(otherTab.wanted, true);
  invisible.set(false);
  otherTab.readElsewhere();
  assert.equal(otherTab.wanted, false);
});

test("an invisible user shares no read marks", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live");
  const mark = { channel_id: server.idOf("general"), up_to: "01ARZ3NDEKTSV4RRFFQ69G5FAV" };
  await core.api.markRead([mark]);
  core.invisible.set(true);
  await core.api.markRead([mark]);
  assert.deepEqual(server.marks, [mark, { ...mark, share: false }]);
});

const plain = (words) => words.replaceAll(/[\u2068\u2069]/g, "");

test("presence has words", () => {
  const states = ["active", "idle", "offline", "unknown"];
  assert.deepEqual(states.map(presenceWords), ["active", "idle", "offline", "presence unknown"]);
});

test("who is here is named, the user first, idle ones as such, twenty at most", () => {
  const people = (...names) => names.map((name) => ({ name, isIdle: name === "idler" }));
  const words = (...args) => plain(hereWords(...args));
  assert.equal(words([], true, 0), "You");
  assert.equal(words([], false, 0), "Nobody");
  assert.equal(words(people("bob", "idler"), true, 0), "You, bob and idler (idle)");
  assert.equal(words(people("bob"), false, 1), "bob. Unknown: 1 other member.");
  const many = people(...Array.from({ length: 22 }, (_, at) => `u${at}`));
  assert.match(words(many, true, 30), /^You, u0, .*, u19 and 2 others\. Unknown: 30 other members\.$/);
  assert.equal(hereWords(people("\u202eevil"), false, 0), "\u2068evil\u2069");
});
