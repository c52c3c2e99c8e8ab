// What is open: a channel, and maybe one of its threads. The fragment of the address names it, so
// that a reload opens it again: `#channel` or `#channel.root`.
//
// Invariant: the open channel changes only when a person opens another one, or when none is open.

import { channelOf, logOf, rootOf } from "./logs.js";

export class Navigation {
  #store;
  #opened;

  /** `opened()` is called after a person or the address opened something. */
  constructor(store, opened) {
    this.#store = store;
    this.#opened = opened;
  }

  /** Opens what the address names, even what is unknown, so that the page can say so. */
  openFirst() {
    if (this.#store.activeId !== null) return;
    const wanted = logOfAddress() ?? (this.#store.channelsKnown ? this.#sorted()[0] : null);
    if (this.#mayOpen(wanted ?? null)) this.open(wanted);
  }

  /** The address changed. Whether it names anything. */
  openAddress() {
    const wanted = logOfAddress();
    if (!this.#mayOpen(wanted)) return false;
    this.open(wanted);
    return true;
  }

  /** Opens a channel or a thread; nothing for `null`. */
  open(log) {
    this.#store.activeId = log === null ? null : channelOf(log);
    this.#store.activeRoot = (log === null ? undefined : rootOf(log)) ?? null;
    const address = log === null ? "" : `#${log}`;
    if (location.hash !== address)
      history.replaceState(null, "", `${location.pathname}${location.search}${address}`);
    this.#opened();
  }

  /** Until the list is read, only what this browser remembers. */
  #mayOpen(log) {
    if (log === null) return false;
    return this.#store.channelsKnown || this.#store.remembered.has(log);
  }

  openThread({ channel_id: channelId, id }) {
    this.open(logOf(channelId, id));
  }

  closeThread() {
    if (this.#store.activeRoot !== null) this.open(this.#store.activeId);
  }

  /** Opens the next channel of the sidebar, or the one before. False if there is none. */
  step(by) {
    const all = this.#sorted();
    if (all.length === 0) return false;
    const at = all.indexOf(this.#store.activeId);
    this.open(all[at < 0 ? 0 : (at + by + all.length) % all.length]);
    return true;
  }

  #sorted() {
    const store = this.#store;
    const all = [...store.sortedChannels("GROUP_CHANNEL"), ...store.sortedChannels("DM")];
    return all.map(({ channel_id: id }) => id);
  }
}

function logOfAddress() {
  const wanted = location.hash.slice(1);
  return wanted === "" ? null : wanted;
}
