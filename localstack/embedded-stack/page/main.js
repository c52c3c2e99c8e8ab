// Wiring: builds the parts, hands them to each other, and draws when something changed.

import { Api } from "./api.js";
import { byId, setAttribute } from "./dom.js";
import { Outbox } from "./outbox.js";
import { Panel } from "./panel.js";
import { prepareConfirm, prepareDialogs, problemText, Sidebar } from "./sidebar.js";
import { Connection } from "./socket.js";
import { PEOPLE, Store } from "./store.js";
import { Sync } from "./sync.js";
import { Composer, MessageView } from "./view.js";

const ID = /^[A-Za-z0-9_-]{1,64}$/;
const WIDE = matchMedia("(min-width: 1180px)");
/** If no node can be reached, REST alone still delivers what was typed. */
const RELEASE_ANYWAY_MS = 5_000;
const DRAWER_CLOSERS = {
  panel: () => byId("close-panel"),
  sidebar: () => document.querySelector("#sidebar [data-close-drawer]"),
};

const query = new URLSearchParams(location.search);
const workspaceId = named(query.get("workspace"), "demo");
const userId = named(query.get("as"), PEOPLE[0]);

const api = new Api(workspaceId, userId);
const store = new Store(workspaceId, userId);
const sync = new Sync(api, store, {
  listRead: releaseOutbox,
  channelRead: (channelId) => outbox.channelRead(channelId),
});
const outbox = new Outbox(api, store, (channelId) => sync.isBehind(channelId));
const connection = new Connection(api, store.log, {
  ready: (frame, session) => sync.onReady(frame, session),
  frame: (frame, session) => sync.onFrame(frame, session),
  changed: onConnectionChange,
});
sync.attach(connection);

const view = new MessageView(store, {
  loadOlder: (channelId) => sync.loadOlder(channelId),
  retry: (id) => outbox.retry(id),
  discard: (id) => outbox.discard(id),
  createFirst: () => {
    const members = PEOPLE.filter((person) => person !== userId);
    attempt(() => createChannel({ type: "GROUP_CHANNEL", name: "general", members }));
  },
});
const composer = new Composer(store, (channelId, text) => {
  outbox.submit(channelId, text);
  view.toBottom();
});
const confirm = prepareConfirm();
const sidebar = new Sidebar(store, {
  removeMember: (channelId, member) => {
    confirm(
      `Remove ${member}?`,
      "They keep no access to the history of this channel.",
      "Remove",
      () => changeMembers(() => api.removeMember(channelId, member)),
    );
  },
  leave: ({ channel_id: channelId, name }) => {
    confirm(`Leave # ${name}?`, "A member has to add you to come back.", "Leave", () =>
      changeMembers(() => api.removeMember(channelId, userId)),
    );
  },
});
const panel = new Panel(store, connection, outbox, {
  kill: () => attempt(killNode),
  setOffline,
  connectAgain: () => connection.restart(),
  tryNow: () => connection.skipWait(),
});
prepareDialogs(store, {
  createChannel,
  addMember: (channelId, member) => changeMembers(() => api.addMember(channelId, member)),
});

let drawDue = false;
let restored = false;
let phaseBefore = null;
store.onChange(draw);
start();

function start() {
  setInterval(draw, 1_000);
  addEventListener("hashchange", openFromHash);
  addEventListener("online", () => connection.skipWait());
  byId("open-sidebar").addEventListener("click", () => openDrawer("sidebar"));
  byId("connection-pill").addEventListener("click", togglePanel);
  byId("close-panel").addEventListener("click", togglePanel);
  for (const closer of document.querySelectorAll("[data-close-drawer]")) {
    closer.addEventListener("click", () => openDrawer("none"));
  }
  WIDE.addEventListener("change", () => openDrawer("none"));
  addEventListener("keydown", onKey);
  openDrawer("none");
  draw();
  connection.start();
}

/** One drawing for all changes of a moment; the timer serves tabs that get no frames. */
function draw() {
  if (drawDue) return;
  drawDue = true;
  const once = () => {
    if (!drawDue) return;
    drawDue = false;
    openSomething();
    sidebar.render();
    view.render();
    composer.render();
    panel.render();
  };
  requestAnimationFrame(once);
  setTimeout(once, 50);
}

