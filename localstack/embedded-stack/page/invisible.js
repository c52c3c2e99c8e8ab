// Whether the user is invisible on this page (G16). The ticket of a socket says it, so that nobody sees
// the user even for a moment. An open socket is renewed with a ticket of the other kind.

export class Invisible {
  #api;
  #connection;
  #storage;
  #key;
  /** What the last ticket says, and what the ticket of the socket says. */
  #asked = false;
  #told = false;
  #isAsking = false;

  /** `connection` has `node`, `accepts` and `send`. The wish is kept in `storage`. */
  constructor(api, connection, storage, key) {
    this.#api = api;
    this.#connection = connection;
    this.#storage = storage;
    this.#key = key;
    this.wanted = storage.read(key).wanted === true;
    api.asksInvisible = () => {
      this.#asked = this.wanted;
      return this.#asked;
    };
  }

  set(wanted) {
    this.wanted = wanted;
    this.#storage.write(this.#key, { wanted });
    this.check();
  }

  attached() {
    this.#told = this.#asked;
    this.check();
  }

  onFrame({ type }) {
    if (type === "renewed") this.#told = this.#asked;
  }

  /** Renews the socket if its ticket says otherwise. To be called every second. */
  async check() {
    const { node } = this.#connection;
    if (this.wanted === this.#told || this.#isAsking || !this.#connection.accepts("renew")) return;
    this.#isAsking = true;
    try {
      const { node_id, ticket } = await this.#api.renewal(node.id);
      // From a node that goes, the next one gets what is wanted.
      if (node_id === node.id) this.#connection.send({ type: "renew", ticket });
    } catch {
      // Tried again with the next check.
    } finally {
      this.#isAsking = false;
    }
  }
}
