// The browser's storage, which may be forbidden or full. Nothing here throws.

/**
 * `localStorage` or `sessionStorage`. What it refuses is kept in memory, so a read returns what was
 * written last. `write` returns whether a reload would find it too.
 */
export class SafeStorage {
  #kept = null;
  #memory = new Map();

  /**
   * `open` returns the storage, or throws, as reading the property does if site data is blocked.
   */
  constructor(open) {
    try {
      this.#kept = open() ?? null;
    } catch {
      // Only memory, then.
    }
  }

  get isBlocked() {
    return this.#kept === null;
  }

  /** What was written under the key, as an object; empty if nothing was. */
  read(key) {
    if (this.#memory.has(key)) return JSON.parse(this.#memory.get(key));
    try {
      return JSON.parse(this.#kept.getItem(key)) ?? {};
    } catch {
      return {};
    }
  }

  write(key, value) {
    const text = JSON.stringify(value);
    try {
      this.#kept.setItem(key, text);
      this.#memory.delete(key);
      return true;
    } catch {
      this.#memory.set(key, text);
      return false;
    }
  }
}

export function openStorages() {
  return {
    /** Shared by all tabs of this origin. */
    local: new SafeStorage(() => globalThis.localStorage),
    /** This tab's own; survives a reload. */
    session: new SafeStorage(() => globalThis.sessionStorage),
  };
}
