// Whether the user is invisible on this page (G16). The ticket of a socket says it, so that nobody sees
// the user even for a moment. An open socket is renewed with a ticket of the other kind.
//
// Invariant: only the node says what is so, in `ready` and `renewed`; what was asked for proves nothing.

const RETRY_MS = 2_000;
const RETRY_MS_MAX = 60_000;

export class Invisible {
  #api;
  #connection;
  #storage;
  #key;
  #becameVisible;
  /** What the node said last, of the socket that is open. */
  #told = false;
  /** Counts sockets: what was asked for on one is not for the next. */
  #socket = 0;
  #retryAt = 0;
  #retryMs = RETRY_MS;
  #isAsking = false;

  /** `connection` has `node`, `accepts` and `send`. The wish is kept in `storage`, for all tabs. */
  constructor(api, connection, storage, key, becameVisible = () => {}) {
    this.#api = api;
    this.#connection = connection;
    this.#storage = storage;
    this.#key = key;
    this.#becameVisible = becameVisible;
    this.readElsewhere();
    api.asksInvisible = () => this.wanted;
  }

  /** The key of the wish, which another tab may change. */
  get key() {
    return this.#key;
  }

  readElsewhere() {
    this.wanted = this.#storage.read(this.#key).wanted === true;
  }

  set(wanted) {
    this.wanted = wanted;
    this.#storage.write(this.#key, { wanted });
    this.check();
  }

  attached(frame) {
    this.#socket += 1;
    this.#said(frame);
    this.check();
  }

  onFrame(frame) {
    if (frame.type === "renewed") this.#said(frame);
  }

  /** Renews the socket if the node says otherwise. To be called every second. */
  async check() {
    const [socket, now] = [this.#socket, performance.now()];
    if (this.wanted === this.#told || this.#isAsking || now < this.#retryAt) return;
    if (!this.#connection.accepts("renew")) return;
    this.#isAsking = true;
    // This pause also covers the wait for `renewed`.
    this.#retryAt = now + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX);
    try {
      const { id } = this.#connection.node;
      const { node_id, ticket } = await this.#api.renewal(id);
      // From a node that goes, the next one gets what is wanted.
      if (node_id === id && socket === this.#socket) this.#connection.send({ type: "renew", ticket });
    } catch {
      // Tried again with a later check.
    } finally {
      this.#isAsking = false;
    }
  }

  #said({ invisible = false }) {
    const isNew = this.#told && !invisible;
    this.#told = invisible;
    this.#retryAt = 0;
    this.#retryMs = RETRY_MS;
    if (isNew) this.#becameVisible();
  }
}
