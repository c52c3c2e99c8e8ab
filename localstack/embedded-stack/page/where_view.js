// The dialog that shows where a message is, live: its way as a row of places, and who of the members
// has it.

import { avatar, byId, element, icon, reconcile, setAttribute, setHidden, setText } from "./dom.js";
import { logOfMessage } from "./logs.js";
import { contractWords, placesOf, STATE_WORDS } from "./where.js";

const ICONS = { sender: "phone", devices: "phones", redis: "redis", archive: "archive" };
const PROGRESS_WORDS = { read: "has read it", delivered: "has it", waiting: "not yet" };

export class WhereView {
  #core;
  #dialog = byId("where-dialog");
  /** The message that is shown, as it was when the dialog opened; null while it is closed. */
  #opened = null;

  constructor(core) {
    this.#core = core;
    this.#dialog.querySelector("[data-cancel]").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      if (!this.#dialog.open) this.#opened = null;
    });
  }

  open(message) {
    this.#opened = message;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.render();
  }

  render() {
    if (this.#opened === null) return;
    const { receipts, store, api } = this.#core;
    const message = this.#newest();
    const { channel_id: channelId, sender_id: sender } = message;
    const { channels, former, remembered } = store;
    const channel = channels.get(channelId) ?? former.get(channelId) ?? remembered.get(channelId);
    const isOwn = sender === store.userId;
    const receipt = isOwn ? receipts.of(message) : null;
    const others = (store.members.get(channelId)?.length ?? Infinity) - 1;
    const about = { isOwn, receipt, others, now: api.clock.now() };
    setText(byId("where-text"), message.message ?? "");
    setText(byId("where-contract"), contractWords(channel));
    const places = placesOf(message, channel, about);
    reconcile(byId("where-places"), places, ({ id }) => id, createPlace, updatePlace);
    this.#renderPeople(receipt?.progress ?? []);
  }

  #renderPeople(progress) {
    const { store } = this.#core;
    setHidden(byId("where-people"), progress.length === 0);
    const create = ({ user }) =>
      element(
        "li",
        { "data-testid": "where-member", "data-user-id": user },
        avatar(user, store.displayName(user)),
        element("bdi", { class: "name", translate: "no" }),
        element("span", { class: "where-progress" }),
      );
    const update = (node, { user, state }) => {
      setAttribute(node, "data-progress", state);
      setText(node.querySelector(".name"), store.displayName(user));
      setText(node.querySelector(".where-progress"), PROGRESS_WORDS[state]);
    };
    reconcile(byId("where-members"), progress, ({ user }) => user, create, update);
  }

  /** The newest copy: it may be another object than the one that was opened. */
  #newest() {
    const { meetings, store } = this.#core;
    const { id, channel_id: channelId } = this.#opened;
    const meeting = meetings.of(channelId);
    const said = meeting?.find(id) ?? meeting?.lines.find(({ key }) => key === id)?.message;
    return said ?? store.find(logOfMessage(this.#opened), id) ?? this.#opened;
  }
}

function createPlace({ id }) {
  return element(
    "li",
    { class: "place", "data-testid": "place", "data-place": id },
    element("span", { class: "place-mark" }, icon(ICONS[id])),
    element(
      "span",
      { class: "place-about" },
      element("b", { class: "place-title" }),
      element("span", { class: "place-state" }),
      element("span", { class: "place-words muted" }),
    ),
  );
}

function updatePlace(node, { title, state, words }) {
  setAttribute(node, "data-state", state);
  setText(node.querySelector(".place-title"), title);
  setText(node.querySelector(".place-state"), STATE_WORDS[state]);
  setText(node.querySelector(".place-words"), words);
}