function onConnectionChange() {
  const { phase } = connection;
  if (phase !== phaseBefore) {
    phaseBefore = phase;
    if (phase === "live") releaseOutbox();
    // Nothing is caught up without a socket: what waited for that goes by REST.
    else if (phase === "reconnecting") outbox.pumpAll();
  }
  draw();
}

/** The channels are known: what was typed may go, in each channel as soon as that has caught up. */
function releaseOutbox() {
  if (!restored) outbox.restore();
  restored = true;
  outbox.release();
}

/** The open channel is the one of the address; without one, or when it is gone, the first. */
function openSomething() {
  if (!store.channelsKnown || store.channels.has(store.activeId)) return;
  const wanted = location.hash.slice(1);
  if (store.channels.size === 0 && store.activeId === null) return;
  const first = store.sortedChannels("GROUP_CHANNEL")[0] ?? store.sortedChannels("DM")[0];
  open(store.channels.has(wanted) ? wanted : (first?.channel_id ?? null));
}

function openFromHash() {
  const wanted = location.hash.slice(1);
  if (!store.channels.has(wanted)) return;
  open(wanted);
  openDrawer("none");
  composer.focus();
}

function open(channelId) {
  store.activeId = channelId;
  const address = channelId === null ? "" : `#${channelId}`;
  if (location.hash !== address)
    history.replaceState(null, "", `${location.pathname}${location.search}${address}`);
  if (channelId !== null && !store.members.has(channelId)) sync.loadMembers(channelId);
  draw();
}

async function createChannel(body) {
  const channel = await api.createChannel(body);
  await sync.refreshChannels();
  if (store.channels.has(channel.channel_id)) open(channel.channel_id);
  openDrawer("none");
}

async function changeMembers(change) {
  const channelId = store.activeId;
  await change();
  await sync.refreshChannels();
  if (store.channels.has(channelId)) await sync.loadMembers(channelId);
}

async function killNode() {
  const { node } = connection;
  if (!node) return;
  await api.killNode(node.id);
}

function setOffline(offline) {
  api.setOffline(offline);
  if (offline) {
    outbox.hold();
    connection.goOffline();
    return;
  }
  connection.goOnline();
  setTimeout(() => {
    if (!api.offline) outbox.release();
  }, RELEASE_ANYWAY_MS);
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    panel.flash(problemText(error));
  }
}

function togglePanel() {
  const app = byId("app");
  if (WIDE.matches) app.dataset.panel = app.dataset.panel === "open" ? "closed" : "open";
  else openDrawer(app.dataset.drawer === "panel" ? "none" : "panel");
  showPanelState();
}

/** On narrow screens the sides are drawers over the messages; at most one is open. */
function openDrawer(drawer) {
  const app = byId("app");
  const before = app.dataset.drawer;
  app.dataset.drawer = drawer;
  showPanelState();
  // The focus goes into the drawer and back to what opened it.
  if (drawer !== "none") DRAWER_CLOSERS[drawer]().focus();
  else if (before !== "none") byId(before === "panel" ? "connection-pill" : "open-sidebar").focus();
}

function showPanelState() {
  const { panel: pinned, drawer } = byId("app").dataset;
  const open = WIDE.matches ? pinned === "open" : drawer === "panel";
  setAttribute(byId("connection-pill"), "aria-expanded", String(open));
}

function onKey(event) {
  if (event.key === "Escape" && byId("app").dataset.drawer !== "none") return openDrawer("none");
  if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
  const all = [...store.sortedChannels("GROUP_CHANNEL"), ...store.sortedChannels("DM")];
  if (all.length === 0) return;
  const at = all.findIndex(({ channel_id: id }) => id === store.activeId);
  const next = (at + (event.key === "ArrowDown" ? 1 : -1) + all.length) % all.length;
  event.preventDefault();
  open(all[next].channel_id);
}

function named(value, otherwise) {
  return value !== null && ID.test(value) ? value : otherwise;
}
