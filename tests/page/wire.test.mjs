// Checks the golden files of the wire, as the Rust tests do (tests/conformance/wire.rs).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Problem } from "../../localstack/embedded-stack/page/api.js";
import { closePolicy } from "../../localstack/embedded-stack/page/closes.js";
import { Gaps } from "../../localstack/embedded-stack/page/gaps.js";
import { timeOf } from "../../localstack/embedded-stack/page/ids.js";
import { logOfMessage } from "../../localstack/embedded-stack/page/logs.js";
import { storeWith } from "./fakes.mjs";

function golden(name) {
  const file = new URL(`../fixtures/wire/${name}.json`, import.meta.url);
  const cases = JSON.parse(readFileSync(file, "utf8"));
  assert.ok(cases.length > 0, name);
  return cases;
}

const channelOf = (message) => ({ channel_id: message.channel_id, type: "GROUP_CHANNEL" });

/** What a store shows of one message after it got several. */
function shownAfter(messages, id) {
  const store = storeWith({ channels: [channelOf(messages[0])] });
  const timeline = store.timeline(logOfMessage(messages[0]));
  // As if its thread were open, if it is a reply.
  timeline.isKept = true;
  for (const message of messages) store.deliver(message, "push");
  return timeline.messages.get(id);
}

function carried(file, field) {
  const frames = golden(file).map((one) => JSON.parse(one[field]));
  return frames.map((frame) => frame.message ?? frame.p?.message).filter(Boolean);
}

/** A frame leaves out a long text that did not change. */
const hasText = (message) => message.message !== undefined;

test("a message of any frame, publication, page and row is read unchanged", () => {
  const pages = golden("answers").flatMap(({ body }) => body.messages ?? []);
  const rows = golden("rows").flatMap(({ message }) => message ?? []);
  const all = [...carried("server_frames", "text"), ...carried("publications", "wire")];
  for (const message of [...all, ...pages, ...rows].filter(hasText)) {
    const shown = shownAfter([message], message.id);
    assert.equal(shown.message, message.message);
    assert.equal(new Date(timeOf(message.id)).toISOString(), message.created_at);
  }
});

test("a copy without its text is taken only where that text is", () => {
  const copies = carried("server_frames", "text").filter(({ id }) => id.endsWith("0001"));
  const sent = copies.find(({ rev, id }) => rev === id);
  const bare = copies.find((copy) => !hasText(copy));
  assert.equal(shownAfter([bare], bare.id), undefined);
  const shown = shownAfter([sent, bare], bare.id);
  assert.deepEqual([shown.message, shown.rev], [sent.message, bare.rev]);
  assert.equal(shown.reactions.length, bare.reactions.length);
});

test("of two copies, the one with the greater revision stays, whichever arrives first", () => {
  const copies = carried("server_frames", "text").filter(({ id }) => id.endsWith("1"));
  const [sent, changed] = copies.filter(({ id }) => id === copies[0].id);
  assert.ok(changed.rev > sent.rev);
  for (const order of [
    [sent, changed],
    [changed, sent],
    [changed, sent, changed],
  ])
    assert.equal(shownAfter(order, sent.id).message, changed.message);
});

test("each close code is answered as the protocol says", () => {
  const next = {
    "report the node and resume": "elsewhere",
    resume: "resume",
    "wait and resume": "wait",
    "fresh token": "fresh_token",
    stop: "stop",
  };
  // 1000 answers the page's own close, so the page does nothing after it.
  for (const { code, then } of golden("close_codes").filter(({ code }) => code !== 1000))
    assert.equal(closePolicy(code).next, next[then], `${code}`);
});

test("each error code is retried if that may help", () => {
  for (const { code, status, retry } of golden("error_codes"))
    assert.equal(new Problem(status, { code }).retryable, retry === "after backoff", code);
});

test("marks of known messages match the server's", async () => {
  for (const { offset, revs, known } of golden("known")) {
    const channel_id = "C01MCC5RM00000000000000000A";
    const store = storeWith({ channels: [channelOf({ channel_id })] });
    for (const [id, rev] of Object.entries(revs))
      store.deliver({ id, channel_id, sender_id: "bob", message: "hi", rev }, "push");
    assert.equal(await new Gaps(store).known(channel_id, offset), known);
  }
});
