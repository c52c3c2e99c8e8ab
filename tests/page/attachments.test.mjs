// Files are uploaded before a message names them, and a message names only what is uploaded.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Problem } from "../../localstack/embedded-stack/page/api.js";
import {
  Attachments,
  FILE_BYTES_MAX,
  isPicture,
  nameOf,
  sizeWords,
  typeOf,
} from "../../localstack/embedded-stack/page/attachments.js";
import { Outbox } from "../../localstack/embedded-stack/page/outbox.js";
import { BrowserStorage, FakeApi, GENERAL, storagesOn, storeWith, until } from "./fakes.mjs";

const CHANNEL = GENERAL.channel_id;
const HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

function world(upload = async () => {}) {
  const store = storeWith();
  const created = [];
  const api = new FakeApi();
  api.createAttachment = async (body) => {
    created.push(body);
    const id = `${CHANNEL}-${created.length}`;
    return { id, upload: { method: "PUT", url: `http://127.0.0.1:1/files/${id}?s=1`, headers: {} } };
  };
  const attachments = new Attachments(api, store, upload);
  const state = () => attachments.of(CHANNEL).map(({ state: one }) => one);
  return { api, store, attachments, created, state };
}

const hello = (name = "a.png", type = "image/png") => new File(["hello"], name, { type });

test("a file is uploaded with its digest, and then a message may name it", async () => {
  const uploads = [];
  const { attachments, created, state } = world(async (upload, file, _signal, progress) => {
    progress(0.5);
    uploads.push([upload.url, file.name]);
  });
  attachments.add(CHANNEL, [hello()]);
  assert.deepEqual([state(), attachments.areReady(CHANNEL)], [["uploading"], false]);
  assert.deepEqual(attachments.take(CHANNEL), []);
  await until("it is uploaded", () => attachments.areReady(CHANNEL));
  assert.deepEqual(created, [
    { channel_id: CHANNEL, name: "a.png", type: "image/png", bytes: 5, sha256: HELLO },
  ]);
  assert.equal(uploads.length, 1);
  const named = { id: `${CHANNEL}-1`, name: "a.png", type: "image/png", bytes: 5 };
  assert.deepEqual(attachments.take(CHANNEL), [named]);
  assert.deepEqual([attachments.of(CHANNEL), attachments.hasAny], [[], false]);
});

test("an upload that fails says why and can be repeated, and one that is removed is cut", async () => {
  let isDown = true;
  const signals = [];
  const { attachments, state } = world(async (_upload, _file, signal) => {
    signals.push(signal);
    if (isDown) throw new Error("the upload broke off");
  });
  attachments.add(CHANNEL, [hello()]);
  await until("it failed", () => state()[0] === "failed");
  const [{ key, problem }] = attachments.of(CHANNEL);
  assert.equal(problem, "the upload broke off");
  isDown = false;
  attachments.retry(CHANNEL, key);
  await until("it is uploaded", () => state()[0] === "ready");
  attachments.remove(CHANNEL, key);
  assert.deepEqual([state(), signals.at(-1).aborted], [[], true]);
});

test("what the server would not take is refused before it is read", () => {
  const { attachments, created } = world();
  const large = { name: "a", type: "", size: FILE_BYTES_MAX + 1 };
  attachments.add(CHANNEL, [new File([], "empty"), large]);
  attachments.add(CHANNEL, Array.from({ length: 9 }, () => hello()));
  const refused = attachments.of(CHANNEL).filter(({ state }) => state === "refused");
  assert.deepEqual(
    refused.map(({ problem }) => problem),
    [
      "the file is empty",
      "the file is larger than 100 MB",
      "a message takes 10 files",
    ],
  );
  assert.deepEqual([created.length, attachments.areReady(CHANNEL)], [0, false]);
});

test("names and types are made such that the server takes them", () => {
  assert.equal(nameOf("C:\\fakepath\\a\u0000b.txt"), "ab.txt");
  assert.deepEqual([nameOf(""), nameOf(".."), nameOf("a/")], ["file", "file", "file"]);
  const long = nameOf(`${"é".repeat(200)}.png`);
  assert.ok(Buffer.byteLength(long) <= 255 && long.endsWith("é.png"), long);
  assert.equal(typeOf("Text/Plain; charset=utf-8"), "text/plain");
  for (const wrong of ["", "png", "a/b/c", "a b/c"])
    assert.equal(typeOf(wrong), "application/octet-stream", wrong);
});

test("pictures that run nothing are drawn, up to a size", () => {
  assert.ok(isPicture({ type: "image/webp", bytes: 1_000 }));
  for (const other of ["image/svg+xml", "text/html", "application/pdf"])
    assert.ok(!isPicture({ type: other, bytes: 1_000 }), other);
  assert.ok(!isPicture({ type: "image/png", bytes: 50_000_000 }));
  const sizes = [999, 1_000, 12_345, 104_857_600].map(sizeWords);
  assert.deepEqual(sizes, ["999 B", "1.0 KB", "12 KB", "105 MB"]);
});

test("a message with files keeps them over retries and a reload, and shows them at once", async () => {
  const api = new FakeApi();
  const session = new BrowserStorage();
  const file = { id: `${CHANNEL}-1`, name: "a.png", type: "image/png", bytes: 5 };
  const boxOn = () => {
    const storages = storagesOn({ session });
    const store = storeWith({ storages });
    return { store, outbox: new Outbox(api, store, storages.session, () => false) };
  };
  const before = boxOn();
  before.outbox.submit(CHANNEL, "", [file]);
  const [shown] = before.store.timeline(CHANNEL).messages.values();
  assert.deepEqual([shown.message, shown.attachments], ["", [file]]);
  const after = boxOn();
  after.outbox.restore("own");
  after.outbox.release();
  await until("it is sent", () => api.sent.length === 1);
  const { message, attachments } = api.sent[0];
  assert.deepEqual([message, attachments], ["", [file.id]]);
});

test("a file that cannot be attached any more is told", async () => {
  const api = new FakeApi();
  api.answer = () => {
    throw new Problem(400, { code: "invalid_field", field: "attachments" });
  };
  const storages = storagesOn();
  const store = storeWith({ storages });
  const outbox = new Outbox(api, store, storages.session, () => false);
  outbox.submit(CHANNEL, "hi", [{ id: "x", name: "a", type: "a/b", bytes: 1 }]);
  outbox.release();
  const shown = () => [...store.timeline(CHANNEL).messages.values()][0];
  await until("it failed", () => shown().delivery === "failed");
  assert.match(shown().reason, /attach it again/);
});
