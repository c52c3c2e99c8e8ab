// Sidebar and panel: beside the messages if there is room, else drawers over them.

import { byId, setAttribute } from "./dom.js";

const WIDE = matchMedia("(min-width: 1180px)");
const DRAWER_CLOSERS = {
  panel: () => byId("close-panel"),
  sidebar: () => document.querySelector("#sidebar [data-close-drawer]"),
};

export function prepareLayout() {
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

export function isDrawerOpen() {
  return byId("app").dataset.drawer !== "none";
}

function togglePanel() {
  const app = byId("app");
  if (WIDE.matches) app.dataset.panel = app.dataset.panel === "open" ? "closed" : "open";
  else openDrawer(app.dataset.drawer === "panel" ? "none" : "panel");
  showPanelState();
}

function showPanelState() {
  const { panel: pinned, drawer } = byId("app").dataset;
  const open = WIDE.matches ? pinned === "open" : drawer === "panel";
  setAttribute(byId("connection-pill"), "aria-expanded", String(open));
}
