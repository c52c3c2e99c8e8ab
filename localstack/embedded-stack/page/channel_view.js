// The open channel: its messages and the box to write one.

import { Composer } from "./composer.js";
import { isMeeting } from "./contracts.js";
import { byId } from "./dom.js";
import { edgeContent, edgeState, renderEdge } from "./edge.js";
import { isChannelCovered } from "./layout.js";
import { meetingEdge, meetingEdgeState, meetingOver, meetingRows } from "./meeting_view.js";
import { MessageRows } from "./message_rows.js";
import { MessageView } from "./view.js";

const PLACE = "channel";

export class ChannelView {
  #store;
  #view;
  #composer;
  #actions;
  #meetings;
  #connection;

  /** `actions` are those of the rows and the composer, `createFirst()` and `left()`. */
  constructor(core, picker, actions) {
    const { store, sync, meetings, connection } = core;
    this.#store = store;
    this.#meetings = meetings;
    this.#connection = connection;
    this.#actions = { ...actions, loadOlder: (channelId) => sync.loadOlder(channelId) };
    const log = () => store.activeId;
    this.#view = new MessageView(store, this.#actions, picker, {
      log,
      prefix: "",
      rows: new MessageRows(store, actions, picker, PLACE),
      isCovered: isChannelCovered,
      renderAbove: (timeline) => this.#renderAbove(timeline),
      rowsOf: (id) => this.#rowsOf(id),
    });
    this.#composer = new Composer(core, actions, {
      log,
      prefix: "",
      area: byId("main"),
      label: "Message",
      placeholder: (title) => `Message ${title}`,
      refusal: () => this.#refusal(),
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

  /** Nothing of a meeting is in a timeline. */
  #rowsOf(channelId) {
    if (!this.#store.isInMeeting(channelId)) return undefined;
    const meeting = this.#meetings.of(channelId);
    return meeting === null ? [] : meetingRows(meeting);
  }

  #refusal() {
    if (!isMeeting(this.#store.active) || this.#knowsMeetings) return null;
    return "This server does not take part in meetings.";
  }

  /** Whether the node has meetings; without a node, it may. */
  get #knowsMeetings() {
    return !this.#connection.isAttached || this.#connection.accepts("join");
  }

  #renderMeetingEdge(channel) {
    const meeting = this.#meetings.of(channel.channel_id);
    const state = meeting && meetingEdgeState(meeting, this.#knowsMeetings);
    const joinAgain = () => this.#meetings.joinAgain(channel.channel_id);
    renderEdge(byId("history-edge"), state ?? "meeting over", channel.name, () =>
      meeting ? meetingEdge(state, channel, meeting, joinAgain) : meetingOver(channel),
    );
  }

  #renderAbove(timeline) {
    const { shown, activeId } = this.#store;
    if (isMeeting(shown)) return this.#renderMeetingEdge(shown);
    const state = edgeState(this.#store, timeline);
    const title = shown ? this.#store.titleOf(shown) : (activeId ?? "");
    renderEdge(byId("history-edge"), state, title, () =>
      edgeContent(state, this.#store, this.#actions),
    );
  }
}
