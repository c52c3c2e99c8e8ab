// Files: those that wait beside the text of a log, and those that messages show.
//
// Main path: `add` reads a file's digest, asks for a signed upload, and uploads the bytes; `take`
// hands the ids to a message. Invariants: only files that are uploaded are handed over; a file that
// is removed is not uploaded any further. Files are not kept over a reload: no storage holds them.

import { Unreachable } from "./api.js";
import { channelOf } from "./logs.js";

export const FILES_MAX = 10;
export const FILE_BYTES_MAX = 100 * 1024 * 1024;
const NAME_BYTES_MAX = 255;
/** Types that browsers draw, and in which nothing runs. */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
/** Larger pictures are links: nobody asked for so many bytes. */
const PICTURE_BYTES_MAX = 5 * 1024 * 1024;
/** When a picture that could not be read is asked for again. */
const PICTURE_RETRY_MS = 30_000;
/** Pictures that are kept in memory. */
const PICTURES_KEPT = 60;

export class Attachments {
  #api;
  #store;
  #upload;
  #waiting = new Map();
  #pictures = new Map();
  #lastKey = 0;

  /** `upload` is `uploadTo`, except in tests. */
  constructor(api, store, upload = uploadTo) {
    this.#api = api;
    this.#store = store;
    this.#upload = upload;
  }

  /** What waits in a log: `{key, name, bytes, state, share, problem}`. */
  of(log) {
    return this.#waiting.get(log) ?? [];
  }

  /** Whether a message can be sent with what waits: all of it is uploaded. */
  areReady(log) {
    return this.of(log).every(({ state }) => state === "ready");
  }

  /** Whether something would be lost with this page. */
  get hasAny() {
    return [...this.#waiting.values()].some((files) => files.length > 0);
  }

  add(log, files) {
    for (const file of files) {
      const entry = {
        key: String((this.#lastKey += 1)),
        file,
        name: nameOf(file.name),
        bytes: file.size,
        type: typeOf(file.type),
        state: "uploading",
        share: 0,
        problem: null,
        cut: new AbortController(),
      };
      const isOver = this.of(log).length >= FILES_MAX;
      this.#waiting.set(log, [...this.of(log), entry]);
      const refusal = refusalOf(entry, isOver);
      if (refusal === null) this.#start(log, entry);
      else Object.assign(entry, { state: "refused", problem: refusal });
    }
    this.#store.changed();
  }

  remove(log, key) {
    const [entry] = this.of(log).filter((one) => one.key === key);
    entry?.cut.abort();
    this.#keep(log, (one) => one.key !== key);
  }

  retry(log, key) {
    const [entry] = this.of(log).filter((one) => one.key === key);
    if (entry?.state !== "failed") return;
    Object.assign(entry, { state: "uploading", share: 0, problem: null });
    this.#start(log, entry);
    this.#store.changed();
  }

  /** Takes what is uploaded out of the log, as a message names and shows it. */
  take(log) {
    const files = this.of(log).filter(({ state }) => state === "ready");
    this.#keep(log, ({ state }) => state !== "ready");
    return files.map(({ id, name, type, bytes }) => ({ id, name, type, bytes }));
  }

  /** The address of a picture in this page; null while it is read, or if it cannot be. */
  picture({ id }) {
    const known = this.#pictures.get(id);
    if (known !== undefined) {
      // The one that was drawn last is dropped last.
      this.#pictures.delete(id);
      this.#pictures.set(id, known);
      return known.url;
    }
    const picture = { url: null };
    this.#pictures.set(id, picture);
    this.#readPicture(id, picture);
    return null;
  }

  /** Reads a file and hands it to the browser to save. */
  async save({ id, name }) {
    const url = URL.createObjectURL(await this.#api.file(id));
    const link = Object.assign(document.createElement("a"), { href: url, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  async #readPicture(id, picture) {
    try {
      picture.url = URL.createObjectURL(await this.#api.file(id));
    } catch {
      // It stays a link, which says why when it is followed; a later drawing tries again.
      setTimeout(() => this.#pictures.delete(id), PICTURE_RETRY_MS);
    }
    for (const [oldest, { url }] of this.#pictures) {
      if (this.#pictures.size <= PICTURES_KEPT) break;
      if (url !== null) URL.revokeObjectURL(url);
      this.#pictures.delete(oldest);
    }
    this.#store.changed();
  }

  async #start(log, entry) {
    const { signal } = entry.cut;
    try {
      const sha256 = await digestOf(entry.file);
      const { name, type, bytes } = entry;
      const body = { channel_id: channelOf(log), name, type, bytes, sha256 };
      const created = await this.#api.createAttachment(body, signal);
      await this.#upload(created.upload, entry.file, signal, (share) => {
        entry.share = share;
        this.#store.changed();
      });
      Object.assign(entry, { id: created.id, state: "ready", share: 1 });
    } catch (problem) {
      if (signal.aborted) return;
      Object.assign(entry, { state: "failed", problem: problem.message });
    }
    this.#store.changed();
  }

  #keep(log, isKept) {
    this.#waiting.set(log, this.of(log).filter(isKept));
    this.#store.changed();
  }
}

/** Whether a file is drawn in the list of messages. */
export function isPicture({ type, bytes }) {
  return PICTURES.has(type) && bytes <= PICTURE_BYTES_MAX;
}

/** A size as people say it. */
export function sizeWords(bytes) {
  if (bytes < 1_000) return `${bytes} B`;
  const units = ["KB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length);
  const size = bytes / 1_000 ** power;
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[power - 1]}`;
}

/** The last part of a path, without control characters, cut to what the server takes. */
export function nameOf(text) {
  const [last] = text.split(/[/\\]/).slice(-1);
  let name = last.replace(/\p{Cc}/gu, "").trim();
  if (name === "" || name === "." || name === "..") name = "file";
  const extension = /\.[^.]{1,16}$/.exec(name)?.[0] ?? "";
  const stem = [...name.slice(0, name.length - extension.length)];
  while (utf8Bytes(stem.join("") + extension) > NAME_BYTES_MAX) stem.pop();
  return stem.join("") + extension;
}

/** A type as the server takes it. Browsers give "" for what they do not know. */
export function typeOf(text) {
  const [essence] = text.split(";");
  const isType = /^[\w!#$&^.+-]{1,63}\/[\w!#$&^.+-]{1,63}$/.test(essence.trim());
  return isType ? essence.trim().toLowerCase() : "application/octet-stream";
}

function refusalOf({ bytes }, isOver) {
  if (isOver) return `a message takes ${FILES_MAX} files`;
  if (bytes === 0) return "the file is empty";
  if (bytes > FILE_BYTES_MAX) return "the file is larger than 100 MB";
  return null;
}

function utf8Bytes(text) {
  return new TextEncoder().encode(text).length;
}

async function digestOf(file) {
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Makes a signed upload. Unlike `fetch`, this tells how far it is. */
function uploadTo({ method, url, headers }, file, signal, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    // The gateway keeps the files, by whatever name the browser knows this machine.
    const { pathname, search } = new URL(url);
    request.open(method, pathname + search);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) =>
      progress(total > 0 ? loaded / total : 0),
    );
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(new Error(`the upload was refused (${request.status})`));
    });
    for (const event of ["error", "abort", "timeout"])
      request.addEventListener(event, () => reject(new Unreachable("the upload broke off")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
