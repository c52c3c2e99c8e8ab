// What of each log is unread: read marks, and counts of the messages above them.
//
// Invariants: a mark never moves back, except in a later epoch; a count of the server holds until
// the mark moves. Nothing here knows the network or the document.

import { logOf, namesOf, rootOf } from "./logs.js";
import { ReadMarks } from "./marks.js";
import { isMentioned } from "./mentions.js";

export class Unread {
  /** Whether the person is looking at the newest messages of a log; set by the page. */
  isReading = () => false;
  /** Is told of each log whose mark moved here; set by read_state.js. */
  onRead = () => {};
  #store;
  #marks;

  constructor(store, storage) {
    this.#store = store;
    this.#marks = new ReadMarks(storage, store.workspaceId, store.userId);
  }

  /** Whether this browser has been here before. */
  get hasMarks() {
    return !this.#marks.isEmpty;
  }

  /** Where other tabs find the marks. */
  get marksKey() {
    return this.#marks.key;
  }

  /** Whether anything says how far a log was read. */
  hasMark(log) {
    return this.#marks.has(log);
  }

  /**
   * Counts what is newer than the read mark, after a log's first page. On a person's first visit in
   * this browser everything counts as read, unless the server has a mark. So does a thread without
   * a mark: who neither follows nor read it has no news in it.
   */
  count(log, firstVisit) {
    const isThread = rootOf(log) !== undefined;
    const isFirst = (firstVisit || isThread) && !this.#marks.has(log);
    // A thread is counted even while it is read: the view shows where its news begin.
    if (isFirst || (!isThread && this.isReading(log))) return this.markRead(log);
    this.#recount(log);
    this.#store.changed();
  }

  /** Counts a message that is new here, unless it is read. */
  add(log, message) {
    const timeline = this.#store.timeline(log);
    if (message.sender_id === this.#store.userId || this.#isRead(timeline, log, message.id)) return;
    timeline.unread.add(message.id);
    if (timeline.unreadOnServer > 0) timeline.unreadOnServer += 1;
    this.countMention(log, message.id, Number(isMentioned(message, this.#store.userId)));
  }

  /** A count of the server knows nothing of what came after it. */
  countMention(log, id, change) {
    const timeline = this.#store.timeline(log);
    if (timeline.mentionsOnServer > 0 && timeline.unread.has(id))
      timeline.mentionsOnServer += change;
  }

  markRead(log) {
    const timeline = this.#store.timeline(log);
    const newest = timeline.newestStoredId();
    if (newest !== null && this.#marks.moveTo(log, newest)) this.onRead(log);
    if (this.of(log) === 0 && this.mentionsOf(log) === 0) return;
    timeline.unread.clear();
    forgetCounts(timeline);
    this.#store.changed();
  }

  /** A log's mark, as the server takes it. */
  markOf(log) {
    return { ...namesOf(log), up_to: this.#marks.of(log), epoch: this.#marks.epochOf(log) };
  }

  /** A mark from the server. Of a later epoch: another device marked messages unread. */
  takeMark(log, epoch, upTo) {
    if (this.#store.isInMeeting(log)) return;
    const isAgain = this.#marks.has(log) && epoch > this.#marks.epochOf(log);
    if (!this.#marks.take(log, epoch, upTo)) return;
    const timeline = this.#store.timeline(log);
    if (isAgain) timeline.keepsUnread = true;
    forgetCounts(timeline);
    this.#recount(log);
    this.#store.changed();
  }

  /** A log's mark and counts, from the server. */
  takeCounts({ channel_id: channelId, thread, epoch, up_to: upTo, unread, mentions = 0 }) {
    const log = logOf(channelId, thread);
    if (this.#store.isInMeeting(log)) return;
    this.takeMark(log, epoch, upTo);
    // If the mark here is newer, these counts are outdated.
    if (this.#marks.of(log) === upTo) {
      const [unreadOnServer, mentionsOnServer] = [numberOf(unread), numberOf(mentions)];
      Object.assign(this.#store.timeline(log), { unreadOnServer, mentionsOnServer });
    }
    this.#store.changed();
  }

  of(log) {
    const { unread, unreadOnServer } = this.#store.timeline(log);
    return Math.max(unread.size, unreadOnServer);
  }

  /** How many unread messages of a log mention the user. */
  mentionsOf(log) {
    const { unread, messages, mentionsOnServer } = this.#store.timeline(log);
    const here = [...unread].filter((id) => isMentioned(messages.get(id), this.#store.userId));
    return Math.max(here.length, mentionsOnServer);
  }

  /** Unread messages of all channels. */
  total() {
    let total = 0;
    for (const id of this.#store.channels.keys()) total += this.of(id);
    return total;
  }

  /** Another tab of this person showed messages: they are read here too. */
  readElsewhere() {
    for (const log of this.#marks.merge()) {
      const timeline = this.#store.timeline(log);
      const mark = this.#marks.of(log);
      if (!timeline.messages.has(mark)) timeline.readElsewhere = mark;
      forgetCounts(timeline);
      this.#recount(log);
    }
    this.#store.changed();
  }

  #isRead(timeline, log, id) {
    const { readElsewhere } = timeline;
    if (readElsewhere === id) timeline.readElsewhere = null;
    if (this.isReading(log) || (readElsewhere !== null && id <= readElsewhere)) return true;
    // A thread's marks come before its replies: they are read when somebody opens it.
    return rootOf(log) !== undefined && id <= this.#marks.of(log);
  }

  /** Counts what is here above the mark. */
  #recount(log) {
    const timeline = this.#store.timeline(log);
    const mark = this.#marks.of(log);
    timeline.unread.clear();
    for (const [id, message] of timeline.messages) {
      const counts = message.sender_id !== this.#store.userId && message.deleted === undefined;
      if (id > mark && counts) timeline.unread.add(id);
    }
  }
}

/** What the server counted no longer holds: the mark moved. */
function forgetCounts(timeline) {
  Object.assign(timeline, { unreadOnServer: 0, mentionsOnServer: 0 });
}

/** A count of the server: 0 to 99, or `99+`. */
function numberOf(count) {
  return count === "99+" ? 100 : count;
}
