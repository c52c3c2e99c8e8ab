// Local state: channels, their messages upserted by id, members, read marks, drafts.
//
// Invariants: a message id is in a timeline at most once, whichever way and however often it came;
// text that is not stored stays, also when its channel is gone. Nothing here knows the network or
// the document.

import { Drafts } from "./drafts.js";
import { EventLog } from "./log.js";
import { ReadMarks } from "./marks.js";
import { isMentioned } from "./mentions.js";
import { withMine } from "./reactions.js";
import { Timeline } from "./timeline.js";

/** The people of the demo workspace. Any other user id works too. */
export const PEOPLE = ["alice", "bob", "carol"];

export class Store {
  channels = new Map();
  /** Channels that the person was a member of and may have unsent text for. */
  former = new Map();
  channelsKnown = false;
  members = new Map();
  /** The newest copy of each profile, by user. */
  profiles = new Map();
  activeId = null;
  counters = { pushed: 0, duplicates: 0, replayed: 0, scrolled: 0 };
  /** The latest reconnect: null before the first. */
  reconnect = null;
  /** How long the latest own message took to be stored, and to arrive on the socket. */
  lastSend = null;
  log = new EventLog(() => this.changed());
  /** The open lists of messages: they take every copy that arrives (listing.js). */
  listings = new Set();
  /** Whether the person is looking at the newest messages of a channel; set by the view. */
  isReading = () => false;
  /** Is told of each channel whose mark moved here; set by read_state.js. */
  onRead = () => {};
  #listeners = [];
  #timelines = new Map();
  #marks;
  /** Who the other member of a DM is or was, by channel. */
  #partners = new Map();

