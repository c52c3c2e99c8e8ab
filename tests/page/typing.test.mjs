// Who types where: what the node is told, what is kept of others, and in which words it is shown.

import assert from "node:assert/strict";
import { test } from "node:test";

import { logOf } from "../../localstack/embedded-stack/page/logs.js";
import { typingWords } from "../../localstack/embedded-stack/page/text.js";
import { Typing } from "../../localstack/embedded-stack/page/typing.js";
import { Announcement } from "../../localstack/embedded-stack/page/typing_line.js";
import { GENERAL, storeWith, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const ID = GENERAL.channel_id;
const ROOT = "01MCC5RM000000000000000001";
const THREAD = logOf(ID, ROOT);

/** Alice's page, whose connection keeps what it sends, by a clock that a test moves. */
function typing() {
  const clock = { ms: 0 };
  const connection = { isUp: true, sent: [] };
  connection.send = ({ type: _, ...fields }) => {
    if (connection.isUp) connection.sent.push(fields);
    return connection.isUp;
  };
  const pass = (ms) => (clock.ms += ms);
  const at = new Typing(storeWith(), connection, () => clock.ms);
  const frame = (users, more = 0, thread = undefined) =>
    at.onFrame({ type: "typing", channel_id: ID, thread, users, more });
  return { connection, pass, at, frame };
}

test("the node is told at most once in 3 s for each channel and thread", () => {
  const { connection, pass, at } = typing();
  at.typed(ID);
  at.typed(THREAD);
  at.typed(ID);
  const both = [{ channel_id: ID }, { channel_id: ID, thread: ROOT }];
  assert.deepEqual(connection.sent, both);
  pass(2_999);
  at.typed(ID);
  assert.deepEqual(connection.sent, both);
  pass(1);
  at.typed(ID);
  assert.deepEqual(connection.sent, [...both, { channel_id: ID }]);
});

test("what could not be sent does not count", () => {
  const { connection, at } = typing();
  connection.isUp = false;
  at.typed(ID);
  connection.isUp = true;
  at.typed(ID);
  assert.equal(connection.sent.length, 1);
});

test("typists are kept by log, without the user, until another frame replaces them", () => {
  const { at, frame } = typing();
  frame(["alice", "bob"]);
  frame(["carol"], 2, ROOT);
  assert.deepEqual(at.in(ID), { users: ["bob"], more: 0 });
  assert.deepEqual(at.in(THREAD), { users: ["carol"], more: 2 });
  assert.deepEqual(at.in("C2"), { users: [], more: 0 });
  frame(["carol"]);
  assert.deepEqual(at.in(ID), { users: ["carol"], more: 0 });
});

test("the user is not one of those that a frame does not name", () => {
  const { pass, at, frame } = typing();
  frame(["bob"], 2);
  assert.equal(at.in(ID).more, 2);
  at.typed(ID);
  pass(5_999);
  frame(["bob"], 2);
  assert.equal(at.in(ID).more, 1);
  frame(["alice", "bob"], 2);
  assert.equal(at.in(ID).more, 2);
  pass(1);
  frame(["bob"], 2);
  assert.equal(at.in(ID).more, 2);
});

test("a frame is void 6 s later, and a later one is not void with it", () => {
  const { pass, at, frame } = typing();
  frame(["bob"]);
  pass(3_000);
  frame(["bob"]);
  pass(5_999);
  assert.deepEqual(at.in(ID).users, ["bob"]);
  pass(1);
  assert.deepEqual(at.in(ID).users, []);
});

test("a message ends the typing of its sender, in its log alone", () => {
  const { at, frame } = typing();
  frame(["bob", "carol"]);
  frame(["bob"], 0, ROOT);
  at.onMessage({ channel_id: ID, sender_id: "bob" });
  assert.deepEqual(at.in(ID).users, ["carol"]);
  assert.deepEqual(at.in(THREAD).users, ["bob"]);
  at.onMessage({ channel_id: ID, thread: ROOT, sender_id: "bob" });
  assert.deepEqual(at.in(THREAD).users, []);
});

test("a frame that a message has overtaken does not bring its sender back", () => {
  const { pass, at, frame } = typing();
  at.onMessage({ channel_id: ID, sender_id: "bob" });
  pass(1_499);
  frame(["bob", "carol"]);
  assert.deepEqual(at.in(ID).users, ["carol"]);
  pass(1);
  frame(["bob"]);
  assert.deepEqual(at.in(ID).users, ["bob"]);
});

function pushed(core, id, sender_id, frameType = "message", fields = {}) {
  const channel_id = core.store.activeId;
  const created_at = new Date().toISOString();
  const message = { id, rev: id, channel_id, sender_id, message: "hi", created_at, ...fields };
  return { type: frameType, cursor: `c-${id}`, message };
}

test("frames of the node reach the store, and a new message ends the typing", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live" && core.store.channelsKnown);
  const id = server.idOf("general");
  core.store.activeId = id;
  const [first, second] = ["01MCC5RM000000000000000001", "01MCC5RM000000000000000002"];
  core.store.deliver(pushed(core, first, "bob").message, "history");
  const { cursor } = core.connection;
  server.push({ type: "typing", channel_id: id, users: ["alice", "bob"], more: 0 });
  assert.deepEqual(core.typing.in(id).users, ["bob"]);
  assert.equal(core.connection.cursor, cursor);
  // Nothing new: a copy, and a change of an older message.
  server.push(pushed(core, first, "bob"));
  server.push(pushed(core, first, "bob", "message_changed", { rev: second, edit: second }));
  assert.deepEqual(core.typing.in(id).users, ["bob"]);
  server.push(pushed(core, second, "bob"));
  assert.deepEqual(core.typing.in(id).users, []);
});

