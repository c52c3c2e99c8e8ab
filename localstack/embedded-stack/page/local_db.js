// What this browser keeps of channels that deliver first, for all tabs of one user: tables of
// values by key, in IndexedDB. Nothing here throws.

/** Own messages on their way, how far others are, and what to show before the server answers. */
const TABLES = ["outbox", "receipts", "messages"];
/** These are small, and kept in `localStorage` if there is no IndexedDB. */
const SMALL = new Set(["outbox", "receipts"]);
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

  /** `[key, value]` of a table's entries whose key begins with `prefix`, in the order of keys. */
  async entries(table, prefix = "") {
    const database = await this.#opening;
    if (database === null) return this.#smallEntries(table, prefix);
    try {
      const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
      const store = database.transaction(table).objectStore(table);
      const [keys, values] = await Promise.all([
        answerOf(store.getAllKeys(range)),
        answerOf(store.getAll(range)),
      ]);
      return keys.map((key, at) => [key, values[at]]);
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
