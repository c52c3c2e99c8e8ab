// The list of followed threads, and the badge that says how many have unread replies.

import { problemText } from "./dialogs.js";
import { byId, element, reconcile, setAttribute, setHidden, setText } from "./dom.js";
import { timeOf } from "./ids.js";
import { listed, updateListed } from "./lists.js";
import { keyOf } from "./listing.js";
import { lastReplyWords } from "./replies.js";
import { counted } from "./text.js";

/** `openThread(root)` opens a thread. Answers what draws the list and the badge. */
export function prepareThreadList(store, threads, openThread) {
  const dialog = byId("threads-dialog");
  const error = dialog.querySelector(".error");
  const create = (root) => {
    const open = element(
      "button",
      { type: "button", class: "quiet", "data-testid": "thread-item", "data-message-id": root.id },
      listed(root, element("bdi", { class: "where muted", translate: "no" })),
      element(
        "span",
        { class: "listed-replies" },
        element("span", { class: "replies-count" }),
        element("span", { class: "muted", "data-last": true }),
        element("span", { class: "unread", "data-testid": "thread-item-unread" }),
      ),
    );
    open.addEventListener("click", () => {
      dialog.close();
      openThread(root);
    });
    return element("li", {}, open);
  };
  const update = (node, root) => {
    updateListed(node, root, store);
    const { count, last } = root.replies ?? { count: 0, last: root.id };
    setText(node.querySelector(".where"), store.titleOf(store.channels.get(root.channel_id)));
    setText(node.querySelector(".replies-count"), counted(count, "reply", "replies"));
    const words = count > 0 ? lastReplyWords(new Date(timeOf(last))) : "";
    setText(node.querySelector("[data-last]"), words);
    const unread = node.querySelector(".unread");
    const news = threads.unreadWords(root);
    setHidden(unread, news === null);
    setText(unread, news ?? "");
  };
  dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
  byId("threads").addEventListener("click", () => {
    dialog.showModal();
    threads.load();
  });
  return () => {
    renderBadge(threads.unread());
    if (!dialog.open) return;
    const roots = threads.list();
    reconcile(byId("threads-list"), roots, keyOf, create, update);
    setAttribute(byId("threads-list"), "aria-busy", String(!threads.isKnown));
    setHidden(byId("no-threads"), roots.length > 0 || !threads.isKnown);
    setHidden(error, threads.problem === null);
    setText(error, threads.problem === null ? "" : problemText(threads.problem));
  };
}

function renderBadge(count) {
  const badge = byId("threads-unread");
  setHidden(badge, count === 0);
  setText(badge, count > 99 ? "99+" : String(count));
  setAttribute(badge, "aria-label", `${counted(count, "thread", "threads")} with unread replies`);
  setAttribute(byId("threads"), "data-unread", count > 0 ? count : null);
}
