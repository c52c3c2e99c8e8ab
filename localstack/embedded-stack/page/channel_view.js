// The open channel: its messages and the box to write one.

import { Composer } from "./composer.js";
import { byId } from "./dom.js";
import { edgeContent, edgeState, renderEdge } from "./edge.js";
import { isChannelCovered } from "./layout.js";
import { MessageRows } from "./message_rows.js";
import { MessageView } from "./view.js";

const PLACE = "channel";

export class ChannelView {
  #store;
  #view;
  #composer;
  #actions;

  /** `actions` are those of the rows and the composer, `createFirst()` and `left()`. */
  constructor(core, picker, actions) {
    const { store, sync } = core;
    this.#store = store;
    this.#actions = { ...actions, loadOlder: (channelId) => sync.loadOlder(channelId) };
    const log = () => store.activeId;
    this.#view = new MessageView(store, this.#actions, picker, {
      log,
      prefix: "",
      rows: new MessageRows(store, actions, picker, PLACE),
      isCovered: isChannelCovered,
      renderAbove: (timeline) => this.#renderAbove(timeline),
    });
    this.#composer = new Composer(core, actions, {
      log,
      prefix: "",
      area: byId("main"),
      label: "Message",
      placeholder: (title) => `Message ${title}`,
      refusal: () => null,
    });
  }

  isReading(log) {
    return this.#view.isReading(log);
  }

  toBottom() {
    this.#view.toBottom();
  }

  show(message) {
    this.#view.show(message);
  }

  focus() {
    this.#composer.focus();
  }

  /** Gives the focus to what leads to a thread, or else to the box for writing. */
  focusThread(root) {
    const row = byId("message-list").querySelector(`[data-message-id="${CSS.escape(root)}"]`);
    const tools = [...(row?.querySelectorAll(".replies, [data-testid=reply]") ?? [])];
    const opener = tools.find((node) => node.checkVisibility());
    if (opener) opener.focus({ preventScroll: true });
    else this.#composer.focus();
  }

  focusMessages() {
    byId("message-scroll").focus({ preventScroll: true });
  }

  render() {
    this.#view.render();
    this.#composer.render();
  }

  #renderAbove(timeline) {
    const { shown, activeId } = this.#store;
    const state = edgeState(this.#store, timeline);
    const title = shown ? this.#store.titleOf(shown) : (activeId ?? "");
    renderEdge(byId("history-edge"), state, title, () =>
      edgeContent(state, this.#store, this.#actions),
    );
  }
}
