// The dialogs that list messages.
//
// Invariants: a dialog about a channel closes when that channel is no longer the open one; nothing
// is listed of channels that the user is no longer in.

import { takesChanges } from "./contracts.js";
import { problemText } from "./dialogs.js";
import { byId, element, reconcile, setAttribute, setHidden, setText } from "./dom.js";
import { timeOf } from "./ids.js";
import { keyOf, Listing } from "./listing.js";
import { isMentioned } from "./mentions.js";
import { showText } from "./rows.js";

/**
 * `calls` has `pins(channelId, offset)` and `mentions(offset)`, which read a page;
 * `showMessage(message)` opens the channel or thread of a message, and scrolls to it if it is here.
 * Answers what draws the dialogs.
 */
export function prepareLists(store, calls, showMessage) {
  const draws = [
    preparePins(store, calls, showMessage),
    prepareMentions(store, calls, showMessage),
  ];
  return () => {
    for (const draw of draws) draw();
  };
}

function preparePins(store, calls, showMessage) {
  let channelId = null;
  const dialog = new ListDialog("pins", store, {
    passes: (message) => message.channel_id === channelId && message.pinned !== undefined,
    create: (message) => {
      const show = element(
        "button",
        { type: "button", class: "quiet", "data-testid": "pinned-show" },
        "Show",
      );
      show.addEventListener("click", () => {
        dialog.close();
        showMessage(message);
      });
      const attributes = { "data-testid": "pinned-message", "data-message-id": message.id };
      return element("li", attributes, listed(message), show);
    },
    update: (node, message) => {
      updateListed(node, message, store);
      // A thread is read when it is opened.
      const canShow = message.thread !== undefined || store.find(message.channel_id, message.id);
      setHidden(node.querySelector("[data-testid=pinned-show]"), !canShow);
    },
  });
  byId("pins").addEventListener("click", () => {
    if (store.active === null) return;
    const { channel_id: id } = store.active;
    channelId = id;
    dialog.open((offset) => calls.pins(id, offset));
  });
  return () => {
    setHidden(byId("pins"), store.active === null || !takesChanges(store.active));
    if (store.active?.channel_id !== channelId) dialog.close();
    dialog.render();
  };
}

function prepareMentions(store, calls, showMessage) {
  const dialog = new ListDialog("mentions", store, {
    passes: (message) =>
      store.channels.has(message.channel_id) && isMentioned(message, store.userId),
    create: (message) => {
      const where = element("bdi", { class: "where muted", translate: "no" });
      const open = element(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-testid": "mention-item",
          "data-channel-id": message.channel_id,
          "data-message-id": message.id,
        },
        listed(message, where),
      );
      open.addEventListener("click", () => {
        dialog.close();
        showMessage(message);
      });
      return element("li", {}, open);
    },
    update: (node, message) => {
      updateListed(node, message, store);
      const channel = store.channels.get(message.channel_id);
      const title = store.titleOf(channel);
      const where = message.thread === undefined ? title : `${title}, in a thread`;
      setText(node.querySelector(".where"), where);
    },
  });
  byId("mentions").addEventListener("click", () => dialog.open((offset) => calls.mentions(offset)));
  return () => dialog.render();
}

/**
 * A dialog with a list of messages, and a button for its next page. `passes(message)` says which
 * are shown; `create(message)` and `update(node, message)` make and change a row.
 */
class ListDialog {
  #dialog;
  #list;
  #more;
  #listing;
  #rows;

  constructor(name, store, rows) {
    this.#dialog = byId(`${name}-dialog`);
    this.#list = byId(`${name}-list`);
    this.#more = this.#dialog.querySelector("[data-more]");
    this.#listing = new Listing(store);
    this.#rows = rows;
    this.#dialog.querySelector("[data-cancel]").addEventListener("click", () => this.close());
    // This event comes later than the closing: the dialog may be open again.
    this.#dialog.addEventListener("close", () => {
      if (!this.#dialog.open) this.#listing.close();
    });
    this.#more.addEventListener("click", () => this.#listing.more());
  }

  open(read) {
    this.#list.replaceChildren();
    this.#dialog.showModal();
    this.#listing.open(read);
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  render() {
    const { isOpen, busy, next, problem } = this.#listing;
    if (!isOpen) return;
    const { passes, create, update } = this.#rows;
    const messages = this.#listing.shown(passes);
    reconcile(this.#list, messages, keyOf, create, update);
    setAttribute(this.#list, "aria-busy", String(busy));
    setHidden(this.#dialog.querySelector("[data-none]"), messages.length > 0 || next !== null);
    setHidden(this.#more, next === null);
    setAttribute(this.#more, "aria-busy", String(busy));
    setText(this.#more, busy ? "Reading" : problem === null ? "More" : "Try again");
    const error = this.#dialog.querySelector(".error");
    setText(error, problem === null ? "" : problemText(problem));
    setHidden(error, problem === null);
  }
}

/** Who wrote a message, when, and its text; `where` is what stands beside the time. */
export function listed(message, ...where) {
  const at = new Date(timeOf(message.id));
  return element(
    "span",
    { class: "listed" },
    element(
      "span",
      { class: "listed-head" },
      element("bdi", { class: "sender", translate: "no" }),
      element(
        "time",
        { datetime: at.toISOString() },
        at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }),
      ),
      ...where,
    ),
    element("span", { class: "message-text", dir: "auto" }),
  );
}

export function updateListed(node, message, store) {
  setText(node.querySelector(".sender"), store.displayName(message.sender_id));
  const files = (message.attachments ?? []).map(({ name }) => name).join(", ");
  showText(node.querySelector(".message-text"), message.message || files, store);
}
