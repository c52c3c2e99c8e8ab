// Edits and deletions in the page: ids of changes, kept texts, and the order of copies.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Edits } from "../../localstack/embedded-stack/page/edits.js";
import { lowestIdAt, mintId, timeOf } from "../../localstack/embedded-stack/page/ids.js";
import { storeWith } from "./fakes.mjs";

const CHANNEL = "C01MCC5RM00000000000000000A";
const NOW = 1_800_000_000_000;

function messageAt(ms, fields = {}) {
  const id = mintId(ms);
  const message = { id, channel_id: CHANNEL, sender_id: "alice", message: "a", rev: id };
  return { ...message, ...fields };
}

/** A store with a message, its edits, and the calls that were made; `answer` answers them. */
function world(answer) {
  const store = storeWith({ channels: [{ channel_id: CHANNEL, type: "GROUP_CHANNEL" }] });
  const message = messageAt(NOW - 60_000);
  store.deliver(message, "push");
  const calls = [];
  const call = async (...args) => {
    calls.push(args);
    return answer(args);
  };
  const api = { clock: { now: () => NOW }, editMessage: call, deleteMessage: call };
  const shown = () => store.timeline(CHANNEL).messages.get(message.id);
  return { store, message, calls, shown, edits: new Edits(api, store) };
}

test("an edit is repeated with its id, and another text is another edit", async () => {
  const answers = [new Error("a"), new Error("b"), null];
  const { calls, edits, message, shown } = world(([, , body]) => {
    const failure = answers.shift();
    if (failure) throw failure;
    return { ...message, message: body.message, rev: mintId(NOW), edit: body.change_id };
  });
  edits.begin(shown());
  await edits.save("b");
  assert.equal(edits.open.problem.message, "a");
  assert.equal(edits.open.text, "b", "what was typed stays");
  await edits.save("b");
  await edits.save("c");
  assert.equal(edits.open, null);
  const ids = calls.map(([, , body]) => body.change_id);
  assert.equal(ids[0], ids[1]);
  assert.notEqual(ids[1], ids[2]);
  assert.equal(shown().message, "c");
});

test("an edit is above the last one, even if that one's clock was ahead", async () => {
  const { calls, edits, message, shown, store } = world(() => message);
  const edit = mintId(NOW + 900);
  store.deliver({ ...message, rev: mintId(NOW), edit }, "push");
  edits.begin(shown());
  await edits.save("b");
  assert.ok(calls[0][2].change_id > edit);
});

test("an unchanged text is no edit", async () => {
  const { calls, edits, shown } = world(() => assert.fail());
  edits.begin(shown());
  await edits.save("a");
  assert.deepEqual([calls, edits.open], [[], null]);
});

test("a deletion is shown, whatever comes after it", async () => {
  const gone = { message: "", deleted: { at: "2027-01-15T08:00:00.000Z", by: "alice" } };
  const { edits, message, shown, store } = world(() => ({ ...message, ...gone, rev: mintId(NOW) }));
  await edits.remove(message);
  assert.equal(shown().message, "");
  store.deliver(message, "replay");
  assert.ok(shown().deleted, "an older copy changes nothing");
});

test("a change of a message on an unread page leaves no hole", () => {
  const { store } = world(() => assert.fail());
  const timeline = store.timeline(CHANNEL);
  timeline.historyOffset = timeline.order[0];
  const old = messageAt(NOW - 86_400_000, { rev: mintId(NOW), message: "edited" });
  assert.equal(store.deliver(old, "push"), "unread");
  assert.equal(store.deliver(old, "scroll"), "unread");
  assert.equal(store.deliver(old, "history"), "new", "its page brings it");
});

test("when changes are lost, older copies are read again", () => {
  const { message, store } = world(() => assert.fail());
  const timeline = store.timeline(CHANNEL);
  timeline.historyOffset = null;
  const [old, recent] = [messageAt(NOW - 120_000), messageAt(NOW)];
  for (const one of [old, recent]) store.deliver(one, "push");
  timeline.forgetThrough(lowestIdAt(timeOf(message.id) + 1));
  assert.deepEqual(timeline.order, [recent.id]);
  assert.equal(timeline.historyOffset, recent.id, "older pages go on before what is left");
});
