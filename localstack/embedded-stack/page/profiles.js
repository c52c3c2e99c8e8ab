// Profiles of the people whom this page shows: read a hundred at a time, and now and then again,
// because no frame reports that one changed.
//
// Invariant: a failed read costs names, never messages: user ids are shown until it succeeds.

const AT_ONCE = 100;
/** People come into view in bursts: one read serves all of them. */
const DEBOUNCE_MS = 500;
const FRESH_MS = 5 * 60_000;

export class Profiles {
  #api;
  #store;
  #now;
  #timer = null;
  #askedAt = new Map();

  constructor(api, store, now = () => performance.now()) {
    this.#api = api;
    this.#store = store;
    this.#now = now;
    store.onChange(() => this.#readSoon());
  }

  /** Changes the own profile. */
  async change(fields) {
    this.#store.setProfiles([await this.#api.changeProfile(fields)]);
  }

  /** Reads the profiles that are due. */
  async read() {
    const now = this.#now();
    const isDue = (id) => !(now - this.#askedAt.get(id) < FRESH_MS);
    const due = [...this.#store.shownPeople()].filter(isDue).slice(0, AT_ONCE);
    if (due.length === 0 || this.#api.offline) return;
    const { users } = await this.#api.profiles(due);
    for (const id of due) this.#askedAt.set(id, now);
    this.#store.setProfiles(users);
  }

  #readSoon() {
    if (!this.#store.channelsKnown) return;
    this.#timer ??= setTimeout(async () => {
      // What changes during the read is looked at again.
      this.#timer = null;
      // Tried again at the next change.
      await this.read().catch(() => {});
    }, DEBOUNCE_MS);
  }
}
