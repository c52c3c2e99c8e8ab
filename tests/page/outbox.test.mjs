// The user's own messages are stored once, in the order typed, and never lost silently.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Problem } from "../../localstack/embedded-stack/page/api.js";
import { lowestIdAt, timeOf } from "../../localstack/embedded-stack/page/ids.js";
import { Outbox } from "../../localstack/embedded-stack/page/outbox.js";
import { BrowserStorage, FakeApi, GENERAL, storagesOn, storeWith, until } from "./fakes.mjs";

const HOUR_MS = 3_600_000;

function outboxWith({ api = new FakeApi(), session = new BrowserStorage(), channels } = {}) {
  const storages = storagesOn({ session });
  const store = storeWith({ storages, channels });
  const outbox = new Outbox(api, store, storages.session, () => false);
  const shown = () => [...store.timeline(GENERAL.channel_id).messages.values()];
  const texts = () =>
    store
      .timeline(GENERAL.channel_id)
      .order.map((id) => store.timeline(GENERAL.channel_id).messages.get(id).message);
  const push = (text, ms) =>
    store.deliver(
      { id: lowestIdAt(ms), channel_id: GENERAL.channel_id, sender_id: "bob", message: text },
      "push",
    );
  return { api, session, store, outbox, shown, texts, push };
}

function outOfRange(field) {
  return new Problem(422, { code: "id_out_of_range", field });
}

test("an id that a wrong clock made is replaced, and later ids do not follow it", async () => {
  const { api, outbox, shown, push } = outboxWith();
  const right = api.serverTime;
  push("stored before", right - 60_000);
  // The page's clock is an hour ahead.
  api.clock.observe(right + HOUR_MS, 0, 0);
  api.answer = (body) => {
    if (timeOf(body.id) > right + 600_000) {
      // Every refusal carries the server's time.
      api.clock.observe(right, 0, 0);
      throw outOfRange("id");
    }
    return api.stored(body);
  };
  outbox.submit(GENERAL.channel_id, "one");
  outbox.submit(GENERAL.channel_id, "two");
  outbox.release();
  await until("both are stored", () => shown().filter((m) => m.delivery === "stored").length === 3);
  outbox.submit(GENERAL.channel_id, "three");
  await until("all are stored", () => shown().every((m) => m.delivery === "stored"));
  const [doomed, ...later] = api.sent.map(({ id }) => id);
  assert.ok(timeOf(doomed) > right + 600_000);
  assert.equal(later.length, 3);
  for (const id of later) assert.ok(timeOf(id) < right + 10_000, "made after the time was known");
  assert.deepEqual(
    api.sent.map(({ message }) => message),
    ["one", "one", "two", "three"],
  );
});

test("an id that stays out of range is a failure, and a retry makes another one", async () => {
  const { api, outbox, shown } = outboxWith();
  api.answer = () => {
    throw outOfRange("id");
  };
  outbox.submit(GENERAL.channel_id, "one");
  outbox.release();
  await until("it failed", () => shown()[0].delivery === "failed");
  const refused = new Set(api.sent.map(({ id }) => id));
  assert.equal(refused.size, api.sent.length, "no refused id was sent again");
  api.answer = (body) => api.stored(body);
  outbox.retry(shown()[0].id);
  await until("it is stored", () => shown()[0].delivery === "stored");
  assert.ok(!refused.has(shown()[0].id));
});

test("an id of a wrong clock that stays in the list does not raise later ids", async () => {
  const { api, outbox, shown } = outboxWith();
  const right = api.serverTime;
  api.clock.observe(right + HOUR_MS, 0, 0);
  api.answer = () => {
    throw new Problem(413, { code: "message_too_long" });
  };
  outbox.submit(GENERAL.channel_id, "too long");
  outbox.release();
  await until("it failed", () => shown()[0].delivery === "failed");
  api.clock.observe(right, 0, 0);
  api.answer = (body) => api.stored(body);
  outbox.submit(GENERAL.channel_id, "short");
  await until("it is sent", () => outbox.unsent === 1);
  assert.ok(timeOf(api.sent.at(-1).id) < right + 10_000);
});

