// The ticks of an own message in a channel that delivers first: a button that says in words how far
// it has come, and opens where it is.

import { element, icon, setAttribute, setHidden } from "./dom.js";

const ICONS = { accepted: "tick", delivered: "ticks", read: "ticks" };

export function ticksButton(open) {
  const archived = element("span", { class: "archived-mark", hidden: "" }, icon("archive"));
  const button = element(
    "button",
    { type: "button", class: "ticks", "data-testid": "ticks", "aria-haspopup": "dialog" },
    archived,
    icon("tick"),
  );
  button.addEventListener("click", open);
  return button;
}

export function updateTicks(button, { tick, archived, words, who }) {
  setAttribute(button, "data-tick", tick);
  setAttribute(button, "data-archived", String(archived));
  setAttribute(button, "title", who === "" ? words : `${words}\n${who}`);
  setAttribute(button, "aria-label", words);
  setHidden(button.querySelector(".archived-mark"), !archived);
  setAttribute(button.lastElementChild.firstElementChild, "href", `#icon-${ICONS[tick]}`);
}
