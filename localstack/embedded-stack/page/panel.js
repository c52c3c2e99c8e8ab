// The connection panel, the pill in the head and the notice: what the socket is doing, in words.

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

const BACK_NOTICE_MS = 9_000;
const FLASH_NOTICE_MS = 6_000;

export class Panel {
  #store;
  #connection;
  #outbox;
  #backUntil = 0;
  #shownReconnect = null;
  #flash = null;
  #act = null;

  /** `actions` has `kill()`, `setOffline(offline)`, `connectAgain()` and `tryNow()`. */
  constructor(store, connection, outbox, actions) {
    this.#store = store;
    this.#connection = connection;
    this.#outbox = outbox;
    this.actions = actions;
    byId("kill-node").addEventListener("click", () => actions.kill());
    byId("offline-toggle").addEventListener("click", () => {
      actions.setOffline(connection.phase !== "offline");
    });
    byId("notice-action").addEventListener("click", () => this.#act?.());
  }

  /** Shows an error for a few seconds. */
  flash(text) {
    this.#flash = { text, until: Date.now() + FLASH_NOTICE_MS };
    this.render();
  }

  render() {
    const { phase } = this.#connection;
    const words = this.#phaseWords();
    for (const node of [byId("connection-pill"), byId("state-card")])
      setAttribute(node, "data-state", phase);
    setText(byId("pill-text"), words);
    setText(byId("state-text"), words);
    setText(byId("state-since"), `for ${age(Date.now() - this.#connection.phaseSince)}`);
    setAttribute(byId("offline-toggle"), "aria-checked", String(phase === "offline"));
    this.#renderNode(phase);
    this.#renderNumbers();
    this.#renderNotice(phase);
    this.#renderLog();
  }

  #phaseWords() {
    const { phase, retryAt } = this.#connection;
    if (retryAt !== null && (phase === "reconnecting" || phase === "connecting")) {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1_000));
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
    const { resumed, lastTick, cursor } = this.#connection;
    for (const [name, value] of Object.entries(counters))
      setText(byId(`counter-${name}`), String(value));
    const missed = reconnect?.missed ?? 0;
    setText(byId("missed-count"), String(missed));
    setAttribute(byId("missed-tile"), "data-missed", missed > 0);
    setText(byId("reconnect-ms"), duration(reconnect?.tookMs));
    setText(byId("catch-up-ms"), duration(reconnect?.catchUpMs));
    setText(
      byId("resumed"),
      resumed === null ? "–" : resumed ? "true, by cursor" : "false, read by scroll",
    );
    setText(
      byId("last-tick"),
      lastTick ? `${age(Date.now() - lastTick.at)} ago, fresh: ${lastTick.fresh}` : "none yet",
    );
    setAttribute(byId("last-tick"), "data-fresh", lastTick ? String(lastTick.fresh) : null);
    setText(byId("last-send"), lastSend ? sendWords(lastSend) : "–");
    setText(byId("cursor"), cursor ?? "–");
    setAttribute(byId("cursor"), "title", cursor);
  }

  #renderNotice(phase) {
    const notice = this.#notice(phase);
    setHidden(byId("notice"), notice === null);
    if (notice === null) return;
    setAttribute(byId("notice"), "data-tone", notice.tone);
    setText(byId("notice-text"), notice.text);
    setHidden(byId("notice-action"), !notice.verb);
    setText(byId("notice-action"), notice.verb ?? "");
    this.#act = notice.act;
  }

  #notice(phase) {
    const { actions } = this;
    if (this.#flash && Date.now() < this.#flash.until)
      return { tone: "bad", text: this.#flash.text };
    if (phase === "stopped") {
      const text = `Disconnected: ${this.#connection.stopReason}.`;
      return { tone: "bad", text, verb: "Connect again", act: actions.connectAgain };
    }
    if (phase === "offline") {
      const { queued } = this.#outbox;
      const waiting =
        queued > 0 ? ` ${queued} ${queued === 1 ? "message waits" : "messages wait"}.` : "";
      const text = `You are offline. What you write is queued.${waiting}`;
      return { tone: "warn", text, verb: "Go online", act: () => actions.setOffline(false) };
    }
    if (phase === "reconnecting") {
      const waiting = this.#connection.retryAt !== null;
      // Without the countdown: a screen reader would read out every second of it.
      const text = "Reconnecting. What is sent meanwhile is caught up.";
      return { tone: "warn", text, verb: waiting ? "Try now" : undefined, act: actions.tryNow };
    }
    return this.#backNotice(phase);
  }

  /** For a while after a reconnect: what it brought. */
  #backNotice(phase) {
    const { reconnect } = this.#store;
    if (phase !== "live" || !reconnect) return null;
    if (reconnect !== this.#shownReconnect) {
      this.#shownReconnect = reconnect;
      this.#backUntil = Date.now() + BACK_NOTICE_MS;
    }
    if (Date.now() > this.#backUntil) return null;
    const { missed, resumed } = reconnect;
    const how = resumed ? "replayed from the cursor" : "read by scroll";
    const what =
      missed === 0
        ? "nothing was missed"
        : `${missed} missed ${missed === 1 ? "message" : "messages"} ${how}`;
    const node = this.#connection.node ? ` on node ${shortNode(this.#connection.node.id)}` : "";
    return { tone: "good", text: `Back${node}: ${what}.` };
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
    // Newest first: the story that goes on is the one in sight.
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

function sendWords({ storedMs, echoMs }) {
  const parts = [];
  if (storedMs !== null) parts.push(`stored ${duration(storedMs)}`);
  if (echoMs !== null) parts.push(`pushed ${duration(echoMs)}`);
  return parts.join(", ") || "under way";
}
