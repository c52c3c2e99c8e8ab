// Pins and their removal: one call per message at a time, which is shown when its answer is here.
//
// Of two acts on a message the one with the greater id wins, so an act is minted above everything
// that is known here. Invariant: a click does what its button said, even if the message changed
// since it was drawn.

import { lowestIdAt, mintAbove } from "./ids.js";
import { keyOf } from "./listing.js";
import { logOfMessage } from "./logs.js";

export class Pins {
  /** Called with `makes` and the problem when an act failed; set by the page. */
  failed = () => {};
  #api;
  #store;
  #running = new Set();
  #lastId = "";

  constructor(api, store) {
    this.#api = api;
    this.#store = store;
  }

  /** Whether a call for the message is under way. */
  isBusy(message) {
    return this.#running.has(keyOf(message));
  }

  /** Pins a message if it `makes`, else unpins it. Never rejects: `failed` has the problem. */
  async set(message, makes) {
    if (this.isBusy(message)) return;
    this.#running.add(keyOf(message));
    this.#store.changed();
    try {
      await this.#call(message, makes);
    } catch (problem) {
      this.failed(makes, problem);
    }
    this.#running.delete(keyOf(message));
    this.#store.changed();
  }

  async #call(message, makes) {
    const { id, pinned } = message;
    const log = logOfMessage(message);
    const call = makes ? "pin" : "unpin";
    const answer = await this.#api[call](log, id, this.#mint(pinned));
    // The user may have left the channel meanwhile.
    if (!this.#store.find(log, id)) return;
    this.#store.deliver(answer, "push");
    if ((answer.pinned !== undefined) !== makes) throw new Error(OUTDONE);
  }

  /** The clock of whoever pinned the message may be ahead of this one. */
  #mint(pinned) {
    const pinnedAt = Date.parse(pinned?.at);
    const above = Number.isFinite(pinnedAt) ? lowestIdAt(pinnedAt + 1) : "";
    const last = above > this.#lastId ? above : this.#lastId;
    this.#lastId = mintAbove(this.#api.clock.now(), last);
    return this.#lastId;
  }
}

const OUTDONE = "Somebody else changed it at the same moment.";
