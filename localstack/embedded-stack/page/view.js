// The open channel: its messages, dividers, history edge, the composer.
//
// Invariants: the message that a reader looks at stays where it is, whatever is added above or
// below; who is at the bottom stays at the bottom. Rendering is a function of the store.

import { avatar, byId, element, icon, reconcile, setAttribute, setHidden, setText } from "./dom.js";
import { PEOPLE, timeOf } from "./store.js";

const NEAR_BOTTOM_PX = 48;
const NEAR_TOP_PX = 300;
const GROUP_WITHIN_MS = 5 * 60_000;
const TEXT_CHARACTERS_MAX = 40_000;

export class MessageView {
  #store;
  #actions;
  #scroller = byId("message-scroll");
  #list = byId("message-list");
  #edge = byId("history-edge");
  #shownId = null;
  #atBottom = true;
  /** Where the "new" divider stands in the open channel. */
  #newFrom = null;

  /** `actions` has `loadOlder(channelId)`, `retry(id)`, `discard(id)` and `createFirst()`. */
  constructor(store, actions) {
    this.#store = store;
    this.#actions = actions;
    store.isReading = (channelId) => this.#isReading(channelId);
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    document.addEventListener("visibilitychange", () => this.#read());
    new ResizeObserver(() => this.#keepBottom()).observe(this.#scroller);
    byId("jump-latest").addEventListener("click", () => this.toBottom());
  }

  toBottom() {
    this.#atBottom = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#read();
  }

  render() {
    const { activeId } = this.#store;
    const switched = activeId !== this.#shownId;
    if (switched) {
      this.#shownId = activeId;
      this.#newFrom = null;
      this.#atBottom = true;
    }
    const timeline = activeId === null ? null : this.#store.timeline(activeId);
    const anchor = switched || this.#atBottom ? null : this.#firstVisible();
    // A screen reader is told what arrives, not what an opened channel or an older page holds.
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
    this.#renderJump(timeline);
    this.#read();
    this.#loadIfNearTop(timeline);
  }

  #isReading(channelId) {
    const looking = document.visibilityState === "visible";
    return channelId === this.#shownId && this.#atBottom && looking;
  }

  #read() {
    if (this.#shownId === null || !this.#isReading(this.#shownId)) return;
    const { unread } = this.#store.timeline(this.#shownId);
    if (unread.size > 0) this.#newFrom = [...unread].sort()[0];
    this.#store.markRead(this.#shownId);
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#atBottom = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
    if (this.#shownId === null) return;
    const timeline = this.#store.timeline(this.#shownId);
    this.#renderJump(timeline);
    this.#read();
    this.#loadIfNearTop(timeline);
  }

  #keepBottom() {
    if (this.#atBottom) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Short pages load on until they fill the view; a reader at the top gets page after page. */
  #loadIfNearTop(timeline) {
    if (!timeline || timeline.olderFailed || this.#scroller.scrollTop > NEAR_TOP_PX) return;
    if (typeof timeline.historyOffset === "string") this.#actions.loadOlder(this.#shownId);
  }

  #firstVisible() {
    const { top } = this.#scroller.getBoundingClientRect();
    for (const node of this.#list.children) {
      const box = node.getBoundingClientRect();
      // Messages only: a divider may be replaced by the very render that it should hold.
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
    setText(node.querySelector(".message-text"), message.message);
    const delivery = node.querySelector(".delivery");
    setHidden(delivery, !own);
    if (own) this.#updateDelivery(delivery, message);
  }

  #updateDelivery(node, message) {
    const { delivery, id } = message;
    const words = deliveryWords(message);
    if (node.dataset.shown !== delivery) {
      node.dataset.shown = delivery;
      node.replaceChildren(
        icon(DELIVERY_ICONS[delivery]),
        element("span", { class: "delivery-text" }),
      );
      if (delivery === "failed") {
        const retry = element("button", { type: "button", "data-testid": "retry" }, "Retry");
        const discard = element("button", { type: "button", "data-testid": "discard" }, "Delete");
        retry.addEventListener("click", () => this.#actions.retry(id));
        discard.addEventListener("click", () => this.#actions.discard(id));
        node.append(retry, discard);
      }
    }
    setText(node.querySelector(".delivery-text"), words);
    setAttribute(node, "title", delivery === "stored" ? `Stored as ${id}` : words);
  }

  #renderEdge(timeline) {
    const channel = this.#store.active;
    const state = this.#edgeState(timeline, channel);
    const { dataset } = this.#edge;
    const name = channel ? this.#store.nameOf(channel) : "";
    if (dataset.state === state && dataset.channel === name) return;
    Object.assign(dataset, { state, channel: name });
    this.#edge.replaceChildren(...this.#edgeContent(state, channel));
  }

  #edgeState(timeline, channel) {
    if (!this.#store.channelsKnown) return "connecting";
    if (!channel) return this.#store.channels.size === 0 ? "welcome" : "none";
    if (timeline.historyOffset === null) return "beginning";
    if (timeline.olderFailed) return "failed";
    return timeline.loadingOlder || timeline.historyOffset === undefined ? "loading" : "more";
  }

  #edgeContent(state, channel) {
    switch (state) {
      case "connecting":
        return [element("p", { class: "edge-note" }, "Reading your channels…")];
      case "welcome":
        return [this.#welcome()];
      case "beginning":
        return [beginning(channel, this.#store)];
      case "failed": {
        const again = element("button", { type: "button", class: "text-button" }, "Try again");
        again.addEventListener("click", () => this.#actions.loadOlder(channel.channel_id));
        return [element("p", { class: "edge-note" }, "Older messages could not be read. ", again)];
      }
      case "loading":
        return [element("p", { class: "edge-note" }, "Reading older messages…")];
      default:
        return [];
    }
  }

  #welcome() {
    const create = element(
      "button",
      { type: "button", class: "primary", "data-testid": "create-first" },
      `Create # general with ${PEOPLE.join(", ")}`,
    );
    create.addEventListener("click", () => this.#actions.createFirst());
    const link = (person) => element("a", { href: `/?as=${person}`, target: "_blank" }, person);
    const [one, two] = PEOPLE.filter((person) => person !== this.#store.userId);
    const others = [link(one), " or ", link(two)];
    return element(
      "div",
      { class: "welcome" },
      element("h2", {}, "Nothing here yet"),
      element(
        "p",
        {},
        "Create a channel here, open a second window as ",
        ...others,
        ", and write to each other.",
      ),
      create,
    );
  }

  #renderJump(timeline) {
    const unread = timeline?.unread.size ?? 0;
    setHidden(byId("jump-latest"), this.#atBottom || !timeline);
    setText(byId("jump-text"), unread > 0 ? `${unread} new` : "Newest");
  }
}

/** The box one writes in: a draft per channel, Enter sends, Shift+Enter breaks the line. */
export class Composer {
  #store;
  #submit;
  #text = byId("composer-text");
  #drafts = new Map();
  #shownId = null;

  constructor(store, submit) {
    this.#store = store;
    this.#submit = submit;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While an input method composes, Enter accepts its suggestion.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("input", () => this.#check());
  }

  render() {
    const { active, activeId } = this.#store;
    if (activeId !== this.#shownId) {
      if (this.#shownId !== null) this.#drafts.set(this.#shownId, this.#text.value);
      this.#shownId = activeId;
      this.#text.value = this.#drafts.get(activeId) ?? "";
      this.#check();
    }
    const name = active ? this.#store.nameOf(active) : "";
    const prefix = active && active.type !== "DM" ? "# " : "";
    setAttribute(
      this.#text,
      "placeholder",
      active ? `Message ${prefix}${name}` : "No channel open",
    );
    if (this.#text.disabled !== !active) this.#text.disabled = !active;
    setAttribute(byId("send"), "disabled", !this.#sendable());
  }

  focus() {
    // On a touch screen a focus nobody asked for would open the keyboard.
    if (matchMedia("(hover: hover)").matches) this.#text.focus({ preventScroll: true });
  }

  #sendable() {
    const text = this.#text.value;
    const blank = text.trim() === "";
    return this.#store.active !== null && !blank && characters(text) <= TEXT_CHARACTERS_MAX;
  }

  #send() {
    if (!this.#sendable()) return;
    const text = this.#text.value;
    this.#text.value = "";
    this.#drafts.delete(this.#shownId);
    this.#check();
    this.#submit(this.#shownId, text);
  }

  #check() {
    const over = characters(this.#text.value) - TEXT_CHARACTERS_MAX;
    setAttribute(
      byId("composer-hint"),
      "data-over",
      over > 0 ? `${over} characters too long` : null,
    );
    setAttribute(byId("send"), "disabled", !this.#sendable());
    if (CSS.supports("field-sizing", "content")) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

/** The server counts Unicode scalar values, a string's length counts UTF-16 units. */
function characters(text) {
  if (text.length <= TEXT_CHARACTERS_MAX) return text.length;
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

function createRow(row) {
  if (row.kind !== "message") {
    return element(
      "div",
      { class: `divider ${row.kind}`, "data-testid": `divider-${row.kind}` },
      element("span", {}, row.text),
    );
  }
  const { message, at } = row;
  const time = element("time", { datetime: at.toISOString(), title: at.toLocaleString() });
  time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return element(
    "article",
    {
      class: "message",
      "data-testid": "message",
      "data-message-id": message.id,
      "data-sender": message.sender_id,
    },
    avatar(message.sender_id),
    element(
      "div",
      { class: "message-body" },
      element("header", {}, element("b", { class: "sender" }, message.sender_id), time),
      element("p", { class: "message-text", "data-testid": "message-text", dir: "auto" }),
      element("p", { class: "delivery", "data-testid": "delivery" }),
    ),
  );
}

const DELIVERY_ICONS = {
  queued: "clock",
  sending: "clock",
  waiting: "clock",
  stored: "check",
  failed: "alert",
};

function deliveryWords({ delivery, reason, retryAt }) {
  switch (delivery) {
    case "queued":
      return "Queued";
    case "sending":
      return "Sending";
    case "waiting": {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1_000));
      return `Retrying in ${seconds} s with the same id (${reason})`;
    }
    case "failed":
      return `Not sent: ${reason}`;
    default:
      return "Stored";
  }
}

function continues(previous, message) {
  if (!previous || previous.sender_id !== message.sender_id) return false;
  return timeOf(message.id) - timeOf(previous.id) < GROUP_WITHIN_MS;
}

function missedLabel(count) {
  return `${count} missed ${count === 1 ? "message" : "messages"}, caught up`;
}

function dayLabel(at) {
  const today = new Date();
  const yesterday = new Date(today);
  yesterday.setDate(today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return "Today";
  if (at.toDateString() === yesterday.toDateString()) return "Yesterday";
  const year = at.getFullYear() === today.getFullYear() ? {} : { year: "numeric" };
  return at.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long", ...year });
}

function beginning(channel, store) {
  const dm = channel.type === "DM";
  const name = store.nameOf(channel);
  const since = new Date(channel.created_at);
  const opened = Number.isNaN(since.getTime()) ? "" : ` on ${since.toLocaleDateString()}`;
  return element(
    "div",
    { class: "beginning", "data-testid": "history-start" },
    element("h2", { dir: "auto" }, dm ? name : `# ${name}`),
    element(
      "p",
      {},
      dm
        ? `The beginning of your direct messages with ${name}.`
        : `The beginning of this channel. ${channel.created_by} created it${opened}.`,
    ),
  );
}
