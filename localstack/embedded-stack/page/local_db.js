// What this browser keeps of channels that deliver first, for all tabs of one user: tables of
// values by key, in IndexedDB. Nothing here throws.

/** Own messages on their way, how far others are, and what to show before the server answers. */
const TABLES = ["channels", "messages", "outbox", "receipts"];
/** These are small, and kept in `localStorage` if there is no IndexedDB. */
const SMALL = new Set(["channels", "outbox", "receipts"]);
const OPEN_MS = 3_000;

export class LocalDb {
  #opening;
  #fallback;
  #name;

  /**
   * `open()` returns the browser's `indexedDB`, or throws, as reading it does if site data is
   * blocked. `fallback` is a `SafeStorage`.
   */
  constructor(name, open, fallback) {
    this.#name = name;
    this.#fallback = fallback;
    this.#opening = openDatabase(name, open).catch(() => null);
  }

  /**
   * `[key, value]` of a table's entries whose key begins with `prefix`, in the order of keys; only
   * the last `most` of them.
   */
  async entries(table, prefix = "", most = Infinity) {
    const database = await this.#opening;
    if (database === null) return this.#smallEntries(table, prefix).slice(-most);
    try {
      const store = database.transaction(table).objectStore(table);
      const keys = (await answerOf(store.getAllKeys(rangeOf(prefix)))).slice(-most);
      if (keys.length === 0) return [];
      const values = await answerOf(store.getAll(IDBKeyRange.bound(keys[0], keys.at(-1))));
      return keys.map((key, at) => [key, values[at]]);
    } catch {
      return [];
    }
  }

  /** The keys that begin with `prefix`, in order. */
  async keys(table, prefix) {
    const database = await this.#opening;
    if (database === null) return this.#smallEntries(table, prefix).map(([key]) => key);
    try {
      return await answerOf(database.transaction(table).objectStore(table).getAllKeys(rangeOf(prefix)));
    } catch {
      return [];
    }
  }

  /** Puts and removes entries in one step. Whether a reload will find it so. */
  async write(table, puts, removes = []) {
    const database = await this.#opening;
    if (database === null) return this.#writeSmall(table, puts, removes);
    try {
      const transaction = database.transaction(table, "readwrite");
      const store = transaction.objectStore(table);
      for (const [key, value] of puts) store.put(value, key);
      for (const key of removes) store.delete(key);
      await doneOf(transaction);
      return true;
    } catch {
      return false;
    }
  }

  #smallEntries(table, prefix) {
    if (!SMALL.has(table)) return [];
    const kept = Object.entries(this.#fallback.read(this.#keyOf(table)));
    return kept.filter(([key]) => key.startsWith(prefix)).sort();
  }

  #writeSmall(table, puts, removes) {
    if (!SMALL.has(table)) return false;
    const kept = this.#fallback.read(this.#keyOf(table));
    for (const [key, value] of puts) kept[key] = value;
    for (const key of removes) delete kept[key];
    return this.#fallback.write(this.#keyOf(table), kept);
  }

  #keyOf(table) {
    return `${this.#name}.${table}`;
  }
}

function openDatabase(name, open) {
  return new Promise((resolve, reject) => {
    const request = open().open(name, 1);
    // A browser that never answers counts as one without a database.
    setTimeout(reject, OPEN_MS);
    request.onupgradeneeded = () => {
      for (const table of TABLES) request.result.createObjectStore(table);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

function rangeOf(prefix) {
  return IDBKeyRange.bound(prefix, `${prefix}\uffff`);
}

function answerOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function doneOf(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}
