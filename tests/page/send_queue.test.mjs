// What is due of messages that are delivered first, and when.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  FRAME_TEXT_BYTES_MAX,
  NO_SOCKET_MS,
  REPEAT_AFTER_MS,
  SendQueue,
  UNANSWERED_MAX,
} from "../../localstack/embedded-stack/page/send_queue.js";

const T = 1_800_000_000_000;
const UNAVAILABLE = { code: "unavailable", retryable: true };

/** A queue without jitter, and one message in it. */
function queueWith(fields = {}) {
  const queue = new SendQueue(() => 0);
  const entry = queue.add({ key: "k", id: "1", channel_id: "C", text: "hi", ...fields }, T);
  const ways = (now, hasSocket = true) => queue.due(now, hasSocket).map(({ way }) => way);
  return { queue, entry, ways };
}

test("a message that is not archived is sent again after a minute, then posted until it is", () => {
  const { queue, entry, ways } = queueWith();
  assert.deepEqual(ways(T), ["send"]);
  queue.accepted(entry, T + 5, true);
  assert.equal(queue.dueAt(true), T + REPEAT_AFTER_MS);
  assert.deepEqual(ways(T + REPEAT_AFTER_MS - 1), []);
  assert.deepEqual(ways(T + REPEAT_AFTER_MS), ["send"]);
  queue.accepted(entry, T + REPEAT_AFTER_MS + 5, true);
  assert.equal(entry.acceptedAt, T + 5, "it was accepted when it was accepted first");
  let at = T + 2 * REPEAT_AFTER_MS;
  assert.deepEqual(ways(at - 1), []);
  for (const minutes of [1, 2, 4, 8, 10, 10]) {
    assert.deepEqual(ways(at), ["post"], `after ${minutes} min`);
    queue.postFailed(entry, UNAVAILABLE, at);
    assert.deepEqual(ways(at + minutes * 60_000 - 1), []);
    at += minutes * 60_000;
  }
});

test("the waits between calls are jittered by up to a half", () => {
  const queue = new SendQueue(() => 1);
  const entry = queue.add({ key: "k", id: "1", channel_id: "C", text: "hi" }, T);
  queue.due(T, true);
  queue.refused(entry, UNAVAILABLE, T);
  queue.due(T, true);
  queue.postFailed(entry, UNAVAILABLE, T);
  assert.equal(entry.dueAt, T + 1.5 * REPEAT_AFTER_MS);
});

test("at most 8 frames are unanswered", () => {
  const queue = new SendQueue(() => 0);
  for (let n = 0; n < UNANSWERED_MAX + 3; n += 1)
    queue.add({ key: `${n}`, id: `${n}`, channel_id: "C", text: "hi" }, T);
  assert.equal(queue.due(T, true).length, UNANSWERED_MAX);
  assert.equal(queue.due(T, true).length, 0);
  queue.accepted(queue.entries[0], T, false);
  const [next] = queue.due(T, true);
  assert.equal(next.entry.id, `${UNANSWERED_MAX}`);
});

test("a node that is unavailable is left for a call at once", () => {
  const { queue, entry, ways } = queueWith();
  ways(T);
  queue.refused(entry, UNAVAILABLE, T + 1);
  assert.deepEqual(ways(T + 1), ["post"]);
});

test("too many at once waits as long as the node says, and counts as no attempt", () => {
  const { queue, entry, ways } = queueWith();
  ways(T);
  queue.refused(entry, { code: "rate_limited", retryable: true, retry_after_ms: 700 }, T);
  assert.deepEqual(ways(T + 699), []);
  assert.deepEqual(ways(T + 700), ["send"]);
  assert.equal(entry.sends, 1);
});

test("without a socket a message waits 10 s for one, then it is posted", () => {
  const { queue, ways } = queueWith();
  assert.deepEqual(ways(T + NO_SOCKET_MS - 1, false), []);
  assert.equal(queue.dueAt(false), T + NO_SOCKET_MS);
  assert.deepEqual(ways(T + NO_SOCKET_MS, false), ["post"]);
});

test("a frame whose socket ended is sent on the next one, under its id", () => {
  const { queue, entry, ways } = queueWith();
  ways(T);
  queue.detached(T + 5_000);
  assert.deepEqual(ways(T + 5_000, false), []);
  assert.deepEqual(ways(T + 6_000, true), ["send"]);
  assert.equal(entry.id, "1");
  queue.detached(T + 7_000);
  // Two frames are enough.
  assert.deepEqual(ways(T + 8_000, true), ["post"]);
});

