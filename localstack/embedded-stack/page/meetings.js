// The meetings of this tab: takes part in them, keeps what is said, and sends what the user says.
//
// Main path: `open` joins a meeting, and every new socket joins it again from where it was heard;
// `submit` sends a frame and shows the message as on its way until the node answers. A tab takes
// part in the meetings that were opened in it, until they are closed or the page goes. Invariants:
// nothing of a meeting is written to storage; a retry has the id of the first attempt, so that it is
// shown once. Not here: the document.

import { isMeeting } from "./contracts.js";
import { mintAbove, timeOf } from "./ids.js";
import { Meeting } from "./meeting.js";
import { spread } from "./pace.js";
import { isolate } from "./text.js";

/** A node lets a socket join 20 channels. */
const JOINED_MAX = 16;
const JOIN_AGAIN_MS = 2_000;

export class Meetings {
  /** Is told of each meeting that closed, in words; set by the page. */
  closed = () => {};
  #store;
  #connection;
  #clock;
  #handler;
  /** By channel, the one that was opened last at the end. */
  #meetings = new Map();
  /** Own messages that the node has not answered, by `ref`. */
  #asked = new Map();
  #lastId;
  #timer = null;

  /**
   * `handler` has `arrived(message)` for a message that is new, `ended(channelId)`, and
   * `mayBeOver()`: only the list of channels knows.
   */
  constructor(store, connection, clock, handler) {
    this.#store = store;
    this.#connection = connection;
    this.#clock = clock;
    this.#handler = handler;
    store.listings.add(this);
  }

  /** The meeting of a channel that was opened in this tab; null for any other. */
  of(channelId) {
    return this.#meetings.get(channelId) ?? null;
  }

