// Blocked or full storage, drafts, and which tab owns a queue.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Drafts } from "../../localstack/embedded-stack/page/drafts.js";
import { SafeStorage } from "../../localstack/embedded-stack/page/storage.js";
import { claimTab } from "../../localstack/embedded-stack/page/tab.js";
import { BrowserStorage, GENERAL, Locks } from "./fakes.mjs";

const LABEL = { name: "general", type: "GROUP_CHANNEL" };
const SOON_MS = 20;

test("storage that throws on access is replaced by memory", () => {
  const storage = new SafeStorage(() => {
    throw new DOMException("blocked", "SecurityError");
  });
  assert.equal(storage.isBlocked, true);
  assert.equal(storage.write("key", { a: 1 }), false);
  assert.deepEqual(storage.read("key"), { a: 1 });
});

test("what full storage refuses is kept in memory, and stored once there is space", () => {
  const browser = new BrowserStorage();
  const storage = new SafeStorage(() => browser);
  storage.write("key", { a: 1 });
  browser.isFull = true;
  assert.equal(storage.write("key", { a: 2 }), false);
  assert.deepEqual(storage.read("key"), { a: 2 });
  browser.isFull = false;
  assert.equal(storage.write("key", { a: 3 }), true);
  assert.deepEqual(new SafeStorage(() => browser).read("key"), { a: 3 });
});

test("a stored value that is not JSON counts as absent", () => {
  const browser = new BrowserStorage();
  browser.setItem("key", "{");
  assert.deepEqual(new SafeStorage(() => browser).read("key"), {});
});

test("drafts survive a reload, by channel and with its name", () => {
  const browser = new BrowserStorage();
  const load = () => new Drafts(new SafeStorage(() => browser), "demo", "alice");
  const drafts = load();
  drafts.set(GENERAL.channel_id, LABEL, "half a sentence");
  assert.equal(load().get(GENERAL.channel_id), "half a sentence");
  assert.deepEqual(load().labels(), [[GENERAL.channel_id, LABEL]]);
  drafts.set(GENERAL.channel_id, LABEL, "");
  assert.deepEqual(load().labels(), []);
});

test("a draft that storage refuses is reported", () => {
  const browser = new BrowserStorage();
  const drafts = new Drafts(new SafeStorage(() => browser), "demo", "alice");
  browser.isFull = true;
  drafts.set(GENERAL.channel_id, LABEL, "too much");
  assert.equal(drafts.isStored, false);
  assert.equal(drafts.get(GENERAL.channel_id), "too much");
  drafts.set(GENERAL.channel_id, LABEL, "");
  assert.equal(drafts.isStored, true, "there is nothing to lose any more");
});

test("a reloaded tab owns its queue, a copy beside the original does not", async () => {
  const locks = new Locks();
  const browser = new BrowserStorage();
  const claim = (of) => claimTab(new SafeStorage(() => of), locks, SOON_MS);
  assert.equal(await claim(browser), "own");
  const copied = browser.copy();
  assert.equal(await claim(copied), "copy");
  locks.releaseAll();
  assert.equal(await claim(browser), "own");
  assert.equal(await claim(copied), "own");
});

test("without locks, or if they are forbidden, the owner is unknown", async () => {
  const session = new SafeStorage(() => new BrowserStorage());
  assert.equal(await claimTab(session, undefined), "unknown");
  const forbidden = {
    request: () => Promise.reject(new DOMException("blocked", "SecurityError")),
  };
  assert.equal(await claimTab(session, forbidden), "unknown");
});
