// Changes of own messages: the edit that is being written, and deletions.
//
// Invariants: at most one edit is open; its text stays until it is stored or given up. However
// often an edit is tried, it keeps its id, which makes every retry safe; another text is another
// edit.

import { mintAbove } from "./ids.js";
import { logOfMessage } from "./logs.js";

export class Edits {
  #api;
  #store;
  /** The open edit: null, or its message's log and id, the text, and what went wrong last. */
  open = null;

  constructor(api, store) {
    this.#api = api;
    this.#store = store;
  }

  /** `place` is the view where the text is edited: the root of a thread may be in two. */
  begin(message, place = null) {
    const { id, message: text } = message;
    const about = { id, log: logOfMessage(message), place, text };
    this.open = { ...about, tried: null, changeId: null, problem: null, busy: false };
    this.#store.changed();
  }

  cancel() {
    this.open = null;
    this.#store.changed();
  }

  /** Stores the text. On failure the edit stays open with its `problem`. */
  async save(text) {
    const edit = this.open;
    const message = this.#store.find(edit.log, edit.id);
    if (text === message?.message) return this.cancel();
    if (edit.tried !== text) {
      // Above the message's last one: of two edits the greater one wins.
      const changeId = mintAbove(this.#api.clock.now(), message?.edit);
      Object.assign(edit, { tried: text, changeId });
    }
    Object.assign(edit, { text, busy: true, problem: null });
    this.#store.changed();
    try {
      const body = { message: text, change_id: edit.changeId };
      this.#store.deliver(await this.#api.editMessage(edit.log, edit.id, body), "push");
      if (this.open === edit) this.open = null;
    } catch (problem) {
      edit.problem = problem;
    } finally {
      edit.busy = false;
      this.#store.changed();
    }
  }

  async remove(message) {
    const log = logOfMessage(message);
    this.#store.deliver(await this.#api.deleteMessage(log, message.id), "push");
  }
}
