// Which tab works on what the tabs of a browser share: each has a name and holds a lock of that
// name for as long as it lives.

const LOCK = "inkwire.owner";

export class Owners {
  /** This tab's name. */
  me = crypto.randomUUID();
  #locks;

  /** `locks` is the browser's `navigator.locks`, if it has one. */
  constructor(locks) {
    this.#locks = locks;
    this.#request(this.me, () => new Promise(() => {}));
  }

  /**
   * Runs `act` when the tab of that name is gone, and in one tab at a time. Without locks it runs
   * at once: what it does has to be safe while the other tab lives.
   */
  whenGone(name, act) {
    this.#request(name, act);
  }

  async #request(name, act) {
    if (!this.#locks) return name === this.me ? undefined : act();
    try {
      await this.#locks.request(`${LOCK}.${name}`, {}, act);
    } catch {
      // Locks are blocked with all site data.
      if (name !== this.me) await act();
    }
  }
}