  /** `storages` has `local` (all tabs) and `session` (this tab). */
  constructor(workspaceId, userId, storages) {
    this.workspaceId = workspaceId;
    this.userId = userId;
    this.drafts = new Drafts(storages.session, workspaceId, userId);
    this.#marks = new ReadMarks(storages.local, workspaceId, userId);
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  changed() {
    for (const listener of this.#listeners) listener();
  }

  timeline(channelId) {
    let timeline = this.#timelines.get(channelId);
    if (!timeline) {
      timeline = new Timeline();
      this.#timelines.set(channelId, timeline);
    }
    return timeline;
  }

  /** The open channel, if the person is a member of it. */
  get active() {
    return this.channels.get(this.activeId) ?? null;
  }

  /** The open channel, even if the person is no longer a member; null if it is unknown. */
  get shown() {
    return this.active ?? this.former.get(this.activeId) ?? null;
  }

  /**
   * Replaces the list by the server's; returns the channels that appeared and those that are gone.
   */
  setChannels(list) {
    const before = this.channels;
    const newest = (channel) => withNewerDetails(channel, before.get(channel.channel_id));
    this.channels = new Map(list.map((channel) => [channel.channel_id, newest(channel)]));
    this.channelsKnown = true;
    const appeared = list.filter((channel) => !before.has(channel.channel_id));
    const gone = [...before.values()].filter(({ channel_id: id }) => !this.channels.has(id));
    for (const channel of gone) {
      this.rememberFormer(channel.channel_id, this.labelOf(channel));
      this.timeline(channel.channel_id).forget();
      this.members.delete(channel.channel_id);
    }
    for (const { channel_id: id } of appeared) this.former.delete(id);
    for (const [id, label] of this.drafts.channels()) this.rememberFormer(id, label);
    this.changed();
    return { appeared, gone };
  }

  /**
   * Takes name, topic and `archived` from a frame, if they are newer than those here. False if the
   * frame has none, or the channel is unknown.
   */
  setDetails(frame) {
    const channel = this.channels.get(frame.channel_id);
    if (!channel || !Number.isFinite(frame.details_version)) return false;
    this.channels.set(frame.channel_id, withNewerDetails(channel, frame));
    this.changed();
    return true;
  }

  /** Copies may come in any order: the greatest revision wins. */
  setProfiles(profiles) {
    for (const profile of profiles) {
      const here = this.profiles.get(profile.user_id);
      if (here === undefined || profile.rev > here.rev) this.profiles.set(profile.user_id, profile);
    }
    this.changed();
  }

  /** What people call a user: the name of the profile, or the id. */
  displayName(userId) {
    return this.profiles.get(userId)?.name || userId;
  }

  /** Keeps the name of a channel, unless the person is a member of it. */
  rememberFormer(channelId, label) {
    if (this.channels.has(channelId) || this.former.has(channelId)) return;
    this.former.set(channelId, { channel_id: channelId, ...label });
  }

  /** The name and type of a channel, for when it is gone. */
  labelOf(channel) {
    return { name: this.nameOf(channel), type: channel.type };
  }

  /** Former channels with unsent text. */
  formerWithText() {
    const hasText = ({ channel_id: id }) =>
      this.drafts.get(id) !== "" || this.timeline(id).unsent().length > 0;
    return [...this.former.values()].filter(hasText);
  }

  setMembers(channelId, members) {
    this.members.set(channelId, members);
    const channel = this.channels.get(channelId);
    const other = members.find(({ user_id: id }) => id !== this.userId)?.user_id;
    if (channel?.type === "DM" && other !== undefined) this.#partners.set(channelId, other);
    this.changed();
  }

  /** A DM is named after the other member, even if that user was revoked. */
  nameOf(channel) {
    if (channel.type !== "DM" || typeof channel.name === "string") return channel.name;
    const { channel_id: id, created_by: creator } = channel;
    const partner = this.#partners.get(id);
    if (partner !== undefined) return this.displayName(partner);
    if (!this.members.has(id)) return "…";
    const isOther = (user) => user !== undefined && user !== this.userId;
    const senders = [...this.timeline(id).messages.values()].map((message) => message.sender_id);
    return [creator, ...senders].find(isOther) ?? "a revoked user";
  }

  /** The name as people see it: that of a group begins with `#`. */
  titleOf(channel) {
    return channel.type === "DM" ? this.nameOf(channel) : `# ${this.nameOf(channel)}`;
  }

  /** Groups by name, then DMs by name. */
  sortedChannels(type) {
    return [...this.channels.values()]
      .filter((channel) => (channel.type === "DM") === (type === "DM"))
      .sort((a, b) => this.nameOf(a).localeCompare(this.nameOf(b)));
  }

  /**
   * Takes a stored message from the server. `via` is `push`, `replay`, `scroll` or
   * `history`. Answers `new`, `confirmed` (the first sight of an own message), `changed`,
   * `duplicate`, `unread` for a change of a message whose page of the history is not here: that
   * page has it, or `lacks_text` if the copy leaves out a text that is not here: it is not taken.
   */
  deliver(message, via) {
    const timeline = this.timeline(message.channel_id);
    const known = timeline.messages.get(message.id);
    for (const listing of this.listings) listing.take(message);
    if (known) return this.#update(known, message);
    if (via !== "history" && isChanged(message) && timeline.isInUnreadHistory(message.id))
      return "unread";
    if (lacksText(message)) return "lacks_text";
    const reactions = withMine(message, undefined, this.userId);
    timeline.insert({ ...message, reactions, delivery: "stored", seenOnWire: true });
    const own = message.sender_id === this.userId;
    if (via !== "history" && !own && !this.#isRead(timeline, message)) {
      timeline.unread.add(message.id);
      if (timeline.unreadOnServer > 0) timeline.unreadOnServer += 1;
      this.#countMention(timeline, message, Number(isMentioned(message, this.userId)));
    }
    if (via === "replay" || via === "scroll") timeline.missed.add(message.id);
    this.changed();
    return "new";
  }

  /** Copies may come in any order: the greatest revision wins. */
  #update(known, copy) {
    const isNews = isNewer(copy, known);
    if (isNews && lacksText(copy) && textRevOf(copy) !== textRevOf(known)) return "lacks_text";
    const first = !known.seenOnWire;
    const wasMentioned = isMentioned(known, this.userId);
    if (isNews) {
      const reactions = withMine(copy, known, this.userId);
      Object.assign(known, MAY_END, copy, { reactions });
    } else if (copy.rev === known.rev) fillInMine(known, copy);
    Object.assign(known, { delivery: "stored", seenOnWire: true });
    const change = Number(isMentioned(known, this.userId)) - Number(wasMentioned);
    this.#countMention(this.timeline(known.channel_id), known, change);
    this.changed();
    if (first) return "confirmed";
    return isNews && isChanged(copy) ? "changed" : "duplicate";
  }

  /** A count of the server knows nothing of what came after it. */
  #countMention(timeline, { id }, change) {
    if (timeline.mentionsOnServer > 0 && timeline.unread.has(id))
      timeline.mentionsOnServer += change;
  }

