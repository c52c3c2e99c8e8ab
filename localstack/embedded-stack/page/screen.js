// Tells the node what is on the screen: signals, such as who types or is present, come only to those
// who view the log or the user.
//
// Invariants: at most one view in half a second, and the newest one gets there; every new socket
// gets one.

const GAP_MS = 500;
/** The node takes no more in a view. */
export const USERS_MAX = 200;
const NOTHING = { channels: [], threads: [], users: [] };

/**
 * What of a store is on the screen: the open channel, the open thread, and users. A thread may
 * cover its channel.
 */
export function viewOf(store, { isHidden, isChannelCovered }) {
  if (isHidden) return NOTHING;
  const users = usersOf(store);
  const { active, activeId, activeRoot } = store;
  if (active === null) return { ...NOTHING, users };
  const channels = isChannelCovered ? [] : [activeId];
  return { channels, threads: activeRoot === null ? [] : [[activeId, activeRoot]], users };
}

/**
 * The users whose presence is shown: the others of DMs, and the members of the open channel. If
 * they are too many, the last ones in the list of members are left out.
 */
export function usersOf(store) {
  const partners = store.sortedChannels("DM").map((channel) => store.partnerOf(channel));
  const members = store.membersInOrder(store.activeId);
  const known = [...partners, ...members].filter((user) => user !== undefined);
  // Sorted: the same users in another order are not another view.
  return [...new Set(known)].slice(0, USERS_MAX).sort();
}

export class Screen {
  #connection;
  #sentView;
  #now;
  #view = NOTHING;
  /** What the node knows, as text; null if it knows nothing. */
  #sent = null;
  #sentAt = -Infinity;
  #timer = null;

  /** `sent(view)` is called with every view that goes to the node. */
  constructor(connection, sent, now = () => performance.now()) {
    this.#connection = connection;
    this.#sentView = sent;
    this.#now = now;
  }

  /** A new socket: its node knows nothing. */
  attached() {
    this.#sent = null;
    this.#sentAt = -Infinity;
    this.#sendIfNew();
  }

  show(view) {
    this.#view = view;
    this.#sendIfNew();
  }

  #sendIfNew() {
    const text = JSON.stringify(this.#view);
    if (text === this.#sent) return;
    const waitMs = this.#sentAt + GAP_MS - this.#now();
    if (waitMs > 0) return this.#sendLater(waitMs);
    // Not sent: the next socket gets it.
    if (!this.#connection.send({ type: "view", ...this.#view })) return;
    this.#sent = text;
    this.#sentAt = this.#now();
    this.#sentView(this.#view);
  }

  #sendLater(waitMs) {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#sendIfNew();
    }, waitMs);
  }
}
