// What the node is told about the screen, and when.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Screen, viewOf } from "../../localstack/embedded-stack/page/screen.js";
import { GENERAL, storeWith, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const ROOT = "01MCC5RM000000000000000001";
const ID = GENERAL.channel_id;
const SHOWN = { isHidden: false, isChannelCovered: false };

function viewWith(channels, threads = []) {
  return { channels, threads, users: [] };
}

test("the open channel and the open thread are on the screen", () => {
  const store = storeWith();
  assert.deepEqual(viewOf(store, SHOWN), viewWith([]));
  store.activeId = ID;
  assert.deepEqual(viewOf(store, SHOWN), viewWith([ID]));
  store.activeRoot = ROOT;
  assert.deepEqual(viewOf(store, SHOWN), viewWith([ID], [[ID, ROOT]]));
});

test("what is hidden, covered, or of a lost channel is not on the screen", () => {
  const store = storeWith();
  Object.assign(store, { activeId: ID, activeRoot: ROOT });
  assert.deepEqual(viewOf(store, { ...SHOWN, isHidden: true }), viewWith([]));
  const covered = { ...SHOWN, isChannelCovered: true };
  assert.deepEqual(viewOf(store, covered), viewWith([], [[ID, ROOT]]));
  // An address may name anything, and the node ignores a view with a malformed id.
  store.activeId = "anything";
  assert.deepEqual(viewOf(store, SHOWN), viewWith([]));
});

/** A screen whose connection keeps what it sends, by a clock that a test moves. */
function screen(t) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const clock = { ms: 0 };
  const connection = { isUp: true, sent: [] };
  connection.send = (frame) => {
    if (connection.isUp) connection.sent.push(frame.channels.join());
    return connection.isUp;
  };
  const pass = (ms) => {
    clock.ms += ms;
    t.mock.timers.tick(ms);
  };
  const viewed = [];
  const at = new Screen(connection, ({ channels }) => viewed.push(channels.join()), () => clock.ms);
  return { connection, viewed, pass, at, show: (id) => at.show(viewWith([id])) };
}

test("a view is sent when it changes, at most twice a second, and the newest one wins", (t) => {
  const { connection, viewed, pass, show } = screen(t);
  for (const id of ["a", "a", "b", "c"]) show(id);
  assert.deepEqual(connection.sent, ["a"]);
  pass(499);
  show("d");
  assert.deepEqual(connection.sent, ["a"]);
  pass(1);
  assert.deepEqual(connection.sent, ["a", "d"]);
  // Back where it was before anything was sent: there is nothing to say.
  show("e");
  show("d");
  pass(5_000);
  assert.deepEqual(connection.sent, ["a", "d"]);
  assert.deepEqual(viewed, connection.sent);
});

test("every new socket gets the view, also one that could not be sent before", (t) => {
  const { connection, viewed, pass, at, show } = screen(t);
  connection.isUp = false;
  show("a");
  pass(5_000);
  assert.deepEqual([connection.sent, viewed], [[], []]);
  connection.isUp = true;
  at.attached();
  at.attached();
  assert.deepEqual(connection.sent, ["a", "a"]);
});

test("the view is sent after each ready, unless the node does not take it", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => core.connection.phase === "live");
  assert.deepEqual(server.framesOf("view"), [viewWith([])]);
  core.screen.show(viewWith([ID]));
  await until("the change is sent", () => server.framesOf("view").length === 2);
  server.cut();
  await until("sent again", () => server.framesOf("view").length === 3);
  assert.deepEqual(server.framesOf("view").at(-1), viewWith([ID]));
  server.accepts = ["ping"];
  server.cut();
  const isBack = () => server.queries.length === 3 && core.connection.phase === "live";
  await until("live again", isBack);
  core.screen.show(viewWith([]));
  assert.equal(server.framesOf("view").length, 3);
});
