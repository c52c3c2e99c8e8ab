// Names, read marks, and what is kept of a channel that the user was removed from.

import assert from "node:assert/strict";
import { test } from "node:test";

import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { BrowserStorage, GENERAL, storagesOn, storeWith } from "./fakes.mjs";

const DM = {
  channel_id: "D01ARZ3NDEKTSV4RRFFQ69G5FAV",
  type: "DM",
  name: null,
  created_by: "alice",
};

function message(ms, sender = "bob", channel = GENERAL) {
  const id = lowestIdAt(ms);
  return { id, channel_id: channel.channel_id, sender_id: sender, message: `at ${ms}` };
}

function members(...ids) {
  return ids.map((user_id) => ({ user_id }));
}

test("a DM keeps the other member's name when that one is revoked", () => {
  const store = storeWith({ channels: [DM] });
  store.setMembers(DM.channel_id, members("alice", "bob"));
  store.setMembers(DM.channel_id, members("alice"));
  assert.equal(store.nameOf(DM), "bob");
});

test("a DM with a revoked user is named after its author or creator, never after the user themselves", () => {
  const store = storeWith({ channels: [DM] });
  store.setMembers(DM.channel_id, members("alice"));
  assert.equal(store.nameOf(DM), "a revoked user");
  store.deliver(message(1, "alice", DM), "history");
  assert.equal(store.nameOf(DM), "a revoked user");
  store.deliver(message(2, "bob", DM), "history");
  assert.equal(store.nameOf(DM), "bob");
  assert.equal(store.nameOf({ ...DM, created_by: "carol" }), "carol");
});

test("tabs move each other's read marks on, and never back", () => {
  const local = new BrowserStorage();
  const [one, two] = [1, 2].map(() => storeWith({ storages: storagesOn({ local }) }));
  for (const store of [one, two]) {
    store.unread.isReading = () => false;
    for (const ms of [1, 2, 3]) store.deliver(message(ms), "push");
  }
  one.unread.markRead(GENERAL.channel_id);
  two.unread.readElsewhere();
  assert.equal(two.unread.total(), 0);
  // An outdated tab marks another channel: messages that are read here stay read.
  const behind = storeWith({ storages: storagesOn({ local }), channels: [GENERAL, DM] });
  behind.deliver(message(9, "bob", DM), "push");
  two.deliver(message(4), "push");
  two.unread.markRead(GENERAL.channel_id);
  behind.unread.markRead(DM.channel_id);
  const loaded = storeWith({ storages: storagesOn({ local }) });
  loaded.unread.isReading = () => false;
  for (const ms of [1, 2, 3, 4, 5]) loaded.deliver(message(ms), "history");
  loaded.unread.count(GENERAL.channel_id, false);
  assert.deepEqual([...loaded.timeline(GENERAL.channel_id).unread], [lowestIdAt(5)]);
});

test("a message that another tab showed first is marked as read when it arrives", () => {
  const local = new BrowserStorage();
  const [one, two] = [1, 2].map(() => storeWith({ storages: storagesOn({ local }) }));
  one.deliver(message(1), "push");
  one.deliver(message(2), "push");
  one.unread.markRead(GENERAL.channel_id);
  two.unread.readElsewhere();
  two.deliver(message(1), "push");
  two.deliver(message(2), "push");
  assert.equal(two.unread.total(), 0);
  // A late message, which neither tab had when the mark moved.
  two.deliver(message(0), "push");
  assert.equal(two.unread.total(), 1);
});

test("a channel that the user was removed from keeps its name and unsent text, and loses the rest", () => {
  const store = storeWith();
  store.deliver(message(1), "push");
  store.insertLocal({ ...message(2, "alice"), delivery: "queued" });
  store.activeId = GENERAL.channel_id;
  store.setChannels([]);
  assert.equal(store.active, null);
  assert.equal(store.titleOf(store.shown), "# general");
  assert.deepEqual(store.timeline(GENERAL.channel_id).order, [lowestIdAt(2)]);
  store.setChannels([GENERAL]);
  assert.deepEqual(store.formerWithText(), []);
  assert.equal(store.active, GENERAL);
});

test("a draft for a channel that is not in the list is listed with its name", () => {
  const session = new BrowserStorage();
  const store = storeWith({ storages: storagesOn({ session }) });
  store.drafts.set(GENERAL.channel_id, store.labelOf(GENERAL), "half a sentence");
  const next = storeWith({ storages: storagesOn({ session }), channels: [] });
  assert.deepEqual(
    next.formerWithText().map(({ name }) => name),
    ["general"],
  );
});
