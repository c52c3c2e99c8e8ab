// Pins in the page: acts and their ids, the mark at a message, and the list of a channel's pins.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Api, Problem } from "../../localstack/embedded-stack/page/api.js";
import { lowestIdAt, mintId, timeOf } from "../../localstack/embedded-stack/page/ids.js";
import { Listing } from "../../localstack/embedded-stack/page/listing.js";
import { Pins } from "../../localstack/embedded-stack/page/pins.js";
import { Profiles } from "../../localstack/embedded-stack/page/profiles.js";
import { GENERAL, storeWith } from "./fakes.mjs";

const CHANNEL = GENERAL.channel_id;
const NOW = 1_800_000_000_000;

const PINNED = { pinned: { at: new Date(NOW).toISOString(), by: "bob" } };

function revAt(step) {
  return lowestIdAt(NOW + step);
}

function messageAt(step, fields = {}) {
  const id = revAt(step);
  return { id, channel_id: CHANNEL, sender_id: "bob", message: `at ${step}`, rev: id, ...fields };
}

/** A copy of a later revision. */
function changed({ pinned: _, ...message }, step, fields = {}) {
  return { ...message, rev: revAt(step), text_rev: message.id, ...fields };
}

/** An answer that the test gives when it likes. */
function later() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

/** The page of alice with a message of bob; `answer(makes)` answers calls. */
function world(answer) {
  const store = storeWith();
  const sent = messageAt(-60_000);
  store.deliver(sent, "push");
  const calls = [];
  const call = (makes) => async (channelId, id, changeId) => {
    assert.deepEqual([channelId, id], [CHANNEL, sent.id]);
    calls.push({ makes, changeId });
    return answer(makes, calls.length);
  };
  const pins = new Pins({ clock: { now: () => NOW }, pin: call(true), unpin: call(false) }, store);
  const failed = [];
  pins.failed = (makes, problem) => failed.push([makes, problem.code ?? problem.message]);
  const here = () => store.timeline(CHANNEL).messages.get(sent.id);
  return { store, sent, calls, pins, failed, here };
}

/** A listing that is open over these pages, and what it shows. */
async function listingOf(store, ...pages) {
  const listing = new Listing(store);
  const offsets = [];
  const read = async (offset) => {
    offsets.push(offset);
    const page = await pages[offsets.length - 1];
    if (page instanceof Error) throw page;
    return page;
  };
  const opened = listing.open(read);
  const isPinned = ({ pinned }) => pinned !== undefined;
  const shown = () => listing.shown(isPinned).map(({ message }) => message);
  return { listing, offsets, shown, opened };
}

test("a pin is shown when its answer is here, and its removal takes the mark away", async () => {
  const { sent, pins, here, calls, failed } = world((makes) =>
    makes ? changed(sent, 1, PINNED) : changed(sent, 2),
  );
  const done = pins.set(here(), true);
  assert.deepEqual([here().pinned, pins.isBusy(here())], [undefined, true]);
  await done;
  assert.deepEqual([here().pinned, pins.isBusy(here())], [PINNED.pinned, false]);
  await pins.set(here(), false);
  assert.equal(here().pinned, undefined);
  assert.deepEqual(
    calls.map(({ makes }) => makes),
    [true, false],
  );
  assert.deepEqual(failed, []);
});

test("a later copy without the pin takes the mark away, and an older one does not bring it back", () => {
  const { store, sent, here } = world();
  store.deliver(changed(sent, 2, PINNED), "push");
  const { message: _, ...bare } = changed(sent, 3);
  store.deliver(bare, "push");
  assert.deepEqual([here().pinned, here().message], [undefined, sent.message]);
  store.deliver(changed(sent, 2, PINNED), "scroll");
  assert.equal(here().pinned, undefined);
});

test("while a call is under way another click does nothing", async () => {
  const call = later();
  const { sent, pins, here, calls } = world(() => call.promise);
  const done = pins.set(here(), true);
  await pins.set(here(), true);
  await pins.set(here(), false);
  assert.equal(calls.length, 1);
  call.resolve(changed(sent, 1, PINNED));
  await done;
});

