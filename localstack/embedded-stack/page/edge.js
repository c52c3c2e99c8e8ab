// What is shown above the oldest message: the beginning, a button, or why there are no messages.

import { deliversFirst } from "./contracts.js";
import { element, icon, nameNode } from "./dom.js";
import { counted } from "./text.js";
import { PEOPLE } from "./store.js";

/** Brings the edge up to date: `content(state)` makes its nodes, if state or title changed. */
export function renderEdge(node, state, title, content) {
  const { dataset } = node;
  if (dataset.state === state && dataset.title === title) return;
  Object.assign(dataset, { state, title });
  node.replaceChildren(...content(state));
}

export function edgeState(store, timeline) {
  if (!store.channelsKnown) return "connecting";
  if (store.activeId === null) return store.channels.size === 0 ? "welcome" : "none";
  if (store.active === null) return store.shown === null ? "unknown" : "former";
  if (timeline.historyOffset === null) return "beginning";
  if (timeline.olderFailed) return "failed";
  return timeline.loadingOlder || timeline.historyOffset === undefined ? "loading" : "more";
}

/** `actions` has `loadOlder(channelId)` and `createFirst()`. */
export function edgeContent(state, store, actions) {
  const channel = store.shown;
  switch (state) {
    case "connecting":
      return [note("Reading your channels…")];
    case "welcome":
      return [welcome(store, actions)];
    case "unknown":
      return [unknown(store.activeId)];
    case "former":
      return [former(channel, store)];
    case "beginning":
      return [beginning(channel, store)];
    case "failed": {
      const again = againButton(() => actions.loadOlder(channel.channel_id));
      return [note("Older messages could not be read. ", again)];
    }
    case "loading":
      return [note("Reading older messages…")];
    default:
      return [];
  }
}

/** The state of the edge between a thread's root and its replies. */
export function threadEdgeState({ active }, timeline, isConnected) {
  const { historyOffset, gap, olderFailed, loadingOlder } = timeline;
  if (active === null) return "former";
  if (historyOffset === undefined && gap?.refused) return "refused";
  if (historyOffset === undefined) return isConnected ? "reading" : "waiting";
  if (historyOffset === null) return "beginning";
  if (olderFailed) return "failed";
  return loadingOlder ? "loading" : "more";
}

/** `count` is that of the replies; `actions` has `loadOlder()` and `readAgain()`. */
export function threadEdgeContent(state, count, actions) {
  switch (state) {
    case "former":
      return [note("You are no longer a member of this channel. Its messages are not shown.")];
    case "reading":
      return [note("Reading the replies…")];
    case "waiting":
      return [note("The replies are read when the page is connected.")];
    case "refused":
      return [note("The replies could not be read. ", againButton(actions.readAgain))];
    case "failed":
      return [note("Older replies could not be read. ", againButton(actions.loadOlder))];
    case "loading":
      return [note("Reading older replies…")];
    default: {
      const words = count > 0 ? counted(count, "reply", "replies") : "No replies yet";
      return [element("p", { class: "replies-head", "data-testid": "thread-count" }, words)];
    }
  }
}

function againButton(act) {
  const again = element("button", { type: "button", class: "text-button" }, "Try again");
  again.addEventListener("click", () => act());
  return again;
}

function note(...content) {
  return element("p", { class: "edge-note" }, ...content);
}

function welcome(store, actions) {
  const create = element(
    "button",
    { type: "button", class: "primary", "data-testid": "create-first" },
    `Create # general with ${PEOPLE.join(", ")}`,
  );
  create.addEventListener("click", () => actions.createFirst());
  const link = (person) => element("a", { href: `/?as=${person}`, target: "_blank" }, person);
  const [one, two] = PEOPLE.filter((person) => person !== store.userId);
  return element(
    "div",
    { class: "welcome" },
    element("h2", {}, "Nothing here yet"),
    element(
      "p",
      {},
      "Create a channel here, open a second window as ",
      link(one),
      " or ",
      link(two),
      ", and write to each other.",
    ),
    create,
  );
}

function unknown(channelId) {
  return element(
    "div",
    { class: "welcome", "data-testid": "unknown-channel" },
    element("h2", {}, "You are not in this channel"),
    element(
      "p",
      {},
      "The address names the channel ",
      nameNode(channelId),
      ". It does not exist, or you are not a member of it. ",
      "If a member adds you, it opens here.",
    ),
  );
}

function former(channel, store) {
  return element(
    "div",
    { class: "beginning", "data-testid": "former-channel" },
    titleNode(channel, store),
    element("p", {}, "You are no longer a member of this channel. Its messages are not shown."),
  );
}

function beginning(channel, store) {
  const since = new Date(channel.created_at);
  const opened = Number.isNaN(since.getTime()) ? "" : ` on ${since.toLocaleDateString()}`;
  const words =
    channel.type === "DM"
      ? ["The beginning of your direct messages with ", nameNode(store.nameOf(channel)), "."]
      : ["The beginning of this channel. ", nameNode(channel.created_by), ` created it${opened}.`];
  return element(
    "div",
    { class: "beginning", "data-testid": "history-start" },
    titleNode(channel, store),
    element("p", {}, ...words),
    ...(deliversFirst(channel) ? [element("p", {}, FIRST_WORDS)] : []),
  );
}

function titleNode(channel, store) {
  return element("h2", {}, ...markOf(channel), nameNode(store.nameOf(channel)));
}

function markOf(channel) {
  if (deliversFirst(channel)) return [icon("bolt")];
  return channel.type === "DM" ? [] : ["# "];
}

const FIRST_WORDS =
  "Messages are delivered at once and stored seconds later. The ticks of your own ones say how far " +
  "they have come: press them to see more.";
