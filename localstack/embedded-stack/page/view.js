// The messages of one log, such as the open channel: rows, dividers and the edge of its history.
//
// Invariants: the message that a reader looks at stays where it is, whatever is added above or
// below; a reader at the bottom stays at the bottom. Rendering is a function of the store.

import { byId, reconcile, setAttribute, setHidden, setText } from "./dom.js";
import { timeOf } from "./ids.js";
import { logOfMessage, rootOf } from "./logs.js";
import { continues, createRow, dayLabel, missedLabel } from "./rows.js";

const NEAR_BOTTOM_PX = 48;
const NEAR_TOP_PX = 300;

export class MessageView {
  #store;
  #actions;
  #place;
  #picker;
  #scroller;
  #list;
  #jump;
  #shownLog = null;
  #atBottom = true;
  /** The message below the "New" divider. */
  #newFrom = null;
  /** The message to scroll to, once it is drawn. */
  #wanted = null;

  /**
   * `actions` has `loadOlder(log)` and `left()`; `picker` is that of the reactions. `place` is
   * where the view is and what it shows: `log()` or null, `isCovered()`, `rows` to update rows,
   * `renderAbove(timeline)` for what is above the messages, `prefix`, that of its elements' ids,
   * and `rowsOf(log)`: the rows of a log whose messages are in no timeline, undefined for others.
   */
  constructor(store, actions, picker, place) {
    this.#store = store;
    this.#actions = actions;
    this.#picker = picker;
    this.#place = place;
    const part = (name) => byId(`${place.prefix}${name}`);
    this.#scroller = part("message-scroll");
    this.#list = part("message-list");
    this.#jump = part("jump-latest");
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    document.addEventListener("visibilitychange", () => this.#read());
    new ResizeObserver(() => this.#onResize()).observe(this.#scroller);
    this.#jump.addEventListener("click", () => this.toBottom());
  }

  toBottom() {
    this.#atBottom = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#read();
  }

  /** Scrolls to a message of the shown log, if it is here. */
  show(message) {
    this.#wanted = message;
    this.#store.changed();
  }

  render() {
    const log = this.#place.log();
    const switched = log !== this.#shownLog;
    if (switched) {
      this.#actions.left();
      if (log !== null) this.#store.timeline(log).keepsUnread = false;
      this.#shownLog = log;
      this.#newFrom = null;
      this.#atBottom = true;
    }
    const timeline = log === null ? null : this.#store.timeline(log);
    const anchor = switched || this.#atBottom ? null : this.#firstVisible();
    // A screen reader announces what arrives, not what was in an opened log or an older page.
    setAttribute(this.#list, "aria-busy", String(switched || Boolean(timeline?.loadingOlder)));
    if (switched) this.#list.replaceChildren();
    this.#place.renderAbove(timeline);
    const rows = timeline ? (this.#place.rowsOf?.(log) ?? this.#rows(timeline)) : [];
    reconcile(
      this.#list,
      rows,
      (row) => row.key,
      createRow,
      (node, row) => this.#place.rows.update(node, row),
    );
    if (anchor?.node.isConnected) {
      this.#scroller.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    } else this.#keepBottom();
    this.#scrollToWanted(timeline);
    this.#picker.place();
    this.#renderJump(timeline);
    this.#read();
    this.#loadIfNearTop(timeline);
  }

  #scrollToWanted(timeline) {
    const wanted = this.#wanted;
    if (wanted === null || logOfMessage(wanted) !== this.#shownLog) return;
    // Its page may be on its way.
    if (timeline.historyOffset === undefined) return;
    this.#wanted = null;
    const node = this.#list.querySelector(`[data-message-id="${CSS.escape(wanted.id)}"]`);
    if (!node) return;
    node.scrollIntoView({ block: "center" });
    setAttribute(node, "tabindex", "-1");
    node.focus({ preventScroll: true });
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
  }

  /** Whether the person is looking at the newest messages of a log here. */
  isReading(log) {
    if (log !== this.#shownLog || !this.#atBottom) return false;
    if (document.visibilityState !== "visible" || this.#place.isCovered()) return false;
    const { keepsUnread, historyOffset } = this.#store.timeline(log);
    // What was pushed to a thread before it is read is not the first of its news.
    const isHere = historyOffset !== undefined || rootOf(log) === undefined;
    return !keepsUnread && isHere;
  }

  #read() {
    if (this.#shownLog === null || !this.isReading(this.#shownLog)) return;
    const { unread } = this.#store.timeline(this.#shownLog);
    if (unread.size > 0) this.#newFrom = [...unread].sort()[0];
    this.#store.unread.markRead(this.#shownLog);
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
    this.#picker.place();
    if (this.#shownLog === null) return;
    const timeline = this.#store.timeline(this.#shownLog);
    this.#renderJump(timeline);
    this.#read();
    this.#loadIfNearTop(timeline);
  }

  #onResize() {
    this.#keepBottom();
    this.#picker.place();
  }

  #keepBottom() {
    if (this.#atBottom) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Loads older pages until the view is full, and whenever the reader is near the top. */
  #loadIfNearTop(timeline) {
    if (!timeline || timeline.olderFailed || this.#scroller.scrollTop > NEAR_TOP_PX) return;
    if (typeof timeline.historyOffset === "string") this.#actions.loadOlder(this.#shownLog);
  }

  #firstVisible() {
    const { top } = this.#scroller.getBoundingClientRect();
    for (const node of this.#list.children) {
      const box = node.getBoundingClientRect();
      // Messages only: this render may replace a divider.
      if (box.bottom > top && node.dataset.messageId) return { node, top: box.top };
    }
    return null;
  }

  /** Messages with the dividers between them. */
  #rows(timeline) {
    const rows = [];
    let day = null;
    let previous = null;
    const missedFrom = [...timeline.missed].sort()[0];
    for (const id of timeline.order) {
      const message = timeline.messages.get(id);
      const at = new Date(timeOf(id));
      const dayOf = at.toDateString();
      if (dayOf !== day) rows.push({ key: `day ${dayOf}`, kind: "day", text: dayLabel(at) });
      const divided = dayOf !== day || id === missedFrom || id === this.#newFrom;
      if (id === missedFrom) {
        rows.push({ key: "missed", kind: "missed", text: missedLabel(timeline.missed.size) });
      } else if (id === this.#newFrom) rows.push({ key: "new", kind: "new", text: "New" });
      const compact = !divided && continues(previous, message);
      const missed = timeline.missed.has(id);
      // A row stays when its message gets another id.
      const key = message.key ?? id;
      rows.push({ key, kind: "message", message, compact, missed, at });
      day = dayOf;
      previous = message;
    }
    return rows;
  }

  #renderJump(timeline) {
    const unread = timeline?.unread.size ?? 0;
    const { scrollHeight, clientHeight } = this.#scroller;
    // All of it is in view, now that the rest is gone.
    if (!this.#atBottom && scrollHeight <= clientHeight) this.#atBottom = true;
    setHidden(this.#jump, this.#atBottom || !timeline);
    setText(this.#jump.querySelector("span"), unread > 0 ? `${unread} new` : "Newest");
  }
}