test("each act has a greater id, also than a pin of somebody whose clock is ahead", async () => {
  const ahead = { pinned: { at: new Date(NOW + 900).toISOString(), by: "bob" } };
  const { store, sent, pins, here, calls } = world((makes, count) =>
    makes ? changed(sent, 10 + count, PINNED) : changed(sent, 10 + count),
  );
  store.deliver(changed(sent, 1, ahead), "push");
  await pins.set(here(), false);
  await pins.set(here(), true);
  await pins.set(here(), false);
  const ids = calls.map(({ changeId }) => changeId);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.ok(timeOf(ids[0]) > NOW + 900);
});

test("a refused act says why, and the message stays as it was", async () => {
  const refusal = new Problem(409, { code: "too_many_pins", detail: "100 are pinned" });
  const { pins, here, failed } = world(() => Promise.reject(refusal));
  await pins.set(here(), true);
  assert.deepEqual(failed, [[true, "too_many_pins"]]);
  assert.deepEqual([here().pinned, pins.isBusy(here())], [undefined, false]);
});

test("an act that another one outdid is reported", async () => {
  const { sent, pins, here, failed } = world(() => changed(sent, 1));
  await pins.set(here(), true);
  assert.deepEqual(failed, [[true, "Somebody else changed it at the same moment."]]);
});

test("an answer for a channel that the user left meanwhile brings nothing back", async () => {
  const call = later();
  const { store, sent, pins, here, failed } = world(() => call.promise);
  const done = pins.set(here(), true);
  store.setChannels([]);
  call.resolve(changed(sent, 1, PINNED));
  await done;
  assert.deepEqual([store.timeline(CHANNEL).order, failed], [[], []]);
});

test("an answer that comes after the message's deletion does not undo it", async () => {
  const call = later();
  const { store, sent, pins, here } = world(() => call.promise);
  const done = pins.set(here(), true);
  const deleted = { at: new Date(NOW).toISOString(), by: "bob" };
  store.deliver(changed(sent, 2, { message: "", deleted }), "push");
  call.resolve(changed(sent, 1, PINNED));
  await done;
  assert.deepEqual([here().pinned, here().message, here().deleted], [undefined, "", deleted]);
});

test("the list goes on at the next offset, newest first, and ends", async () => {
  const store = storeWith();
  const [older, newer] = [messageAt(1, PINNED), messageAt(2, PINNED)];
  const { listing, offsets, shown, opened } = await listingOf(
    store,
    { messages: [newer], next_offset: "a/b+c" },
    { messages: [older], next_offset: null },
  );
  await opened;
  assert.deepEqual([shown(), listing.next], [["at 2"], "a/b+c"]);
  await Promise.all([listing.more(), listing.more()]);
  assert.deepEqual([shown(), listing.next], [["at 2", "at 1"], null]);
  await listing.more();
  assert.deepEqual(offsets, [undefined, "a/b+c"]);
});

test("the list follows what happens while it is open", async () => {
  const store = storeWith();
  const sent = [1, 2, 3, 4].map((step) => messageAt(step));
  for (const message of sent.slice(1)) store.deliver(message, "push");
  const page = sent.slice(1, 3).map((message) => changed(message, 10, PINNED));
  const { shown, opened } = await listingOf(store, { messages: page, next_offset: "x" });
  await opened;
  assert.deepEqual(shown(), ["at 3", "at 2"]);
  const { message: _, ...bare } = changed(sent[3], 11, PINNED);
  store.deliver(bare, "push");
  assert.deepEqual(shown(), ["at 4", "at 3", "at 2"], "the text is the one that is here");
  store.deliver(changed(sent[2], 12), "push");
  const deleted = { at: new Date(NOW).toISOString(), by: "bob" };
  store.deliver(changed(sent[1], 13, { message: "", deleted }), "push");
  assert.deepEqual(shown(), ["at 4"]);
  store.deliver(changed(sent[0], 14, PINNED), "push");
  assert.deepEqual(shown(), ["at 4"], "a later page has it");
});

test("a pin that is known here is listed, even if the server's list lacks it yet", async () => {
  const store = storeWith();
  const sent = [1, 2, 3].map((step) => messageAt(step));
  for (const message of sent) store.deliver(message, "push");
  for (const message of sent) store.deliver(changed(message, 10, PINNED), "push");
  const page = { messages: [changed(sent[1], 10, PINNED)], next_offset: "x" };
  const { listing, shown, opened } = await listingOf(store, page);
  assert.deepEqual(shown(), [], "nothing before the first page");
  await opened;
  assert.deepEqual(shown(), ["at 3", "at 2"], "further back, the next page has it");
  listing.close();
  assert.deepEqual(shown(), []);
});

