// Local state: channels, the messages of their logs upserted by id, members, drafts.
//
// Invariants: a message id is in a timeline at most once, whichever way and however often it came;
// text that is not stored stays, also when its channel is gone. Nothing here knows the network or
// the document.

import { deliversFirst, isMeeting } from "./contracts.js";
import { isChanged, isNewer, lacksNewText, lacksText, takeCopy } from "./copies.js";
import { Drafts } from "./drafts.js";
import { EventLog } from "./log.js";
import { channelOf, logOf, logOfMessage, rootOf } from "./logs.js";
import { isMentioned } from "./mentions.js";
import { withMine } from "./reactions.js";
import { Roots } from "./roots.js";
import { Timeline } from "./timeline.js";
import { Unread } from "./unread.js";

/** The people of the demo workspace. Any other user id works too. */
export const PEOPLE = ["alice", "bob", "carol"];

/** Each costs a read in every catch-up. */
const KEPT_THREADS_MAX = 10;

export class Store {
  channels = new Map();
  /** Channels that the person was a member of and may have unsent text for. */
  former = new Map();
  /** Channels of an earlier visit, by id: shown until the list is read. */
  remembered = new Map();
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
  /** The root of the open thread, a message of the open channel; null if no thread is open. */
  activeRoot = null;
  roots = new Roots(this);
  /** What lists messages: it takes every copy that arrives (listing.js). */
  listings = new Set([this.roots]);
  #listeners = [];
  #timelines = new Map();
  /** Threads that were opened, the latest one last. */
  #keptThreads = [];
  /** Who the other member of a DM is or was, by channel. */
  #partners = new Map();
  /** The ids of members by the list that they were read as. */
  #sortedIds = new WeakMap();

