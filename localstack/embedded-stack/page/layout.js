// Sidebar, panel and thread: beside the messages if there is room, else over them. The right side
// has room for one: an open thread takes the panel's place.

import { byId, setAttribute } from "./dom.js";

const WIDE = matchMedia("(min-width: 1180px)");
/** Where a thread takes the place of its channel. */
const NARROW = matchMedia("(max-width: 999.98px)");
const DRAWER_CLOSERS = {
  panel: () => byId("close-panel"),
  sidebar: () => document.querySelector("#sidebar [data-close-drawer]"),
};

let closeThread = () => {};

/** `close()` closes the open thread. */
export function prepareLayout(close) {
  closeThread = close;
  byId("open-sidebar").addEventListener("click", () => openDrawer("sidebar"));
  byId("connection-pill").addEventListener("click", togglePanel);
  byId("close-panel").addEventListener("click", togglePanel);
  for (const closer of document.querySelectorAll("[data-close-drawer]")) {
    closer.addEventListener("click", () => openDrawer("none"));
  }
  WIDE.addEventListener("change", () => openDrawer("none"));
  openDrawer("none");
}

/** At most one drawer is open. */
export function openDrawer(drawer) {
  const app = byId("app");
  const before = app.dataset.drawer;
  app.dataset.drawer = drawer;
  showPanelState();
  // The focus goes into the drawer and back to what opened it.
  if (drawer !== "none") DRAWER_CLOSERS[drawer]().focus();
  else if (before !== "none") byId(before === "panel" ? "connection-pill" : "open-sidebar").focus();
}

/** Opens the sidebar where it is a drawer: there a button leads to it. */
export function showSidebar() {
  if (byId("open-sidebar").checkVisibility()) openDrawer("sidebar");
}

export function isDrawerOpen() {
  return byId("app").dataset.drawer !== "none";
}

/** Makes room for a thread, or gives it back. */
export function setThreadOpen(isOpen) {
  const app = byId("app");
  if ((app.dataset.thread === "open") === isOpen) return;
  app.dataset.thread = isOpen ? "open" : "closed";
  showPanelState();
}

/** Whether the open thread hides its channel. */
export function isChannelCovered() {
  return NARROW.matches && byId("app").dataset.thread === "open";
}

function togglePanel() {
  const app = byId("app");
  if (WIDE.matches && app.dataset.thread === "open") {
    app.dataset.panel = "open";
    closeThread();
  } else if (WIDE.matches) app.dataset.panel = app.dataset.panel === "open" ? "closed" : "open";
  else openDrawer(app.dataset.drawer === "panel" ? "none" : "panel");
  showPanelState();
}

function showPanelState() {
  const { panel: pinned, drawer, thread } = byId("app").dataset;
  const isBeside = pinned === "open" && thread !== "open";
  const open = WIDE.matches ? isBeside : drawer === "panel";
  setAttribute(byId("connection-pill"), "aria-expanded", String(open));
}
