// Rows of the message list: how a message and a divider look.

import { isPicture, sizeWords } from "./attachments.js";
import { avatar, element, icon, reconcile, setAttribute, setHidden, setNodes, setText } from "./dom.js";
import { timeOf } from "./ids.js";
import { mayMention, partsOf } from "./mentions.js";
import { missedMessages } from "./recovery.js";
import { reactedWords } from "./text.js";

const GROUP_WITHIN_MS = 5 * 60_000;

/** A new node for a row. The view fills in what may change. */
export function createRow(row) {
  if (row.kind !== "message") {
    return element(
      "div",
      { class: `divider ${row.kind}`, "data-testid": `divider-${row.kind}` },
      element("span", {}, row.text),
    );
  }
  const { message, at } = row;
  const time = element("time");
  updateTime(time, at);
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
      element(
        "header",
        {},
        element("b", { class: "sender", translate: "no" }, message.sender_id),
        time,
        element("span", { class: "edited", "data-testid": "edited", hidden: "" }, "edited"),
      ),
      // Outside the live region: a screen reader does not announce every pin.
      element(
        "p",
        { class: "pinned", "data-testid": "pinned", "aria-live": "off", hidden: "" },
        "Pinned by ",
        element("bdi", { translate: "no" }),
      ),
      element("p", { class: "message-text", "data-testid": "message-text", dir: "auto" }),
      element("ul", { class: "files", "data-testid": "files", hidden: "" }),
      element("p", { class: "delivery", "data-testid": "delivery" }),
      // Outside the live region: a screen reader does not announce every reaction.
      element("div", { class: "reactions", "data-testid": "reactions", "aria-live": "off" }),
    ),
  );
}

export function updateTime(node, at) {
  const datetime = at.toISOString();
  if (node.getAttribute("datetime") === datetime) return;
  setAttribute(node, "datetime", datetime);
  setAttribute(node, "title", at.toLocaleString());
  setText(node, at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
}

/** Shows the text of a message, with names for its mentions. */
export function showText(node, text, store) {
  if (!mayMention(text)) return setText(node, text);
  setNodes(node, text, () => partsOf(text).map((part) => part.text ?? mention(part, store.userId)));
  // A name may come later than the text.
  for (const named of node.querySelectorAll("[data-user-id]"))
    setText(named, `@${store.displayName(named.dataset.userId)}`);
}

function mention({ userId, everybody }, me) {
  const attributes = { class: "mention", "data-testid": "mention", translate: "no" };
  if (everybody) return element("bdi", { ...attributes, title: "Everybody here" }, "@channel");
  const isMe = userId === me;
  return element("bdi", { ...attributes, "data-user-id": userId, "data-me": isMe, title: userId });
}

/** Says who pinned a message, if anybody did. */
export function updatePinned(node, { pinned }, store) {
  setHidden(node, pinned === undefined);
  if (pinned === undefined) return;
  const isMine = pinned.by === store.userId;
  setText(node.querySelector("bdi"), isMine ? "you" : store.displayName(pinned.by));
}

/**
 * Brings the reactions of a message up to date: a chip for each emoji, which `toggle(emoji)` makes
 * or withdraws if the channel `isOpen` to the user.
 */
export function updateReactions(node, reactions, { userId, isOpen, toggle }) {
  setHidden(node, reactions.length === 0);
  reconcile(
    node,
    reactions,
    ({ emoji }) => emoji,
    ({ emoji }) => chip(emoji, toggle),
    (button, reaction) => {
      button.disabled = !isOpen;
      setAttribute(button, "aria-pressed", String(reaction.mine === true));
      setAttribute(button, "title", reactedWords(reaction, userId));
      setText(button.querySelector(".count"), String(reaction.count));
    },
  );
}

/**
 * Brings the files of a message up to date: pictures as such, others as links. `picture(file)`
 * gives a picture's address once it is here, and `save(file)` saves a file.
 */
export function updateFiles(node, files, { picture, save }) {
  setHidden(node, files.length === 0);
  reconcile(
    node,
    files,
    ({ id }) => id,
    (file) => fileRow(file, save),
    (row, file) => {
      if (!isPicture(file)) return;
      const url = picture(file);
      const image = row.querySelector("img");
      setHidden(image, url === null);
      if (url !== null) setAttribute(image, "src", url);
    },
  );
}

function fileRow(file, save) {
  const link = element(
    "button",
    { type: "button", class: "file", "data-testid": "file", title: "Save this file" },
    icon("file"),
    element("bdi", { class: "name", translate: "no" }, file.name),
    element("span", { class: "muted" }, sizeWords(file.bytes)),
  );
  link.addEventListener("click", () => save(file));
  const image = isPicture(file)
    ? [element("img", { class: "picture", "data-testid": "picture", alt: file.name, hidden: "" })]
    : [];
  return element("li", {}, ...image, link);
}

function chip(emoji, toggle) {
  const button = element(
    "button",
    { type: "button", class: "reaction", "data-testid": "reaction", "data-emoji": emoji },
    element("span", { class: "emoji", translate: "no" }, emoji),
    element("span", { class: "count" }),
  );
  button.addEventListener("click", () => toggle(emoji));
  return button;
}

/** The form in which the text of an own message is edited. `edits` has `save` and `cancel`. */
export function editor(text, { save, cancel }) {
  const field = element("textarea", { "data-testid": "edit-text", dir: "auto", rows: "1" });
  field.setAttribute("aria-label", "Text of the message");
  field.value = text;
  const problem = element("p", { class: "error", "data-testid": "edit-error", role: "alert" });
  const button = (type, testId, words) =>
    element("button", { type, class: "small", "data-testid": testId }, words);
  const stop = button("button", "edit-cancel", "Cancel");
  const ok = button("submit", "edit-save", "Save");
  const form = element("form", { class: "editor" }, field, problem, stop, ok);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save(field.value);
  });
  stop.addEventListener("click", cancel);
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      // This Escape is for the editor alone, not for the thread around it.
      event.stopPropagation();
      cancel();
    }
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    form.requestSubmit();
  });
  return form;
}

export const DELIVERY_ICONS = {
  queued: "clock",
  sending: "clock",
  waiting: "clock",
  stored: "check",
  said: "check",
  failed: "alert",
};

export function deliveryWords({ delivery, reason, retryAt }) {
  switch (delivery) {
    case "queued":
      return "Queued";
    case "sending":
      return "Sending";
    case "waiting": {
      const seconds = Math.max(0, Math.ceil((retryAt - performance.now()) / 1_000));
      return `Retrying in ${seconds} s with the same id (${reason})`;
    }
    case "failed":
      return `Not sent: ${reason}`;
    case "said":
      return "Said";
    default:
      return "Stored";
  }
}

export function continues(previous, message) {
  if (!previous || previous.sender_id !== message.sender_id) return false;
  return timeOf(message.id) - timeOf(previous.id) < GROUP_WITHIN_MS;
}

export function missedLabel(count) {
  return `${missedMessages(count)}, caught up`;
}

export function dayLabel(at) {
  const today = new Date();
  const yesterday = new Date(today);
  yesterday.setDate(today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return "Today";
  if (at.toDateString() === yesterday.toDateString()) return "Yesterday";
  const year = at.getFullYear() === today.getFullYear() ? {} : { year: "numeric" };
  return at.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long", ...year });
}