test("an accepted message does not lose its tick with the socket", () => {
  const { queue, entry, ways } = queueWith();
  ways(T);
  queue.accepted(entry, T, false);
  ways(T + REPEAT_AFTER_MS);
  queue.detached(T + REPEAT_AFTER_MS + 1);
  assert.equal(entry.state, "kept");
});

test("what a call could not send is sent by the next socket", () => {
  const { queue, entry, ways } = queueWith();
  ways(T + NO_SOCKET_MS, false);
  queue.postFailed(entry, { code: "unreachable", retryable: true }, T + NO_SOCKET_MS);
  assert.deepEqual(ways(T + NO_SOCKET_MS + 1, true), []);
  queue.attached();
  assert.deepEqual(ways(T + NO_SOCKET_MS + 1, true), ["send"]);
});

test("calls of one channel are made one at a time, in the order typed", () => {
  const queue = new SendQueue(() => 0);
  for (const [id, channel] of [["1", "C"], ["2", "C"], ["3", "D"]])
    queue.add({ key: id, id, channel_id: channel, text: "hi" }, T);
  const posted = () => queue.due(T + NO_SOCKET_MS, false).map(({ entry }) => entry.id);
  assert.deepEqual(posted(), ["1", "3"]);
  queue.remove(queue.find("1"));
  assert.deepEqual(posted(), ["2"]);
});

test("a text that no frame takes is posted", () => {
  const { ways } = queueWith({ text: "é".repeat(FRAME_TEXT_BYTES_MAX / 2 + 1) });
  assert.deepEqual(ways(T), ["post"]);
});

test("a final refusal keeps the text, until a person sends it again", () => {
  for (const code of ["channel_archived", "id_conflict"]) {
    const { queue, entry, ways } = queueWith();
    ways(T);
    queue.refused(entry, { code, retryable: false }, T);
    assert.equal(entry.state, "failed");
    assert.deepEqual([ways(T + 10 * REPEAT_AFTER_MS), queue.dueAt(true)], [[], null]);
    assert.equal(queue.again(entry, T), code === "id_conflict", "another id, if this one is taken");
    assert.deepEqual(ways(T), ["send"]);
  }
});

test("an id of a wrong clock is replaced only if nothing can be stored under it", () => {
  const outOfRange = { code: "id_out_of_range", retryable: false, field: "id" };
  const { queue, entry, ways } = queueWith({ hasLeft: true });
  ways(T);
  queue.refused(entry, outOfRange, T);
  assert.deepEqual([entry.hasLeft, entry.state], [false, "queued"]);
  // Its first attempt was accepted: the message may be there.
  const other = queueWith({ hasLeft: true });
  other.ways(T);
  other.queue.accepted(other.entry, T, false);
  other.ways(T + REPEAT_AFTER_MS);
  other.queue.refused(other.entry, outOfRange, T + REPEAT_AFTER_MS);
  assert.deepEqual([other.entry.hasLeft, other.entry.state], [true, "failed"]);
});

test("the push of a message counts as its acceptance", () => {
  const { queue, entry, ways } = queueWith();
  ways(T);
  queue.detached(T + 1);
  queue.echoed(entry, T + 2, T + 2);
  assert.deepEqual([entry.state, entry.acceptedAt], ["kept", T + 2]);
  assert.deepEqual(ways(T + 3, false), [], "it waits for the archive");
});

test("after a reload nobody waits for an answer of before", () => {
  for (const state of ["asked", "posting"]) {
    const { ways } = queueWith({ state, sends: 1, hasLeft: true });
    assert.deepEqual(ways(T), ["send"]);
  }
});

test("after a reload a message that was accepted waits for the archive anew", () => {
  const { queue, ways } = queueWith({ state: "kept", acceptedAt: T, sends: 1, dueAt: T - 5_000 });
  assert.equal(queue.dueAt(true), T + REPEAT_AFTER_MS);
  assert.deepEqual(ways(T + REPEAT_AFTER_MS), ["send"]);
  const waiting = queueWith({ state: "waiting", way: "post", dueAt: T + 500_000 });
  assert.deepEqual(waiting.ways(T), ["post"]);
});

test("a late answer to a frame does not begin a second call", () => {
  const { queue, entry, ways } = queueWith();
  ways(T);
  queue.refused(entry, UNAVAILABLE, T);
  ways(T);
  queue.accepted(entry, T + 1, true);
  assert.deepEqual([ways(T + 10 * REPEAT_AFTER_MS), entry.acceptedAt], [[], T + 1]);
});
