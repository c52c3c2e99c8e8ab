// The connection panel, and the pill in the head: the state of the socket in words.

import {
  age,
  byId,
  duration,
  element,
  hueOf,
  reconcile,
  setAttribute,
  setHidden,
  setText,
} from "./dom.js";
import { shortNode } from "./socket.js";

export class Panel {
  #store;
  #connection;

  /** `actions` has `kill()` and `setOffline(offline)`. */
  constructor(store, connection, actions) {
    this.#store = store;
    this.#connection = connection;
    byId("kill-node").addEventListener("click", () => actions.kill());
    byId("offline-toggle").addEventListener("click", () => {
      actions.setOffline(connection.phase !== "offline");
    });
  }

  render() {
    const { phase } = this.#connection;
    const words = this.#phaseWords();
    for (const node of [byId("connection-pill"), byId("state-card")])
      setAttribute(node, "data-state", phase);
    setText(byId("pill-text"), words);
    setText(byId("state-text"), words);
    setText(byId("state-since"), `for ${age(performance.now() - this.#connection.phaseSince)}`);
    setAttribute(byId("offline-toggle"), "aria-checked", String(phase === "offline"));
    this.#renderNode(phase);
    this.#renderNumbers();
    this.#renderLog();
  }

  #phaseWords() {
    const { phase, retryAt } = this.#connection;
    if (retryAt !== null && (phase === "reconnecting" || phase === "connecting")) {
      const seconds = Math.max(0, Math.ceil((retryAt - performance.now()) / 1_000));
      if (seconds > 0) return `${PHASE_WORDS[phase]} in ${seconds} s`;
    }
    return PHASE_WORDS[phase];
  }

  #renderNode(phase) {
    const { node, alternates } = this.#connection;
    const attached = phase === "live" || phase === "catching_up";
    setText(byId("node-id"), node?.id ?? "none");
    setText(byId("node-url"), node?.url ?? "");
    setText(byId("pill-node"), node ? shortNode(node.id) : "");
    setAttribute(
      byId("node-mark"),
      "class",
      node ? `node-mark ${hueOf(node.id)}` : "node-mark standby",
    );
    setHidden(byId("alternate-row"), alternates.length === 0);
    setText(byId("alternates"), alternates.map((other) => other.node_id).join(", ") || "none");
    const button = byId("kill-node");
    if (button.disabled !== !attached) button.disabled = !attached;
  }

  #renderNumbers() {
    const { counters, reconnect, lastSend } = this.#store;
    const { resumed, lastTick, lastPong, cursor } = this.#connection;
    for (const [name, value] of Object.entries(counters))
      setText(byId(`counter-${name}`), String(value));
    const missed = reconnect?.missed ?? 0;
    setText(byId("missed-count"), String(missed));
    setAttribute(byId("missed-tile"), "data-missed", missed > 0);
    setText(byId("reconnect-ms"), duration(reconnect?.tookMs));
    setText(byId("catch-up-ms"), duration(reconnect?.catchUpMs));
    setText(
      byId("resumed"),
      resumed === null ? "–" : resumed ? "true, by cursor" : "false, read from the history",
    );
    setText(
      byId("last-tick"),
      lastTick
        ? `${age(performance.now() - lastTick.at)} ago, fresh: ${lastTick.fresh}`
        : "none yet",
    );
    setAttribute(byId("last-tick"), "data-fresh", lastTick ? String(lastTick.fresh) : null);
    setText(byId("last-pong"), lastPong ? pongWords(lastPong) : "none yet");
    setText(byId("last-send"), lastSend ? sendWords(lastSend) : "–");
    setText(byId("cursor"), cursor ?? "–");
    setAttribute(byId("cursor"), "title", cursor);
  }

  #renderLog() {
    const list = byId("event-log");
    const create = (entry) => {
      const time = element("time", { datetime: new Date(entry.at).toISOString() });
      time.textContent = new Date(entry.at).toLocaleTimeString([], { hour12: false });
      return element("li", { "data-testid": "event" }, time, element("span"));
    };
    const update = (node, entry) => {
      setAttribute(node, "data-tone", entry.tone);
      setText(node.lastElementChild, entry.steps.join(" → "));
    };
    // Newest first, so the entry that still grows is in sight.
    reconcile(list, this.#store.log.entries.toReversed(), (entry) => entry.key, create, update);
  }
}

const PHASE_WORDS = {
  connecting: "Connecting",
  catching_up: "Catching up",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
  stopped: "Disconnected",
};

function pongWords({ at, tookMs }) {
  return `answered in ${duration(tookMs)}, ${age(performance.now() - at)} ago`;
}

function sendWords({ acceptedMs, storedMs, echoMs }) {
  const parts = [];
  if (acceptedMs !== undefined) parts.push(`accepted ${duration(acceptedMs)}`);
  if (storedMs !== null) parts.push(`stored ${duration(storedMs)}`);
  if (echoMs !== null) parts.push(`pushed ${duration(echoMs)}`);
  return parts.join(", ") || "under way";
}
