// Where a message is, by its channel's contract.

import assert from "node:assert/strict";
import { test } from "node:test";

import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { placesOf, STATE_WORDS } from "../../localstack/embedded-stack/page/where.js";

const T = 1_800_000_000_000;
const DAY_MS = 24 * 3_600_000;
const KEPT = { type: "GROUP_CHANNEL" };
const FAST = { type: "GROUP_CHANNEL", contract: "deliver_first" };
const MEETING = { type: "GROUP_CHANNEL", contract: "ephemeral" };

/** `place: state` of a message, in order. */
function statesOf(channel, delivery, about = {}) {
  const message = { id: lowestIdAt(T), delivery };
  const known = { isOwn: true, receipt: null, others: 1, now: T + 1_000, ...about };
  return placesOf(message, channel, known).map(({ id, state }) => `${id}: ${state}`);
}

function receipt(state, archived = false) {
  return { archived, replicated: true, progress: [{ user: "bob", state }] };
}

test("stored first: the table, then Redis for a day, then devices", () => {
  const queued = ["sender: here", "archive: coming", "redis: not", "devices: not"];
  assert.deepEqual(statesOf(KEPT, "queued"), queued);
  const stored = ["sender: here", "archive: here", "redis: here", "devices: here"];
  assert.deepEqual(statesOf(KEPT, "stored"), stored);
  const old = ["sender: here", "archive: here", "redis: gone", "devices: here"];
  assert.deepEqual(statesOf(KEPT, "stored", { now: T + DAY_MS }), old);
});

test("delivered first: Redis, devices as they say it, then the archive", () => {
  const first = (about, delivery = "stored") => statesOf(FAST, delivery, about);
  const queued = ["sender: here", "redis: coming", "devices: not", "archive: not"];
  assert.deepEqual(first({ receipt: receipt("waiting") }, "queued"), queued);
  const accepted = ["sender: here", "redis: here", "devices: coming", "archive: coming"];
  assert.deepEqual(first({ receipt: receipt("waiting") }), accepted);
  const delivered = ["sender: here", "redis: here", "devices: here", "archive: coming"];
  assert.deepEqual(first({ receipt: receipt("delivered") }), delivered);
  const archived = ["sender: here", "redis: here", "devices: here", "archive: here"];
  assert.deepEqual(first({ receipt: receipt("read", true) }), archived);
});

test("devices have it in part as long as one has not said so", () => {
  const progress = [{ user: "bob", state: "read" }, { user: "carol", state: "waiting" }];
  const about = { isOwn: true, receipt: { archived: false, progress }, others: 2, now: T + 1_000 };
  const message = { id: lowestIdAt(T), delivery: "stored" };
  const { state, words } = placesOf(message, FAST, about)[2];
  assert.deepEqual([state, words], ["some", "1 of 2 have it. Read by 1."]);
});

test("of another's message nobody here knows when it was archived", () => {
  const theirs = (age) => statesOf(FAST, "stored", { isOwn: false, now: T + age }).at(-1);
  assert.equal(theirs(1_000), "archive: coming");
  assert.equal(theirs(61_000), "archive: unknown");
});

test("a meeting: devices, and nowhere else", () => {
  const said = ["sender: here", "devices: here", "redis: never", "archive: never"];
  assert.deepEqual(statesOf(MEETING, "said"), said);
  const unsent = ["sender: here", "devices: not", "redis: never", "archive: never"];
  assert.deepEqual(statesOf(MEETING, "failed"), unsent);
});

test("alone in a channel no other device has it", () => {
  const alone = { others: 0 };
  assert.equal(statesOf(KEPT, "stored", alone)[3], "devices: not");
  assert.equal(statesOf(MEETING, "said", alone)[1], "devices: not");
  assert.equal(statesOf(FAST, "stored", { ...alone, receipt: { progress: [] } })[2], "devices: not");
});

test("every state has words", () => {
  for (const channel of [KEPT, FAST, MEETING])
    for (const delivery of ["queued", "failed", "stored", "said"])
      for (const state of statesOf(channel, delivery, { receipt: receipt("waiting") }))
        assert.ok(STATE_WORDS[state.split(": ")[1]], state);
});
