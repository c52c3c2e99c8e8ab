// Tells the node what is on the screen: signals, such as who types, come only to those who view
// their log.
//
// Invariants: at most one view in half a second, and the newest one gets there; every new socket
// gets one.

const GAP_MS = 500;
const NOTHING = { channels: [], threads: [], users: [] };

/**
 * What of a store is on the screen: the open channel, and the open thread. A thread may cover its
 * channel.
 */
export function viewOf({ active, activeId, activeRoot }, { isHidden, isChannelCovered }) {
  if (isHidden || active === null) return NOTHING;
  const channels = isChannelCovered ? [] : [activeId];
  return { ...NOTHING, channels, threads: activeRoot === null ? [] : [[activeId, activeRoot]] };
}

export class Screen {
  #connection;
  #now;
  #view = NOTHING;
  /** What the node knows, as text; null if it knows nothing. */
  #sent = null;
  #sentAt = -Infinity;
  #timer = null;

  constructor(connection, now = () => performance.now()) {
    this.#connection = connection;
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
  }

  #sendLater(waitMs) {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#sendIfNew();
    }, waitMs);
  }
}
