// Public channels, the details of channels, and profiles.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { changedOf } from "../../localstack/embedded-stack/page/dialogs.js";
import { Profiles } from "../../localstack/embedded-stack/page/profiles.js";
import { GENERAL, storeWith } from "./fakes.mjs";

const CHANNEL = { ...GENERAL, topic: "", archived: false, visibility: "public", details_version: 1 };

function golden(name) {
  const file = new URL(`../fixtures/wire/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8"));
}

function details(version, fields) {
  const { channel_id, name, topic, archived } = { ...CHANNEL, ...fields };
  return { type: "channel", channel_id, name, topic, archived, details_version: version };
}

test("the greatest version of a channel's details stays, whichever arrives first", () => {
  const [second, third] = [details(2, { name: "lunch" }), details(3, { archived: true })];
  for (const order of [
    [second, third],
    [third, second],
    [third, second, third],
  ]) {
    const store = storeWith({ channels: [CHANNEL] });
    for (const frame of order) assert.ok(store.setDetails(frame));
    assert.deepEqual([store.active, store.channels.size], [null, 1]);
    const { name, archived } = store.channels.get(CHANNEL.channel_id);
    assert.deepEqual([name, archived], ["general", true]);
  }
});

test("a list that was read before a change does not undo it", () => {
  const store = storeWith({ channels: [CHANNEL] });
  store.setDetails(details(2, { topic: "noon" }));
  store.setChannels([{ ...CHANNEL, members_version: 7 }]);
  const channel = store.channels.get(CHANNEL.channel_id);
  assert.deepEqual([channel.topic, channel.members_version], ["noon", 7]);
  store.setChannels([{ ...CHANNEL, topic: "later", details_version: 3 }]);
  assert.equal(store.channels.get(CHANNEL.channel_id).topic, "later");
});

test("frames of the golden file change the details, and frames without them are left to a read", () => {
  const frames = golden("server_frames")
    .map(({ text }) => JSON.parse(text))
    .filter(({ type }) => type === "channel");
  const { channel_id } = frames[0];
  for (const frame of frames) {
    const store = storeWith({ channels: [{ ...CHANNEL, channel_id }] });
    assert.equal(store.setDetails(frame), frame.details_version !== undefined);
    const { archived } = store.channels.get(channel_id);
    assert.equal(archived, frame.change === "archived");
  }
  const elsewhere = storeWith({ channels: [] });
  assert.ok(frames.every((frame) => !elsewhere.setDetails(frame)), "an unknown channel");
});

test("only what a person changed is sent", () => {
  const fields = (entries) => new Map(Object.entries(entries));
  const same = fields({ name: "general", topic: "" });
  assert.deepEqual(changedOf(same, CHANNEL), {});
  assert.deepEqual(changedOf(fields({ name: " food ", topic: "" }), CHANNEL), { name: "food" });
  const archived = fields({ name: "general", topic: "", archived: "on" });
  assert.deepEqual(changedOf(archived, CHANNEL), { archived: true });
  assert.deepEqual(changedOf(same, { ...CHANNEL, archived: true }), { archived: false });
});

const profile = (user_id, name, rev) => ({ user_id, name, rev });

test("people are called by their names, of the newest revision, and by their ids without one", () => {
  const store = storeWith();
  store.setProfiles([profile("bob", "Bobby", "2"), profile("carol", "", "1")]);
  store.setProfiles([profile("bob", "Bob", "1")]);
  assert.deepEqual(["bob", "carol", "dave"].map((id) => store.displayName(id)), [
    "Bobby",
    "carol",
    "dave",
  ]);
});

test("profiles are read once for everybody, again when they are old, and after a failure", async () => {
  const store = storeWith();
  store.channelsKnown = false;
  const asked = [];
  let now = 0;
  const answers = [new Error("down"), { users: [profile("bob", "Bob", "1")] }, { users: [] }];
  const api = {
    offline: false,
    profiles: async (ids) => {
      asked.push(ids.length);
      const answer = answers.shift() ?? { users: [] };
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  const profiles = new Profiles(api, store, () => now);
  await assert.rejects(profiles.read());
  await profiles.read();
  assert.equal(store.displayName("bob"), "Bob");
  await profiles.read();
  assert.deepEqual(asked, [3, 3], "alice, bob and carol, who are known already");
  now += 5 * 60_000;
  await profiles.read();
  assert.deepEqual(asked, [3, 3, 3]);
  const members = Array.from({ length: 150 }, (_, n) => ({ user_id: `u${n}` }));
  store.setMembers(GENERAL.channel_id, members);
  await profiles.read();
  await profiles.read();
  assert.deepEqual(asked.slice(3), [100, 50]);
});
