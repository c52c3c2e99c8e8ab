// The notice above the channel: the most important thing to know now.

import { isMeeting } from "./contracts.js";
import { byId, setAttribute, setHidden, setText } from "./dom.js";
import { missedMessages } from "./recovery.js";
import { shortNode } from "./socket.js";
import { counted } from "./text.js";

const BACK_MS = 9_000;
const FLASH_MS = 6_000;

export class Notice {
  #state;
  #actions;
  #backUntil = 0;
  #shownReconnect = null;
  #flash = null;
  #isBlockedSeen = false;
  #act = null;

  /**
   * `state` has `store`, `connection`, `deliveries`, `outbox` and `storages`; `actions` has
   * `setOffline(offline)`, `connectAgain()` and `retryNow()`.
   */
  constructor(state, actions) {
    this.#state = state;
    this.#actions = actions;
    byId("notice-action").addEventListener("click", () => this.#act?.());
  }

  /** Shows a sentence for a few seconds. */
  flash(text, tone = "bad") {
    this.#flash = { text, tone, until: performance.now() + FLASH_MS };
    this.render();
  }

  render() {
    const notice = this.#notice();
    setHidden(byId("notice"), notice === null);
    this.#act = notice?.act ?? null;
    if (notice === null) return;
    setAttribute(byId("notice"), "data-tone", notice.tone);
    setText(byId("notice-text"), notice.text);
    setHidden(byId("notice-action"), !notice.verb);
    setText(byId("notice-action"), notice.verb ?? "");
  }

  #notice() {
    if (this.#flash && performance.now() < this.#flash.until) return this.#flash;
    return this.#connectionNotice() ?? this.#storageNotice() ?? this.#backNotice();
  }

  #connectionNotice() {
    const { connection, deliveries, outbox, store } = this.#state;
    const { phase } = connection;
    const { retryNow, connectAgain, setOffline } = this.#actions;
    if (phase === "stopped") {
      const text = `Disconnected: ${connection.stopReason}.`;
      return { tone: "bad", text, verb: "Connect again", act: connectAgain };
    }
    if (phase === "offline") {
      const queued = outbox.queued + deliveries.queued;
      const waiting = queued > 0 ? ` ${counted(queued, "message waits", "messages wait")}.` : "";
      const what = isMeeting(store.active)
        ? "You are not in the meeting, and miss what is said."
        : "What you write is queued.";
      const text = `You are offline. ${what}${waiting}`;
      return { tone: "warn", text, verb: "Go online", act: () => setOffline(false) };
    }
    // Without the countdown: a screen reader would read out every second of it.
    if (phase === "reconnecting") {
      const text = isMeeting(store.active)
        ? "Disconnected. Reconnecting; you miss what is said meanwhile."
        : "Disconnected. Reconnecting; what you miss meanwhile is read afterwards.";
      return { tone: "warn", text, verb: "Retry now", act: retryNow };
    }
    if (phase === "connecting" && connection.retryAt !== null) {
      const text = "The server does not answer. Trying again.";
      return { tone: "warn", text, verb: "Retry now", act: retryNow };
    }
    if (phase === "catching_up" && store.reconnect?.isAsked) {
      const text = "The node could not deliver everything. Reading what may be missing.";
      return { tone: "warn", text };
    }
    return null;
  }

  #storageNotice() {
    const { deliveries, storages, store, outbox } = this.#state;
    if (storages.session.isBlocked || storages.local.isBlocked) {
      if (this.#isBlockedSeen) return null;
      const text =
        "This browser blocks site data. The page works, but forgets drafts, queued messages and " +
        "what you have read when it is closed or loaded anew.";
      return { tone: "warn", text, verb: "OK", act: () => this.#blockedSeen() };
    }
    const isKept = (queue) => queue.isStored || queue.unsent === 0;
    if (isKept(outbox) && isKept(deliveries) && store.drafts.isStored) return null;
    const text =
      "This browser's storage is full. What you have written and not sent is in this tab only: " +
      "keep it open, or copy the text.";
    return { tone: "bad", text };
  }

  #blockedSeen() {
    this.#isBlockedSeen = true;
    this.render();
  }

  /** For a while after a reconnect: what it brought. */
  #backNotice() {
    const { store, connection } = this.#state;
    const { reconnect } = store;
    if (connection.phase !== "live" || !reconnect) return null;
    if (reconnect !== this.#shownReconnect) {
      this.#shownReconnect = reconnect;
      this.#backUntil = performance.now() + BACK_MS;
    }
    if (performance.now() > this.#backUntil) return null;
    const { missed, resumed, isAsked } = reconnect;
    const how = resumed ? "replayed from the cursor" : "read from the history";
    const node = connection.node ? ` on node ${shortNode(connection.node.id)}` : "";
    // The meeting says what was missed there.
    if (missed === 0 && isMeeting(store.active)) return { tone: "good", text: `Back${node}.` };
    const what = missed === 0 ? "nothing was missed" : `${missedMessages(missed)} ${how}`;
    return { tone: "good", text: `${isAsked ? "Checked" : `Back${node}`}: ${what}.` };
  }
}
