// The line below a message that leads to its thread: who replied, how many replies, the last one.

import { avatar, element, initial, reconcile, setHidden, setText } from "./dom.js";
import { timeOf } from "./ids.js";
import { counted } from "./text.js";

const AVATARS_MAX = 4;

/**
 * Brings the line of a message's row up to date. `unread` says how many replies are unread, or
 * is null; `failed` is how many own ones were not sent; `open(opener)` opens the thread.
 */
export function updateReplies(row, { replies, id }, { store, unread, failed, open }) {
  const isShown = replies?.count > 0 || failed > 0;
  let line = row.querySelector(".replies");
  if (!line && !isShown) return;
  if (!line) {
    line = create(open);
    row.querySelector(".reactions").after(line);
  }
  setHidden(line, !isShown);
  if (!isShown) return;
  const { count, last, users } = replies ?? { count: 0, last: id, users: [] };
  reconcile(
    line.querySelector(".replies-users"),
    users.slice(0, AVATARS_MAX),
    (user) => user,
    (user) => avatar(user),
    (node, user) => setText(node, initial(store.displayName(user))),
  );
  setText(line.querySelector(".replies-count"), counted(count, "reply", "replies"));
  const news = line.querySelector(".replies-new");
  setHidden(news, unread === null);
  setText(news, unread ?? "");
  const problem = line.querySelector(".replies-failed");
  setHidden(problem, failed === 0);
  setText(problem, `${failed} not sent`);
  const words = count > 0 ? lastReplyWords(new Date(timeOf(last))) : "";
  setText(line.querySelector(".replies-last"), words);
}

/** When the last reply came, as people say it. */
export function lastReplyWords(at, now = new Date()) {
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (at.toDateString() === now.toDateString()) return `Last reply at ${time}`;
  if (at.toDateString() === yesterday.toDateString()) return `Last reply yesterday at ${time}`;
  const year = at.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return `Last reply on ${at.toLocaleDateString([], { day: "numeric", month: "short", ...year })}`;
}

function create(open) {
  const line = element(
    "button",
    // Outside the live region: a screen reader does not announce every reply.
    { type: "button", class: "replies", "data-testid": "replies", "aria-live": "off" },
    element("span", { class: "replies-users" }),
    element("span", { class: "replies-count" }),
    element("span", { class: "replies-new", "data-testid": "replies-new" }),
    element("span", { class: "replies-failed" }),
    element("span", { class: "replies-last" }),
  );
  line.addEventListener("click", () => open(line));
  return line;
}