test("an `after` that is out of range keeps the id: an earlier attempt may be stored", async () => {
  const { api, outbox, shown, push } = outboxWith();
  push("from a server whose clock is ahead", api.serverTime + 5_000);
  api.answer = (body) => {
    if (body.after === undefined) return api.stored(body);
    api.clock.observe(api.serverTime - HOUR_MS, 0, 0);
    throw outOfRange("after");
  };
  outbox.submit(GENERAL.channel_id, "one");
  outbox.release();
  await until("it is stored", () =>
    shown().some((m) => m.message === "one" && m.delivery === "stored"),
  );
  assert.equal(api.sent.length, 2);
  assert.equal(api.sent[0].id, api.sent[1].id);
});

test("queued messages are sent under current ids, in the order typed", async () => {
  const { api, outbox, texts, push } = outboxWith();
  for (const text of ["one", "two", "three"]) outbox.submit(GENERAL.channel_id, text);
  api.serverTime += 60_000;
  api.clock.observe(api.serverTime, 0, 0);
  push("from bob", api.serverTime - 1_000);
  const shownMeanwhile = [];
  api.answer = (body) => {
    shownMeanwhile.push(texts().join());
    return api.stored(body);
  };
  outbox.release();
  await until("all are sent", () => outbox.unsent === 0);
  assert.deepEqual(texts(), ["from bob", "one", "two", "three"]);
  assert.deepEqual(new Set(shownMeanwhile), new Set(["from bob,one,two,three"]));
  assert.deepEqual(
    api.sent.map(({ message }) => message),
    ["one", "two", "three"],
  );
});

test("after a reload, queued messages are sent once, before newer ones", async () => {
  const session = new BrowserStorage();
  outboxWith({ session }).outbox.submit(GENERAL.channel_id, "queued");
  // A page that is closed before it has read the list of channels loses nothing either.
  outboxWith({ session }).outbox.submit(GENERAL.channel_id, "typed in between");
  const next = outboxWith({ session });
  next.outbox.submit(GENERAL.channel_id, "typed since");
  next.outbox.restore("own");
  next.outbox.release();
  await until("all are sent", () => next.outbox.unsent === 0);
  assert.deepEqual(
    next.api.sent.map(({ message }) => message),
    ["queued", "typed in between", "typed since"],
  );
});

test("a duplicated tab sends nothing of the original's queue's queue", async () => {
  const original = outboxWith();
  original.outbox.submit(GENERAL.channel_id, "queued");
  const copy = outboxWith({ session: original.session.copy() });
  copy.outbox.restore("copy");
  copy.outbox.release();
  copy.outbox.submit(GENERAL.channel_id, "the copy's own");
  await until("its own is sent", () => copy.outbox.unsent === 0);
  assert.deepEqual(
    copy.api.sent.map(({ message }) => message),
    ["the copy's own"],
  );
});

test("if the owner of a queue is unknown, the user decides", async () => {
  const session = new BrowserStorage();
  outboxWith({ session }).outbox.submit(GENERAL.channel_id, "queued");
  const next = outboxWith({ session });
  next.outbox.restore("unknown");
  next.outbox.release();
  assert.equal(next.shown()[0].delivery, "failed");
  assert.deepEqual(next.api.sent, []);
  next.outbox.retry(next.shown()[0].id);
  await until("it is sent", () => next.outbox.unsent === 0);
});

test("text for a channel that the user was removed from stays, and the reason is shown", async () => {
  const { outbox, store, session } = outboxWith();
  outbox.submit(GENERAL.channel_id, "queued");
  store.setChannels([]);
  outbox.refuseFormer();
  const [kept] = store.timeline(GENERAL.channel_id).unsent();
  assert.equal(kept.message, "queued");
  assert.equal(kept.reason, "you are no longer a member of this channel");
  assert.deepEqual(
    store.formerWithText().map(({ name }) => name),
    ["general"],
  );
  // A reload finds it as well, although the list does not have the channel.
  const next = outboxWith({ session, channels: [] });
  next.outbox.restore("own");
  assert.deepEqual(
    next.store.formerWithText().map(({ name }) => name),
    ["general"],
  );
  assert.equal(next.outbox.unsent, 1);
});

test("full storage is reported, and the text is still sent", async () => {
  const session = new BrowserStorage();
  const { outbox } = outboxWith({ session });
  session.isFull = true;
  outbox.submit(GENERAL.channel_id, "too much");
  assert.equal(outbox.isStored, false);
  session.isFull = false;
  outbox.release();
  await until("it is sent", () => outbox.unsent === 0);
  assert.equal(outbox.isStored, true);
});