  /** Takes part in a channel's meeting from now on. Does nothing if it already does. */
  open(channel) {
    if (!isMeeting(channel) || channel.channel_id === [...this.#meetings.keys()].at(-1)) return;
    const { channel_id: id } = channel;
    const meeting = this.#meetings.get(id) ?? new Meeting();
    const isNew = !this.#meetings.has(id);
    this.#meetings.delete(id);
    this.#meetings.set(id, meeting);
    if (this.#meetings.size > JOINED_MAX) this.#leave(this.#meetings.keys().next().value);
    if (isNew) this.#join(id);
  }

  /** A new socket: its node knows nothing of what was joined. */
  attached({ signal }) {
    signal.addEventListener("abort", () => this.#detached());
    for (const id of this.#meetings.keys()) this.#join(id);
  }

  /** The page goes. It may come back as it was. */
  pageGoes() {
    for (const [id, meeting] of this.#meetings) {
      this.#connection.send({ type: "leave", channel_id: id });
      meeting.state = "waiting";
    }
  }

  pageIsBack() {
    for (const [id, meeting] of this.#meetings) if (meeting.state === "waiting") this.#join(id);
  }

  /** Joins again after a refusal: a person asked. */
  joinAgain(channelId) {
    if (this.of(channelId)?.state === "refused") this.#join(channelId);
  }

  /** Sends a text and shows it as on its way. */
  submit(channelId, text) {
    this.open(this.#store.channels.get(channelId));
    const id = mintAbove(this.#clock.now(), this.#lastId);
    this.#lastId = id;
    const message = {
      id,
      channel_id: channelId,
      sender_id: this.#store.userId,
      message: text,
      created_at: new Date(timeOf(id)).toISOString(),
    };
    this.of(channelId).unsent.push(message);
    this.#send(message);
  }

  /** Sends a message again, under its id. False if it is none of a meeting. */
  retry(id) {
    const message = this.#unsent(id);
    if (message?.delivery === "failed") this.#send(message);
    return message !== undefined;
  }

  /** False if it is none of a meeting. */
  discard(id) {
    const message = this.#unsent(id);
    if (message !== undefined) this.of(message.channel_id).discard(id);
    this.#store.changed();
    return message !== undefined;
  }

  /** Whether closing this tab would lose what the user wrote. */
  get hasUnsent() {
    return [...this.#meetings.values()].some(({ unsent }) => unsent.length > 0);
  }

  /** Whether the frame is for meetings. */
  onFrame(frame) {
    if (frame.type === "joined") this.#onJoined(frame);
    else if (frame.type === "said") this.#onSaid(frame);
    else if (frame.type === "accepted") this.#onAccepted(frame);
    else if (frame.type === "refused") this.#onRefused(frame);
    else if (frame.type === "ended") this.ended(frame.channel_id);
    else return false;
    this.#store.changed();
    return true;
  }

  /** The meeting is over, for everybody. */
  ended(channelId) {
    const channel = this.#store.channels.get(channelId);
    this.#meetings.delete(channelId);
    this.#handler.ended(channelId);
    if (channel) this.closed(`The meeting ${this.#titleOf(channel)} has ended.`);
  }

  /** The user left the channel. */
  close(channelId) {
    if (this.#meetings.has(channelId)) this.#leave(channelId);
  }

  /** The list of channels was read: it has the open one, and no longer has some meetings. */
  listRead() {
    this.open(this.#store.active);
    for (const id of [...this.#meetings.keys()]) {
      if (this.#store.channels.has(id)) continue;
      const title = this.#titleOf(this.#store.former.get(id));
      this.#leave(id);
      this.closed(`The meeting ${title} has ended, or you are no longer in it.`);
    }
  }

  /** As a listing: who is named here. It takes no copies of stored messages. */
  get messages() {
    const said = [...this.#meetings.values()].flatMap(({ lines }) => lines);
    return said.flatMap(({ message }) => (message === undefined ? [] : [message]));
  }

  take() {}

  #titleOf(channel) {
    return isolate(this.#store.titleOf(channel));
  }

  #leave(channelId) {
    this.#connection.send({ type: "leave", channel_id: channelId });
    this.#meetings.delete(channelId);
  }

  /** Without a socket, or with a node that knows no meetings, the next socket joins. */
  #join(channelId) {
    const meeting = this.#meetings.get(channelId);
    const { after } = meeting;
    const frame = { type: "join", channel_id: channelId, ...(after ? { after } : {}) };
    meeting.state = this.#connection.send(frame) ? "joining" : "waiting";
    this.#store.changed();
  }

  #detached() {
    clearTimeout(this.#timer);
    for (const meeting of this.#meetings.values()) meeting.state = "waiting";
    for (const message of this.#asked.values()) fail(message, UNANSWERED);
    this.#asked.clear();
    this.#store.changed();
  }

  #send(message) {
    const { id, channel_id, message: text } = message;
    const ref = this.#connection.nextRef();
    const frame = { type: "send", ref, channel_id, id, message: text };
    if (this.#connection.send(frame)) {
      Object.assign(message, { delivery: "sending", reason: null });
      this.#asked.set(ref, message);
    } else fail(message, UNCONNECTED);
    this.#store.changed();
  }

  #unsent(id) {
    return [...this.#meetings.values()].map((meeting) => meeting.find(id)).find(Boolean);
  }

  #onJoined({ channel_id: id, at, missed }) {
    this.of(id)?.joined(at, missed);
  }

  #onSaid({ channel_id: id, n, message }) {
    if (this.of(id)?.said(n, message)) this.#handler.arrived(message);
  }

  #onAccepted({ ref, id, n }) {
    const message = this.#asked.get(ref);
    this.#asked.delete(ref);
    if (message) this.of(message.channel_id)?.accepted(id, n);
  }

  #onRefused(frame) {
    const message = this.#asked.get(frame.ref);
    this.#asked.delete(frame.ref);
    const channelId = message?.channel_id ?? frame.channel_id;
    if (this.of(channelId) === null) return;
    if (frame.code === "ended") return this.ended(channelId);
    const isUnknown = frame.code === "channel_not_found";
    if (isUnknown) this.#handler.mayBeOver();
    if (message) return fail(message, refusalWords(frame));
    Object.assign(this.of(channelId), { state: "refused", refusal: refusalWords(frame) });
    // The node may not know yet that the user is a member.
    if (frame.retryable || isUnknown) this.#joinLater(frame.retry_after_ms ?? JOIN_AGAIN_MS);
  }

  #joinLater(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      for (const id of this.#meetings.keys()) this.joinAgain(id);
    }, ms + spread(ms));
  }
}

const UNCONNECTED = "there is no connection";
const UNANSWERED = "the connection ended before the answer";

function fail(message, reason) {
  Object.assign(message, { delivery: "failed", reason });
}

/** Why the node refused, in plain English. */
export function refusalWords({ code, retry_after_ms: waitMs }) {
  switch (code) {
    case "rate_limited":
      if (!(waitMs > 0)) return "too many at once: wait a moment";
      return `too many at once: wait ${Math.ceil(waitMs / 1_000)} s`;
    case "message_too_long":
    case "too_large":
      return "the text is too long";
    case "empty_message":
      return "the text is empty";
    case "unavailable":
      return "the server cannot pass it on now: try again in a moment";
    case "id_out_of_range":
    case "invalid_id":
      return "it is too old: copy the text and send it anew";
    case "channel_not_found":
    case "ended":
      return "the meeting is over, or you are no longer in it";
    case "wrong_contract":
      return "this channel is no meeting";
    default:
      return code.replaceAll("_", " ");
  }
}
