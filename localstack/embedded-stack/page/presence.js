// Who is present: what the node says about the users that the page named in its view.
//
// Invariants: a state is kept only for users in the latest view that was sent; without a socket
// every state is unknown, which is not offline.

const STATES = new Set(["active", "idle", "offline"]);
export const UNKNOWN = "unknown";

export class Presence {
  #store;
  /** The users of the latest view that was sent. */
  #viewed = new Set();
  #states = new Map();

  constructor(store) {
    this.#store = store;
  }

  /** A new socket. When it ends, its node can no longer say who comes and goes. */
  attached({ signal }) {
    signal.addEventListener("abort", () => this.#forget());
  }

  /** A view was sent: changes come of these users only. */
  viewed(users) {
    this.#viewed = new Set(users);
    for (const user of this.#states.keys()) if (!this.#viewed.has(user)) this.#states.delete(user);
  }

  /** The answer to a view, or a change: users that it does not name are as before. */
  onFrame({ users }) {
    for (const [user, state] of Object.entries(users)) {
      // A frame may have been on its way when the view changed.
      if (!this.#viewed.has(user)) continue;
      this.#states.set(user, STATES.has(state) ? state : UNKNOWN);
    }
    this.#store.changed();
  }

  /** `active`, `idle`, `offline`, or `unknown`. */
  of(user) {
    return this.#states.get(user) ?? UNKNOWN;
  }

  #forget() {
    this.#viewed.clear();
    this.#states.clear();
    this.#store.changed();
  }
}

/** Who of some users is present, the idle ones too. Null if nothing is known of any of them. */
export function presentOf(users, presence) {
  const isKnown = (user) => presence.of(user) !== UNKNOWN;
  if (!users.some(isKnown)) return null;
  const isPresent = (user) => isKnown(user) && presence.of(user) !== "offline";
  return users.filter(isPresent).map((user) => ({ user, isIdle: presence.of(user) === "idle" }));
}