  /** `storages` has `local` (all tabs) and `session` (this tab). */
  constructor(workspaceId, userId, storages) {
    this.workspaceId = workspaceId;
    this.userId = userId;
    this.drafts = new Drafts(storages.session, workspaceId, userId);
    this.unread = new Unread(this, storages.local);
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  changed() {
    for (const listener of this.#listeners) listener();
  }

  /** The messages of a channel's main log, or of a thread. */
  timeline(log) {
    let timeline = this.#timelines.get(log);
    if (!timeline) {
      timeline = new Timeline(rootOf(log) === undefined);
      this.#timelines.set(log, timeline);
    }
    return timeline;
  }

  /** Own messages of a log that the server has not acknowledged. */
  unsentIn(log) {
    return this.#timelines.get(log)?.unsent() ?? [];
  }

  /** The threads of a channel of which something is here. */
  threadsOf(channelId) {
    const isThread = (log) => rootOf(log) !== undefined && channelOf(log) === channelId;
    return [...this.#timelines.keys()].filter(isThread);
  }

  /** Whether a log is in a meeting: nothing of it is kept, so nothing of it is in a timeline. */
  isInMeeting(log) {
    const id = log === null ? null : channelOf(log);
    return isMeeting(this.channels.get(id) ?? this.former.get(id));
  }

  /** The logs that are kept up to date: channels, and the threads that were opened. */
  keptLogs() {
    const isIn = (log) => this.channels.has(channelOf(log)) && !this.isInMeeting(log);
    return [...this.channels.keys(), ...this.#keptThreads].filter(isIn);
  }

  /** Keeps a thread up to date from now on. Those that were opened the longest ago are let go. */
  keepThread(thread) {
    this.timeline(thread).isKept = true;
    this.#keptThreads = [...this.#keptThreads.filter((other) => other !== thread), thread];
    const isLetGo = (other) => other !== thread && other !== this.activeThread;
    for (const other of this.#keptThreads.slice(0, -KEPT_THREADS_MAX).filter(isLetGo))
      this.#letGo(other);
  }

  /** What is not read here is still unread. */
  #letGo(thread) {
    const hadUnread = this.unread.of(thread) > 0;
    this.timeline(thread).forget();
    Object.assign(this.timeline(thread), { isKept: false, unreadOnServer: Number(hadUnread) });
    this.#keptThreads = this.#keptThreads.filter((other) => other !== thread);
  }

  /** Forgets all stored messages of a channel and of its threads: they may be outdated. */
  forget(channelId) {
    this.timeline(channelId).forget();
    for (const thread of this.threadsOf(channelId)) this.#letGo(thread);
    this.roots.forget(channelId);
  }

  /** The open thread, or null. */
  get activeThread() {
    return this.activeRoot === null ? null : logOf(this.activeId, this.activeRoot);
  }

  /** A message that is in its log's timeline, or is the root of a thread. */
  find(log, id) {
    return this.timeline(log).messages.get(id) ?? this.roots.copyOf(logOf(log, id));
  }

  /** The open channel, if the person is a member of it. */
  get active() {
    return this.channels.get(this.activeId) ?? null;
  }

  /** The open channel, even if the person is no longer a member; null if it is unknown. */
  get shown() {
    const remembered = this.channelsKnown ? undefined : this.remembered.get(this.activeId);
    return this.active ?? this.former.get(this.activeId) ?? remembered ?? null;
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
      this.forget(channel.channel_id);
      this.members.delete(channel.channel_id);
    }
    for (const { channel_id: id } of appeared) this.former.delete(id);
    for (const [log, label] of this.drafts.labels()) this.rememberFormer(channelOf(log), label);
    this.changed();
    return { appeared, gone };
  }

  /** The channel is gone, whatever an older list says. */
  removeChannel(channelId) {
    this.setChannels([...this.channels.values()].filter(({ channel_id: id }) => id !== channelId));
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

  /** The name and kind of a channel, for when it is gone. */
  labelOf(channel) {
    const { type, contract } = channel;
    const label = { name: this.nameOf(channel), type };
    return isMeeting(channel) || deliversFirst(channel) ? { ...label, contract } : label;
  }

  /** The logs of former channels that have unsent text, named as their channel is. */
  formerWithText() {
    const hasText = (log) => this.drafts.get(log) !== "" || this.unsentIn(log).length > 0;
    return [...this.former.values()].flatMap(({ channel_id: id, name, type, contract }) => {
      const drafts = this.drafts.labels().map(([log]) => log);
      const threads = [...new Set([...drafts, ...this.threadsOf(id)])];
      const isOfChannel = (log) => log !== id && channelOf(log) === id;
      const logs = [id, ...threads.filter(isOfChannel)].filter(hasText);
      const nameOf = (log) => (log === id ? name : `${name}, thread`);
      return logs.map((log) => ({ channel_id: log, name: nameOf(log), type, contract }));
    });
  }

  setMembers(channelId, members) {
    this.members.set(channelId, members);
    const channel = this.channels.get(channelId);
    const other = members.find(({ user_id: id }) => id !== this.userId)?.user_id;
    if (channel?.type === "DM" && other !== undefined) this.#partners.set(channelId, other);
    this.changed();
  }

  /** The other member of a DM; undefined for a group, and while the members are not known. */
  partnerOf({ channel_id: id }) {
    return this.#partners.get(id);
  }

  /** The ids of a channel's members in the order of the list; none while they are not known. */
  membersInOrder(channelId) {
    const members = this.members.get(channelId);
    if (members === undefined) return [];
    // Every drawing asks several times, and sorting thousands takes a while.
    let ids = this.#sortedIds.get(members);
    if (ids === undefined) {
      ids = members.map(({ user_id: id }) => id).sort((a, b) => a.localeCompare(b));
      this.#sortedIds.set(members, ids);
    }
    return ids;
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

  /** The name as people see it: that of a group that stores first begins with `#`. */
  titleOf(channel) {
    const isMarked = channel.type === "DM" || isMeeting(channel) || deliversFirst(channel);
    return isMarked ? this.nameOf(channel) : `# ${this.nameOf(channel)}`;
  }

  /** Groups by name, then DMs by name. */
  sortedChannels(type) {
    const listed = this.channelsKnown ? this.channels : this.remembered;
    return [...listed.values()]
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
    const log = logOfMessage(message);
    const timeline = this.timeline(log);
    const known = timeline.messages.get(message.id);
    for (const listing of this.listings) listing.take(message);
    if (known) return this.#update(log, known, message);
    if (via !== "history" && isChanged(message) && timeline.isInUnreadHistory(message.id))
      return "unread";
    if (lacksText(message)) return "lacks_text";
    const reactions = withMine(message, undefined, this.userId);
    timeline.insert({ ...message, reactions, delivery: "stored", seenOnWire: true });
    if (via !== "history") this.unread.add(log, message);
    if (via === "replay" || via === "scroll") timeline.missed.add(message.id);
    this.changed();
    return "new";
  }

  /** Copies may come in any order: the greatest revision wins. */
  #update(log, known, copy) {
    if (isNewer(copy, known) && lacksNewText(copy, known)) return "lacks_text";
    const first = !known.seenOnWire;
    const wasMentioned = isMentioned(known, this.userId);
    const isNews = takeCopy(known, copy, this.userId);
    Object.assign(known, { delivery: "stored", seenOnWire: true });
    const change = Number(isMentioned(known, this.userId)) - Number(wasMentioned);
    this.unread.countMention(log, known.id, change);
    this.changed();
    if (first) return "confirmed";
    return isNews && isChanged(copy) ? "changed" : "duplicate";
  }

  /** The server stored the user's reaction or its withdrawal: the copy here may not show it yet. */
  setMine(log, id, emoji, mine) {
    const message = this.find(log, id);
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
    this.timeline(logOfMessage(message)).insert(message);
    this.changed();
  }

  removeLocal(message) {
    this.timeline(logOfMessage(message)).remove(message.id);
    this.changed();
  }

  /** The server stored an own message, maybe under another id: its copy replaces the local one. */
  settleLocal(local, stored) {
    const timeline = this.timeline(logOfMessage(local));
    const here = timeline.messages.get(stored.id);
    const seenOnWire = here?.seenOnWire ?? false;
    timeline.remove(local.id);
    timeline.remove(stored.id);
    const newest = here && !isNewer(stored, here) ? here : stored;
    const { duplicate: _, server_time: __, ...fields } = newest;
    timeline.insert({ ...fields, delivery: "stored", seenOnWire });
    this.changed();
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
      ({ sender_id: sender, pinned, mentions = [], replies }) => [
        sender,
        pinned?.by ?? sender,
        ...mentions,
        ...(replies?.users ?? []),
      ],
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

/** A channel with the details of another copy, if those are newer. */
function withNewerDetails(channel, other) {
  if (!(other?.details_version > (channel.details_version ?? 0))) return channel;
  const { name, topic, archived, details_version } = other;
  return { ...channel, name, topic, archived, details_version };
}
