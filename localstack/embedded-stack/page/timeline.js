// The messages of one log that this page has: sorted by id, each at most once.

import { lowestIdAt, timeOf } from "./ids.js";

export class Timeline {
  messages = new Map();
  order = [];
  /** Where older pages go on: undefined = nothing read yet, null = the beginning is here. */
  historyOffset = undefined;
  loadingOlder = false;
  olderFailed = false;
  /** How often it was forgotten: what was asked for before may be outdated. */
  life = 0;
  /** Used by gaps.js: the open gap, and when the last complete reading started. */
  gap = null;
  verifiedAt = 0;
  unread = new Set();
  /** How many messages the server counts as unread: more than are here, if history was not read. */
  unreadOnServer = 0;
  /** How many of these mention the user, as far as the server counts. */
  mentionsOnServer = 0;
  /** Another device marked messages unread: they stay so until the log is opened again. */
  keepsUnread = false;
  /** The newest id that another tab has shown, until this tab has that message too. */
  readElsewhere = null;
  /** What the latest reconnect brought, shown below a divider. */
  missed = new Set();
  /**
   * Whether the log is kept up to date. A thread that nobody opened is not: new replies are taken,
   * and the rest is read when somebody opens it.
   */
  isKept;

  constructor(isKept = true) {
    this.isKept = isKept;
  }

  insert(message) {
    if (this.messages.has(message.id)) return;
    this.messages.set(message.id, message);
    let place = this.order.length;
    while (place > 0 && this.order[place - 1] > message.id) place -= 1;
    this.order.splice(place, 0, message.id);
  }

  remove(id) {
    if (!this.messages.delete(id)) return;
    this.order.splice(this.order.indexOf(id), 1);
    this.unread.delete(id);
    this.missed.delete(id);
  }

  /** Whether a message belongs to older pages that were not read yet. */
  isInUnreadHistory(id) {
    if (this.historyOffset === undefined) return !this.isKept;
    return typeof this.historyOffset === "string" && id < this.historyOffset;
  }

  /** Forgets stored messages up to an id: they are read again when somebody scrolls to them. */
  forgetThrough(last) {
    for (const id of [...this.order])
      if (id <= last && this.messages.get(id).delivery === "stored") this.remove(id);
    if (this.historyOffset !== undefined)
      this.historyOffset = this.order[0] ?? lowestIdAt(timeOf(last) + 1);
  }

  /** Forgets stored messages that belong to older pages: they may be outdated. */
  forgetUnreadHistory() {
    for (const id of [...this.order])
      if (this.isInUnreadHistory(id) && this.messages.get(id).delivery === "stored")
        this.remove(id);
  }

  /** The id of the newest stored message whose time is not after `ms`; null if there is none. */
  newestStoredId(ms = Infinity) {
    const isEligible = (id) => this.messages.get(id).delivery === "stored" && timeOf(id) <= ms;
    return this.order.findLast(isEligible) ?? null;
  }

  /** Own messages that the server has not acknowledged. */
  unsent() {
    return [...this.messages.values()].filter(({ delivery }) => delivery !== "stored");
  }

  /** Forgets everything but unsent messages, as if the log had never been read. */
  forget() {
    const unsent = this.unsent();
    Object.assign(this, new Timeline(this.isKept), { life: this.life + 1 });
    for (const message of unsent) this.insert(message);
  }

  /** The revisions of the first `most` stored messages after an id, oldest first. */
  storedAfter(after, most) {
    const revs = [];
    for (const id of this.order) {
      const message = this.messages.get(id);
      if (id <= after || message.delivery !== "stored") continue;
      if (revs.length === most) break;
      revs.push(message.rev ?? id);
    }
    return revs;
  }
}