test("a page that was read before a removal does not bring the pin back", async () => {
  const store = storeWith();
  const sent = messageAt(1);
  const answer = later();
  const { shown, opened } = await listingOf(store, answer.promise);
  // The message is in pages of the history that are not here.
  store.timeline(CHANNEL).historyOffset = revAt(5);
  assert.equal(store.deliver(changed(sent, 11), "push"), "unread");
  answer.resolve({ messages: [changed(sent, 10, PINNED)], next_offset: null });
  await opened;
  assert.deepEqual(shown(), []);
});

test("a change without its text shows the text it had, and no outdated one", async () => {
  const store = storeWith();
  store.timeline(CHANNEL).historyOffset = revAt(5);
  const sent = messageAt(1);
  const page = { messages: [changed(sent, 10, PINNED)], next_offset: null };
  const { shown, opened } = await listingOf(store, page);
  await opened;
  const { message: _, ...bare } = changed(sent, 11, PINNED);
  store.deliver(bare, "push");
  assert.deepEqual(shown(), ["at 1"]);
  store.deliver({ ...bare, rev: revAt(13), text_rev: revAt(12) }, "push");
  assert.deepEqual(shown(), []);
});

test("a late answer to an earlier opening changes nothing", async () => {
  const store = storeWith();
  const [first, second] = [later(), later()];
  const listing = new Listing(store);
  const opened = listing.open(() => first.promise);
  listing.close();
  assert.deepEqual([store.listings.has(listing), listing.busy], [false, false]);
  const openedAgain = listing.open(() => second.promise);
  first.resolve({ messages: [messageAt(1, PINNED)], next_offset: null });
  await opened;
  assert.deepEqual([listing.shown(() => true), listing.busy, listing.next], [[], true, undefined]);
  second.resolve({ messages: [messageAt(2, PINNED)], next_offset: null });
  await openedAgain;
  assert.deepEqual([listing.messages.length, listing.busy], [1, false]);
});

test("a page that could not be read is read again on demand", async () => {
  const store = storeWith();
  const refusal = new Problem(503, { code: "unavailable" });
  const { listing, offsets, shown, opened } = await listingOf(store, refusal, {
    messages: [messageAt(1, PINNED)],
    next_offset: null,
  });
  await opened;
  assert.deepEqual([listing.problem, listing.busy, shown()], [refusal, false, []]);
  await listing.more();
  assert.deepEqual([listing.problem, shown(), offsets], [null, ["at 1"], [undefined, undefined]]);
});

test("whoever pinned or wrote a listed message is known by name, but is no proof of a user", async () => {
  const store = storeWith();
  store.deliver(messageAt(1, { pinned: { ...PINNED.pinned, by: "erin" } }), "push");
  const listed = messageAt(2, { ...PINNED, sender_id: "frank" });
  const { opened } = await listingOf(store, { messages: [listed], next_offset: null });
  await opened;
  let asked;
  const api = { offline: false, profiles: async (ids) => ((asked = ids), { users: [] }) };
  await new Profiles(api, store).read();
  assert.deepEqual([asked.includes("erin"), asked.includes("frank")], [true, true]);
  assert.ok(!store.people().has("erin"));
});

test("the channel, the message and the act's id are in the path, and an offset is encoded", async () => {
  const api = new Api("demo", "alice");
  const requests = [];
  api.request = async (method, path) => requests.push(`${method} ${path}`);
  const id = mintId(NOW);
  await api.pin("C1", id, "X1");
  await api.unpin("C1", id, "X2");
  await api.pins("C1");
  await api.pins("C1", "a/b+c&d");
  assert.deepEqual(requests, [
    `PUT /channels/C1/pins/${id}?change_id=X1`,
    `DELETE /channels/C1/pins/${id}?change_id=X2`,
    "GET /channels/C1/pins?limit=20",
    "GET /channels/C1/pins?limit=20&offset=a%2Fb%2Bc%26d",
  ]);
});
