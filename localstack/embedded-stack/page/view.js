// The open channel: its messages, dividers and the edge of its history.
//
// Invariants: the message that a reader looks at stays where it is, whatever is added above or
// below; a reader at the bottom stays at the bottom. Rendering is a function of the store.

import { problemText } from "./dialogs.js";
import {
  byId,
  element,
  icon,
  initial,
  reconcile,
  setAttribute,
  setHidden,
  setText,
} from "./dom.js";
import { edgeContent, edgeState } from "./edge.js";
import { timeOf } from "./ids.js";
import { isMentioned } from "./mentions.js";
import { ReactionPicker } from "./picker.js";
import {
  continues,
  createRow,
  dayLabel,
  DELIVERY_ICONS,
  deliveryWords,
  editor,
  missedLabel,
  showText,
  updateFiles,
  updatePinned,
  updateReactions,
} from "./rows.js";

const NEAR_BOTTOM_PX = 48;
const NEAR_TOP_PX = 300;

export class MessageView {
  #store;
  #actions;
  #scroller = byId("message-scroll");
  #list = byId("message-list");
  #edge = byId("history-edge");
  #picker = new ReactionPicker();
  #shownId = null;
  #atBottom = true;
  /** The message below the "New" divider of the open channel. */
  #newFrom = null;
  /** The message to scroll to, once its channel is drawn. */
  #wanted = null;

