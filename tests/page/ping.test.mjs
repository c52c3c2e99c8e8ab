// Pings: when they are sent, what their answer says, and what it means if none comes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { closePolicy } from "../../localstack/embedded-stack/page/closes.js";
import { Probes } from "../../localstack/embedded-stack/page/probes.js";
import { Silence, SLEPT, UNANSWERED } from "../../localstack/embedded-stack/page/silence.js";
import { until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

/** A clock that a test moves, and the silence of a socket measured by it. */
function silence() {
  const clock = { ms: 0 };
  const watch = new Silence(() => clock.ms);
  /** Checks every second, as the connection does; the verdict of each second. */
  const check = (seconds) =>
    Array.from({ length: seconds }, () => {
      clock.ms += 1_000;
      return watch.verdict();
    });
  return { clock, watch, check };
}

test("without a frame within 5 s after a ping the path is dead", () => {
  const { watch, check } = silence();
  watch.pinged();
  assert.deepEqual(check(6), [null, null, null, null, null, UNANSWERED]);
  assert.deepEqual(closePolicy(UNANSWERED).next, "elsewhere");
});

test("any frame answers a ping", () => {
  const { watch, check } = silence();
  watch.pinged();
  check(4);
  watch.heard();
  assert.deepEqual(new Set(check(20)), new Set([null]));
});

test("a second ping does not put off the end of the first", () => {
  const { watch, check } = silence();
  watch.pinged();
  check(3);
  watch.pinged();
  assert.deepEqual(check(3), [null, null, UNANSWERED]);
});

test("at most one ping in 2 s", () => {
  const { clock, watch } = silence();
  assert.equal(watch.mayPing, true);
  watch.pinged();
  watch.heard();
  clock.ms = 1_999;
  assert.equal(watch.mayPing, false);
  clock.ms = 2_000;
  assert.equal(watch.mayPing, true);
});

test("after a sleep an unanswered ping is not the node's fault", () => {
  const { clock, watch, check } = silence();
  clock.ms += 20_000;
  watch.pinged();
  assert.deepEqual(check(5), [null, null, null, null, null]);
  assert.deepEqual(check(1), [SLEPT]);
});

/** The probes of a connection that counts its pings, by a clock that a test moves. */
function probes() {
  const clock = { ms: 0 };
  const connection = { pings: 0, quietMs: 0, ping: () => (connection.pings += 1) };
  return { clock, connection, probes: new Probes(connection, () => clock.ms) };
}

test("a user who comes back after a while makes a ping, once", () => {
  const { clock, connection, probes: at } = probes();
  at.userCameBack();
  at.userLeft();
  clock.ms += 9_999;
  at.userCameBack();
  assert.equal(connection.pings, 0);
  // The window loses the focus, then the tab is hidden; both come back.
  at.userLeft();
  clock.ms += 6_000;
  at.userLeft();
  clock.ms += 6_000;
  at.userCameBack();
  at.userCameBack();
  assert.equal(connection.pings, 1);
});

test("a change of the network, and a send after a minute of silence, make a ping", () => {
  const { connection, probes: at } = probes();
  at.networkChanged();
  assert.equal(connection.pings, 1);
  connection.quietMs = 60_000;
  at.beforeSend();
  assert.equal(connection.pings, 1);
  connection.quietMs = 60_001;
  at.beforeSend();
  assert.equal(connection.pings, 2);
});

function isLive(core) {
  return core.connection.phase === "live" && core.store.channelsKnown;
}

test("a pong moves the cursor and the clocks, as a tick does", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => isLive(core));
  server.answersPings = false;
  core.connection.ping();
  core.connection.ping();
  assert.deepEqual(server.framesOf("ping"), [{}]);
  const server_time = Date.now() + 1_000_000;
  server.push({ type: "pong", cursor: "c7", server_time, fresh: false });
  assert.equal(core.connection.cursor, "c7");
  assert.equal(core.connection.lastTick.fresh, false);
  assert.ok(core.connection.lastPong.tookMs >= 0);
  assert.ok(core.api.clock.now() >= server_time);
});

test("a node that does not take pings gets none", async (t) => {
  const server = new FakeServer(["general"]);
  server.accepts = undefined;
  const core = start(t);
  await until("live", () => isLive(core));
  core.connection.ping();
  assert.deepEqual(server.frames, []);
});

test("a dead path is left 5 s after a ping, and the page resumes", async (t) => {
  const server = new FakeServer(["general"]);
  const core = start(t);
  await until("live", () => isLive(core));
  Object.assign(server, { answersPings: false, resumed: true });
  core.probes.networkChanged();
  const { now } = performance;
  let aheadMs = 0;
  t.mock.method(performance, "now", () => now.call(performance) + aheadMs);
  // In steps between two checks: a single one would be taken for a sleep.
  const clock = setInterval(() => (aheadMs += 40), 20);
  t.after(() => clearInterval(clock));
  const connects = () => server.calls.filter((call) => call === "GET /connect").length;
  await until("connected again", () => connects() === 2 && core.connection.phase === "live");
  assert.equal(server.queries.at(-1), "failed=N1");
  const [lost] = core.store.log.entries.filter(({ tone }) => tone === "good").slice(-1);
  assert.match(lost.steps[0], /^lost node N1 \(no answer to a ping\)/);
});
