// Rows of a list of messages as they are in use: what a row shows of its message, and the buttons
// that act on it. The same message may be in two views, the root of a thread in the channel and
// beside it.

import { takesChanges } from "./contracts.js";
import { problemText } from "./dialogs.js";
import { element, icon, initial, setAttribute, setHidden, setText } from "./dom.js";
import { logOf, logOfMessage } from "./logs.js";
import { isMentioned } from "./mentions.js";
import { updateReplies } from "./replies.js";
import {
  DELIVERY_ICONS,
  deliveryWords,
  editor,
  showText,
  updateFiles,
  updatePinned,
  updateReactions,
  updateTime,
} from "./rows.js";
import { ticksButton, updateTicks } from "./ticks_view.js";

export class MessageRows {
  #store;
  #actions;
  #picker;
  #place;

  /**
   * `actions` has `retry(id)`, `copy(text)`, `discard(id)`, `askToDelete(message)`,
   * `picture(file)`, `saveFile(file)`, `edits`, `reactions`, `pins`, `threads`, `receipts`,
   * `showPlaces(message)` and `openThread(message, opener)`. `place` is `channel`, whose messages lead to their threads, or
   * `thread`.
   */
  constructor(store, actions, picker, place) {
    this.#store = store;
    this.#actions = actions;
    this.#picker = picker;
    this.#place = place;
  }

  update(node, row) {
    if (row.kind !== "message") return setText(node.firstElementChild, row.text);
    const { message } = row;
    const own = message.sender_id === this.#store.userId;
    setAttribute(node, "data-delivery", message.delivery);
    // Until it leaves this page, a message may get another id.
    setAttribute(node, "data-message-id", message.id);
    updateTime(node.querySelector("time"), row.at);
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
    const { active } = this.#store;
    const isOpen = isStored && active !== null && takesChanges(active);
    // An archived channel takes neither reactions, edits nor pins, but their removal.
    const takesMore = isOpen && !this.#store.active.archived;
    this.#updateReactions(node, message, takesMore);
    this.#updateReplies(node, message);
    const canPin = takesMore || (isOpen && message.pinned !== undefined);
    this.#updateTools(node, message, !deleted);
    for (const tool of node.querySelectorAll(MORE_TOOLS)) setHidden(tool, !takesMore);
    const remove = node.querySelector("[data-testid=delete]");
    if (remove) setHidden(remove, !isOpen);
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

  /** The line that leads to a message's thread. */
  #updateReplies(node, message) {
    if (this.#place !== "channel") return;
    const { threads, openThread } = this.#actions;
    const thread = logOf(message.channel_id, message.id);
    updateReplies(node, message, {
      store: this.#store,
      unread: threads.follows(thread) ? threads.unreadWords(message) : null,
      failed: this.#store.unsentIn(thread).filter(isFailed).length,
      open: (opener) => openThread(this.#current(message), opener),
    });
  }

  /** The newest copy of a message: it may be another object than when its row was made. */
  #current(message) {
    return this.#store.find(logOfMessage(message), message.id);
  }

  #react(of, emoji) {
    const message = this.#current(of);
    if (message) this.#actions.reactions.toggle(message, emoji);
  }

  /** Buttons of a message, made when they are shown for the first time: its sender has more. */
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
    const current = () => this.#current(message);
    const pin = button("pin", "Pin", () => this.#pin(current(), pin.dataset.testid === "pin"));
    setAttribute(pin, "class", "pin-tool");
    const where = button("where", "Where?", () =>
      this.#actions.showPlaces(current() ?? message),
    );
    setAttribute(where, "title", "Where is this message?");
    setAttribute(where, "aria-haspopup", "dialog");
    const reply = this.#place === "channel" ? [this.#replyTool(current)] : [];
    const all = [react, ...reply, pin, where];
    if (message.sender_id !== this.#store.userId) return all;
    return [
      ...all,
      button("edit", "Edit", () => edits.begin(current(), this.#place)),
      button("delete", "Delete", () => askToDelete(current())),
    ];
  }

  #replyTool(current) {
    const tool = button("reply", "Reply in thread", () =>
      this.#actions.openThread(current(), tool),
    );
    return tool;
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
    const edit = canChange && this.#isEdited(message) ? edits.open : null;
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

  #isEdited(message) {
    const { open } = this.#actions.edits;
    if (open?.id !== message.id || open.log !== logOfMessage(message)) return false;
    return open.place === this.#place;
  }

  #updateDelivery(node, message) {
    const { delivery, id } = message;
    const words = deliveryWords(message);
    const canRetry = this.#store.active !== null;
    const shown = `${delivery} ${canRetry}`;
    const receipt = this.#actions.receipts.of(message);
    if (receipt !== null && delivery === "stored") return this.#updateTicks(node, message, receipt);
    if (node.dataset.shown !== shown) {
      node.dataset.shown = shown;
      node.replaceChildren(
        icon(DELIVERY_ICONS[delivery]),
        element("span", { class: "delivery-text" }),
      );
      if (delivery === "failed") node.append(...this.#unsentButtons(message, canRetry, receipt !== null));
    }
    setText(node.querySelector(".delivery-text"), words);
    setAttribute(node, "title", delivery === "stored" ? `Stored as ${id}` : words);
  }

  #updateTicks(node, message, receipt) {
    if (node.dataset.shown !== "ticks") {
      node.dataset.shown = "ticks";
      const current = () => this.#current(message) ?? message;
      node.replaceChildren(ticksButton(() => this.#actions.showPlaces(current())));
      // The button has its own, and these words would be read twice.
      setAttribute(node, "title", null);
    }
    updateTicks(node.firstElementChild, receipt);
  }

  #unsentButtons(message, canRetry, isDelivered) {
    const { retry, copy, discard } = this.#actions;
    const [again, remove] = isDelivered ? ["Send again", "Discard"] : ["Retry", "Delete"];
    return [
      ...(canRetry ? [button("retry", again, () => retry(message.id))] : []),
      button("copy", "Copy", () => copy(message.message)),
      button("discard", remove, () => discard(message.id)),
    ];
  }
}

/** A message may be nothing but files. */
function isWithoutText({ message, deleted }) {
  return deleted === undefined && message === "";
}

function isFailed({ delivery }) {
  return delivery === "failed";
}

/** What an archived channel does not take. */
const MORE_TOOLS = ["react", "edit", "reply"].map((id) => `[data-testid=${id}]`).join(", ");

function button(testId, words, act) {
  const node = element("button", { type: "button", "data-testid": testId }, words);
  node.addEventListener("click", act);
  return node;
}
