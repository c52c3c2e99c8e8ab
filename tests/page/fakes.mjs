// Fakes of what a browser gives the page's modules: storage, locks, calls and sockets. A test can
// make each of them fail.

import { ServerClock } from "../../localstack/embedded-stack/page/clock.js";
import { SafeStorage } from "../../localstack/embedded-stack/page/storage.js";
import { Store } from "../../localstack/embedded-stack/page/store.js";

const DEADLINE_MS = 5_000;

/** Waits for a condition. A failure names `what`. */
export async function until(what, condition) {
  // A test may move the monotonic clock.
  const end = Date.now() + DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${DEADLINE_MS / 1_000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A browser's storage. `copy()` acts as "Duplicate tab" does; `isFull` refuses every write. */
export class BrowserStorage {
  isFull = false;
  #items;

  constructor(items = new Map()) {
    this.#items = items;
  }

  copy() {
    return new BrowserStorage(new Map(this.#items));
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, text) {
    if (this.isFull) throw new DOMException("full", "QuotaExceededError");
    this.#items.set(key, text);
  }
}

export function storagesOn({ local = new BrowserStorage(), session = new BrowserStorage() } = {}) {
  return { local: new SafeStorage(() => local), session: new SafeStorage(() => session) };
}

/** `navigator.locks` of one browser: a lock is released when its holder's promise settles. */
export class Locks {
  #held = new Set();

  request(name, { signal }, callback) {
    return new Promise((resolve, reject) => {
      const take = () => {
        if (this.#held.has(name)) return false;
        this.#held.add(name);
        callback()
          .finally(() => this.#held.delete(name))
          .then(resolve, reject);
        return true;
      };
      if (take()) return;
      const again = setInterval(() => take() && clearInterval(again), 1);
      signal?.addEventListener("abort", () => {
        clearInterval(again);
        reject(signal.reason);
      });
    });
  }

  /** Releases all locks, as when the page that held them is closed. */
  releaseAll() {
    this.#held.clear();
  }
}

export const GENERAL = {
  channel_id: "C01ARZ3NDEKTSV4RRFFQ69G5FAV",
  type: "GROUP_CHANNEL",
  name: "general",
};

export function storeWith({ storages = storagesOn(), channels = [GENERAL] } = {}) {
  const store = new Store("demo", "alice", storages);
  store.setChannels(channels);
  return store;
}

/** An API that a test answers: `answer(body)` returns an answer or throws. */
export class FakeApi {
  offline = false;
  sent = [];
  /** The server's time, which the page learns from answers. */
  serverTime;
  answer = ({ channel_id, message, id }) => this.stored({ channel_id, message, id });

  constructor(serverTime = 1_800_000_000_000) {
    this.serverTime = serverTime;
    this.clock = new ServerClock(() => 0);
    this.clock.observe(serverTime, 0, 0);
  }

  stored({ channel_id, message, id }) {
    const created_at = new Date(this.serverTime).toISOString();
    return { id, channel_id, sender_id: "alice", message, created_at, duplicate: false };
  }

  async postMessage(body) {
    this.sent.push(body);
    return this.answer(body);
  }
}