  /**
   * `actions` has `loadOlder(channelId)`, `retry(id)`, `copy(text)`, `discard(id)`,
   * `createFirst()`, `askToDelete(message)`, `left()`, `picture(file)`, `saveFile(file)`,
   * `edits`, `reactions` and `pins`.
   */
  constructor(store, actions) {
    this.#store = store;
    this.#actions = actions;
    store.unread.isReading = (channelId) => this.#isReading(channelId);
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    document.addEventListener("visibilitychange", () => this.#read());
    new ResizeObserver(() => this.#onResize()).observe(this.#scroller);
    byId("jump-latest").addEventListener("click", () => this.toBottom());
  }

  toBottom() {
    this.#atBottom = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#read();
  }

  /** Scrolls to a message of the open channel, if it is here. */
  show(message) {
    this.#wanted = message;
    this.#store.changed();
  }

  render() {
    const { activeId } = this.#store;
    const switched = activeId !== this.#shownId;
    if (switched) {
      this.#actions.left();
      if (activeId !== null) this.#store.timeline(activeId).keepsUnread = false;
      this.#shownId = activeId;
      this.#newFrom = null;
      this.#atBottom = true;
    }
    const timeline = activeId === null ? null : this.#store.timeline(activeId);
    const anchor = switched || this.#atBottom ? null : this.#firstVisible();
    // A screen reader announces what arrives, not what was in an opened channel or an older page.
    setAttribute(this.#list, "aria-busy", String(switched || Boolean(timeline?.loadingOlder)));
    if (switched) this.#list.replaceChildren();
    this.#renderEdge(timeline);
    const rows = timeline ? this.#rows(timeline) : [];
    reconcile(
      this.#list,
      rows,
      (row) => row.key,
      createRow,
      (node, row) => this.#updateRow(node, row),
    );
    if (anchor?.node.isConnected) {
      this.#scroller.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    } else this.#keepBottom();
    this.#scrollToWanted();
    this.#picker.place();
    this.#renderJump(timeline);
    this.#read();
    this.#loadIfNearTop(timeline);
  }

  #scrollToWanted() {
    const wanted = this.#wanted;
    this.#wanted = null;
    if (wanted === null || wanted.channel_id !== this.#shownId) return;
    const node = this.#list.querySelector(`[data-message-id="${CSS.escape(wanted.id)}"]`);
    if (!node) return;
    node.scrollIntoView({ block: "center" });
    setAttribute(node, "tabindex", "-1");
    node.focus({ preventScroll: true });
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
  }

  #isReading(channelId) {
    const looking = document.visibilityState === "visible";
    const { keepsUnread } = this.#store.timeline(channelId);
    return channelId === this.#shownId && this.#atBottom && looking && !keepsUnread;
  }

  #read() {
    if (this.#shownId === null || !this.#isReading(this.#shownId)) return;
    const { unread } = this.#store.timeline(this.#shownId);
    if (unread.size > 0) this.#newFrom = [...unread].sort()[0];
    this.#store.unread.markRead(this.#shownId);
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
    this.#picker.place();
    if (this.#shownId === null) return;
    const timeline = this.#store.timeline(this.#shownId);
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
    if (typeof timeline.historyOffset === "string") this.#actions.loadOlder(this.#shownId);
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
      rows.push({ key: id, kind: "message", message, compact, missed, at });
      day = dayOf;
      previous = message;
    }
    return rows;
  }

  #updateRow(node, row) {
    if (row.kind !== "message") return setText(node.firstElementChild, row.text);
    const { message } = row;
    const own = message.sender_id === this.#store.userId;
    setAttribute(node, "data-delivery", message.delivery);
    setAttribute(node, "data-own", own);
    setAttribute(node, "data-compact", row.compact);
    setAttribute(node, "data-missed", row.missed);
    setAttribute(node, "data-mentioned", isMentioned(message, this.#store.userId));
    const name = this.#store.displayName(message.sender_id);
    setText(node.querySelector(".sender"), name);
    setText(node.querySelector(".avatar"), initial(name));
    const deleted = message.deleted !== undefined;
    setAttribute(node, "data-deleted", deleted);
    const text = deleted ? "This message was deleted." : message.message;
    showText(node.querySelector(".message-text"), text, this.#store);
    const { picture, saveFile: save } = this.#actions;
    updateFiles(node.querySelector(".files"), message.attachments ?? [], { picture, save });
    setHidden(node.querySelector(".edited"), deleted || message.edit === undefined);
    updatePinned(node.querySelector(".pinned"), message, this.#store);
    const delivery = node.querySelector(".delivery");
    setHidden(delivery, !own || deleted);
    if (own) this.#updateDelivery(delivery, message);
    const isStored = message.delivery === "stored" && !deleted;
    const isOpen = isStored && this.#store.active !== null;
    // An archived channel takes neither reactions, edits nor pins, but their removal.
    const takesMore = isOpen && !this.#store.active.archived;
    this.#updateReactions(node, message, takesMore);
    const canPin = takesMore || (isOpen && message.pinned !== undefined);
    this.#updateTools(node, message, own ? isOpen : canPin);
    for (const tool of node.querySelectorAll("[data-testid=react], [data-testid=edit]"))
      setHidden(tool, !takesMore);
    this.#updatePin(node.querySelector(".pin-tool"), message, canPin);
    this.#updateEditor(node, message, own && takesMore);
  }

  #updateReactions(node, message, isOpen) {
    const { reactions } = this.#actions;
    const { userId } = this.#store;
    const chips = node.querySelector(".reactions");
    const hadFocus = chips.contains(document.activeElement);
    const toggle = (emoji) => this.#react(message, emoji);
    updateReactions(chips, reactions.of(message), { userId, isOpen, toggle });
    // The chip that was pressed is gone with its last reaction.
    if (hadFocus && !chips.contains(document.activeElement))
      node.querySelector("[data-testid=react]")?.focus();
  }

  #react({ channel_id: channelId, id }, emoji) {
    const message = this.#store.timeline(channelId).messages.get(id);
    if (message) this.#actions.reactions.toggle(message, emoji);
  }

  /** Buttons of a message, made when they can be used for the first time: its sender has more. */
  #updateTools(node, message, isOpen) {
    let tools = node.querySelector(".tools");
    if (!tools && isOpen) {
      tools = element("div", { class: "tools" }, ...this.#toolsOf(message));
      node.append(tools);
    }
    if (tools) setHidden(tools, !isOpen);
  }

  #toolsOf(message) {
    const { edits, askToDelete } = this.#actions;
    const react = button("react", "React", () =>
      this.#picker.toggle(react, (emoji) => this.#react(message, emoji)),
    );
    setAttribute(react, "aria-haspopup", "dialog");
    setAttribute(react, "aria-expanded", "false");
    const current = () => this.#store.timeline(message.channel_id).messages.get(message.id);
    const pin = button("pin", "Pin", () => this.#pin(current(), pin.dataset.testid === "pin"));
    setAttribute(pin, "class", "pin-tool");
    if (message.sender_id !== this.#store.userId) return [react, pin];
    return [
      react,
      pin,
      button("edit", "Edit", () => edits.begin(current())),
      button("delete", "Delete", () => askToDelete(current())),
    ];
  }

  #pin(message, makes) {
    if (message) this.#actions.pins.set(message, makes);
  }

  #updatePin(tool, message, canPin) {
    if (!tool) return;
    setHidden(tool, !canPin);
    const isPinned = message.pinned !== undefined;
    setAttribute(tool, "data-testid", isPinned ? "unpin" : "pin");
    setText(tool, isPinned ? "Unpin" : "Pin");
    // Not disabled: the focus stays.
    setAttribute(tool, "aria-busy", String(this.#actions.pins.isBusy(message)));
  }

  #updateEditor(node, message, canChange) {
    const { edits } = this.#actions;
    const edit = canChange && edits.open?.id === message.id ? edits.open : null;
    let form = node.querySelector(".editor");
    if (form && !edit) form.remove();
    setHidden(node.querySelector(".message-text"), edit !== null || isWithoutText(message));
    if (!edit) return;
    if (!form) {
      form = editor(edit.text, {
        save: (text) => edits.save(text),
        cancel: () => edits.cancel(),
      });
      node.querySelector(".message-text").after(form);
      form.querySelector("textarea").focus();
    }
    setAttribute(form, "aria-busy", String(edit.busy));
    form.querySelector("[type=submit]").disabled = edit.busy;
    setText(form.querySelector(".error"), edit.problem ? problemText(edit.problem) : "");
  }

  #updateDelivery(node, message) {
    const { delivery, id } = message;
    const words = deliveryWords(message);
    const canRetry = this.#store.active !== null;
    const shown = `${delivery} ${canRetry}`;
    if (node.dataset.shown !== shown) {
      node.dataset.shown = shown;
      node.replaceChildren(
        icon(DELIVERY_ICONS[delivery]),
        element("span", { class: "delivery-text" }),
      );
      if (delivery === "failed") node.append(...this.#unsentButtons(message, canRetry));
    }
    setText(node.querySelector(".delivery-text"), words);
    setAttribute(node, "title", delivery === "stored" ? `Stored as ${id}` : words);
  }

  #unsentButtons(message, canRetry) {
    const { retry, copy, discard } = this.#actions;
    return [
      ...(canRetry ? [button("retry", "Retry", () => retry(message.id))] : []),
      button("copy", "Copy", () => copy(message.message)),
      button("discard", "Delete", () => discard(message.id)),
    ];
  }

  #renderEdge(timeline) {
    const channel = this.#store.shown;
    const state = edgeState(this.#store, timeline);
    const title = channel ? this.#store.titleOf(channel) : (this.#store.activeId ?? "");
    const { dataset } = this.#edge;
    if (dataset.state === state && dataset.channel === title) return;
    Object.assign(dataset, { state, channel: title });
    this.#edge.replaceChildren(...edgeContent(state, this.#store, this.#actions));
  }

  #renderJump(timeline) {
    const unread = timeline?.unread.size ?? 0;
    setHidden(byId("jump-latest"), this.#atBottom || !timeline);
    setText(byId("jump-text"), unread > 0 ? `${unread} new` : "Newest");
  }
}

/** A message may be nothing but files. */
function isWithoutText({ message, deleted }) {
  return deleted === undefined && message === "";
}

function button(testId, words, act) {
  const node = element("button", { type: "button", "data-testid": testId }, words);
  node.addEventListener("click", act);
  return node;
}