test("nothing is told offline, or to a node that does not take it", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live");
  server.accepts = ["view"];
  server.cut();
  core.typing.typed(ID);
  const isBack = () => server.queries.length === 2 && core.connection.phase === "live";
  await until("live again", isBack);
  core.typing.typed(ID);
  core.setOffline(true);
  core.typing.typed(ID);
  assert.deepEqual(server.framesOf("typing"), []);
});

const plain = (words) => words?.replaceAll(/[\u2068\u2069]/g, "");

test("typists are named, three at most", () => {
  const words = (names, more) => plain(typingWords(names, more));
  assert.equal(typingWords([], 0), null);
  assert.equal(words(["bob"], 0), "bob is typing…");
  assert.equal(words(["bob", "carol"], 0), "bob and carol are typing…");
  assert.equal(words(["bob", "carol", "dave"], 0), "bob, carol and dave are typing…");
  assert.equal(words(["a", "b", "c", "d"], 0), "a, b and 2 others are typing…");
  assert.equal(words(["bob", "carol"], 3), "bob, carol and 3 others are typing…");
  assert.equal(words(["bob", "carol"], 1), "bob, carol and 1 other are typing…");
  assert.equal(words(["bob"], 2), "bob and 2 others are typing…");
  assert.equal(words([], 1), "1 person is typing…");
  assert.equal(words([], 2), "2 people are typing…");
  assert.equal(typingWords(["\u202eevil"], 0), "\u2068evil\u2069 is typing…");
});

test("a screen reader says who types once in 30 s, and each log for itself", () => {
  const said = new Announcement();
  assert.equal(said.next("a", null, 0), "");
  assert.equal(said.next("a", "bob", 1_000), "bob");
  // Who joins is not said, and what was said goes.
  assert.equal(said.next("a", "bob and carol", 1_500), "bob");
  assert.equal(said.next("a", "bob and carol", 2_000), "");
  assert.equal(said.next("a", null, 10_000), "");
  assert.equal(said.next("a", "bob", 30_999), "");
  assert.equal(said.next("a", "bob", 31_000), "bob");
  assert.equal(said.next("b", "dave", 31_100), "dave");
  assert.equal(said.next("b", null, 31_200), "");
});