  #isRead(timeline, { channel_id: channelId, id }) {
    const { readElsewhere } = timeline;
    if (readElsewhere === id) timeline.readElsewhere = null;
    return this.isReading(channelId) || (readElsewhere !== null && id <= readElsewhere);
  }

  /** The server stored the user's reaction or its withdrawal: the copy here may not show it yet. */
  setMine(channelId, id, emoji, mine) {
    const message = this.timeline(channelId).messages.get(id);
    const here = message.reactions?.find((one) => one.emoji === emoji);
    if (here) here.mine = mine;
    else if (mine) {
      // The next copy takes `mine` from here, if it does not name all users.
      const uncounted = { emoji, count: 0, users: [], mine };
      message.reactions = [...(message.reactions ?? []), uncounted];
    }
    this.changed();
  }

  /** Shows an own message before the server has it. */
  insertLocal(message) {
    this.timeline(message.channel_id).insert(message);
    this.changed();
  }

  removeLocal(message) {
    this.timeline(message.channel_id).remove(message.id);
    this.changed();
  }

  /** The server stored an own message, maybe under another id: its copy replaces the local one. */
  settleLocal(local, stored) {
    const timeline = this.timeline(local.channel_id);
    const here = timeline.messages.get(stored.id);
    const seenOnWire = here?.seenOnWire ?? false;
    timeline.remove(local.id);
    timeline.remove(stored.id);
    const newest = here && !isNewer(stored, here) ? here : stored;
    const { duplicate: _, server_time: __, ...fields } = newest;
    timeline.insert({ ...fields, delivery: "stored", seenOnWire });
    this.changed();
  }

  /**
   * Counts what is newer than the read mark as unread, after a channel's first page. On a person's
   * first visit in this browser everything counts as read, unless the server has a mark.
   */
  countUnread(channelId, firstVisit) {
    const isFirst = firstVisit && !this.#marks.has(channelId);
    if (isFirst || this.isReading(channelId)) return this.markRead(channelId);
    this.#recount(channelId);
    this.changed();
  }

  get hasReadMarks() {
    return !this.#marks.isEmpty;
  }

  get readMarksKey() {
    return this.#marks.key;
  }

  markRead(channelId) {
    const timeline = this.timeline(channelId);
    const newest = timeline.newestStoredId();
    if (newest !== null && this.#marks.moveTo(channelId, newest)) this.onRead(channelId);
    if (this.unreadOf(channelId) === 0 && this.mentionsOf(channelId) === 0) return;
    timeline.unread.clear();
    forgetCounts(timeline);
    this.changed();
  }

  /** A channel's mark, as the server takes it. */
  markOf(channelId) {
    const [up_to, epoch] = [this.#marks.of(channelId), this.#marks.epochOf(channelId)];
    return { channel_id: channelId, up_to, epoch };
  }

  /** A mark from the server. Of a later epoch: another device marked messages unread. */
  takeMark(channelId, epoch, upTo) {
    const isAgain = this.#marks.has(channelId) && epoch > this.#marks.epochOf(channelId);
    if (!this.#marks.take(channelId, epoch, upTo)) return;
    const timeline = this.timeline(channelId);
    if (isAgain) timeline.keepsUnread = true;
    forgetCounts(timeline);
    this.#recount(channelId);
    this.changed();
  }

  /** A channel's mark and counts, from the server. */
  takeUnread({ channel_id: channelId, epoch, up_to: upTo, unread, mentions = 0 }) {
    this.takeMark(channelId, epoch, upTo);
    // If the mark here is newer, these counts are outdated.
    if (this.#marks.of(channelId) === upTo) {
      const [unreadOnServer, mentionsOnServer] = [numberOf(unread), numberOf(mentions)];
      Object.assign(this.timeline(channelId), { unreadOnServer, mentionsOnServer });
    }
    this.changed();
  }

  /** Counts what is here above the mark. */
  #recount(channelId) {
    const timeline = this.timeline(channelId);
    const mark = this.#marks.of(channelId);
    timeline.unread.clear();
    for (const [id, message] of timeline.messages) {
      const counts = message.sender_id !== this.userId && message.deleted === undefined;
      if (id > mark && counts) timeline.unread.add(id);
    }
  }

  unreadOf(channelId) {
    const { unread, unreadOnServer } = this.timeline(channelId);
    return Math.max(unread.size, unreadOnServer);
  }

  /** How many unread messages of a channel mention the user. */
  mentionsOf(channelId) {
    const { unread, messages, mentionsOnServer } = this.timeline(channelId);
    const here = [...unread].filter((id) => isMentioned(messages.get(id), this.userId));
    return Math.max(here.length, mentionsOnServer);
  }

  /** Another tab of this person showed messages: they are read here too. */
  readElsewhere() {
    for (const channelId of this.#marks.merge()) {
      const timeline = this.timeline(channelId);
      const mark = this.#marks.of(channelId);
      if (!timeline.messages.has(mark)) timeline.readElsewhere = mark;
      forgetCounts(timeline);
      this.#recount(channelId);
    }
    this.changed();
  }

  unreadTotal() {
    let total = 0;
    for (const id of this.channels.keys()) total += this.unreadOf(id);
    return total;
  }

  /** Everybody whom this page has seen as a member or a sender, and the people of the demo. */
  people() {
    const members = [...this.members.values()].flat().map(({ user_id: id }) => id);
    const senders = this.messages().map(({ sender_id: id }) => id);
    return new Set([...PEOPLE, this.userId, ...members, ...senders]);
  }

  /** Everybody whose name is shown: also whoever is only named by a message. */
  shownPeople() {
    const listed = [...this.listings].flatMap(({ messages }) => messages);
    const named = [...this.messages(), ...listed].flatMap(
      ({ sender_id: sender, pinned, mentions = [] }) => [sender, pinned?.by ?? sender, ...mentions],
    );
    return new Set([...this.people(), ...named]);
  }

  /** Every message that is here. */
  messages() {
    return [...this.#timelines.values()].flatMap(({ messages }) => [...messages.values()]);
  }

  /** Removes the divider of the reconnect before. */
  clearMissed() {
    for (const timeline of this.#timelines.values()) timeline.missed.clear();
  }
}

/** What a newer copy takes from a message by leaving it out. */
const MAY_END = {
  pinned: undefined,
  mentions: undefined,
  mentions_all: undefined,
  attachments: undefined,
};

/** What the server counted no longer holds: the mark moved. */
function forgetCounts(timeline) {
  Object.assign(timeline, { unreadOnServer: 0, mentionsOnServer: 0 });
}

/** A count of the server: 0 to 99, or `99+`. */
function numberOf(count) {
  return count === "99+" ? 100 : count;
}

/** A channel with the details of another copy, if those are newer. */
function withNewerDetails(channel, other) {
  if (!(other?.details_version > (channel.details_version ?? 0))) return channel;
  const { name, topic, archived, details_version } = other;
  return { ...channel, name, topic, archived, details_version };
}

export function isChanged({ id, rev }) {
  return rev !== undefined && rev !== id;
}

/** Frames leave out a long text that did not change. */
function lacksText({ message }) {
  return message === undefined;
}

/** The revision that a message's text is of. */
export function textRevOf({ id, text_rev: rev }) {
  return rev ?? id;
}

/** Takes from a copy of the same revision which reactions are the user's: frames do not say it. */
function fillInMine(here, copy) {
  for (const { emoji, mine } of copy.reactions ?? []) {
    const reaction = here.reactions?.find((one) => one.emoji === emoji);
    if (reaction && mine !== undefined) reaction.mine = mine;
  }
}

/** Whether a copy of a message is newer than the one here. Revisions compare as strings. */
export function isNewer(copy, here) {
  return here.rev === undefined || (copy.rev ?? "") > here.rev;
}
