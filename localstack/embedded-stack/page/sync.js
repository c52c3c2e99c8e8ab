// Keeping up: what each frame means for the store, and catch-up after a gap.
//
// Main path: after `ready` with `resumed:true`, count the replayed messages; otherwise read the
// list of channels, and each channel and open thread from before its gap. Invariants: the socket is
// attached before anything is read, so what the read misses is pushed; a catch-up that was
// interrupted continues at the next `ready`, even a resumed one, with the logs that were not read.

import { ChannelList } from "./channels.js";
import { Gaps } from "./gaps.js";
import { timeOf } from "./ids.js";
import { channelOf, logOf, logOfMessage, rootOf } from "./logs.js";
import { spread, WAIT_MAX_MS } from "./pace.js";
import { LogReader } from "./reader.js";
import { Recovery } from "./recovery.js";
import { isTick } from "./socket.js";

const CATCH_UP_PARALLEL = 4;
/** How long to wait after a list of channels that was refused. */
const REFUSED_WAIT_MS = 30_000;
/** The end of a replay is not marked: it ends with this much quiet. */
const REPLAY_QUIET_MS = 250;
const REPLAY_WATCH_MS = 30_000;
/** Everybody in the channel reads such a thread: not all at once. */
const LOST_REPLY_WAIT_MS = 1_000;
const MEMBERSHIP_CHANGES = new Set(["member_added", "members_added", "member_removed"]);

export class Sync {
  channelList;
  #api;
  #store;
  #handler;
  #gaps;
  #reader;
  #connection = null;
  #session = null;
  #firstVisit;
  #wasCaughtUp = false;
  /** The next catch-up: when it starts, and the latest time to which it may be put off. */
  #pending = null;
  #pendingTimer = null;
  #isReading = false;
  /** The recovery under way, or the latest one. */
  #recovery = null;

  /**
   * `handler` has `listRead()` and `logRead(log)`, which say how far a catch-up has come,
   * `waitingLogs()`: those that a person has written in, `readMarks(signal)` to read how far
   * channels and threads were read, `markMoved(frame)`, and `replied(reply)` for a reply that is
   * new, `mayLackReplies()` if some may be missing from threads that are not kept here, and
   * `threadMarksRead()`, a promise: the marks of threads were read, or could not be read;
   * `arrived(message)` for a message that is new, `typists(frame)`, and `present(frame)`.
   */
  constructor(api, store, handler) {
    this.#api = api;
    this.#store = store;
    this.#handler = handler;
    this.#gaps = new Gaps(store);
    this.#reader = new LogReader(api, store, this.#gaps, handler);
    this.#firstVisit = !store.unread.hasMarks;
    this.channelList = new ChannelList(api, store, {
      listRead: () => handler.listRead(),
      readFirst: (channelId, signal) => this.#reader.readFirst(channelId, signal),
    });
  }

  attach(connection) {
    this.#connection = connection;
  }

  /** Whether a catch-up is under way that has not read the log yet. */
  isBehind(log) {
    const isCatchingUp = this.#isReading && this.#connection.phase === "catching_up";
    return isCatchingUp && this.#gaps.isBehind(log);
  }

  /**
   * Reads a thread and keeps it up to date from now on. Without a socket the next catch-up reads
   * it: what is stored before that would not be pushed. Never rejects: the thread's gap says how it
   * went.
   */
  async openThread(thread) {
    const { isKept, gap } = this.#store.timeline(thread);
    this.#store.keepThread(thread);
    if (isKept && gap?.refused !== true) return;
    this.#gaps.open([thread]);
    const session = this.#session;
    if (session === null || session.signal.aborted) return;
    // Without a mark everything would count as read.
    if (!this.#store.unread.hasMark(thread)) await this.#handler.threadMarksRead();
    try {
      await this.#reader.readIfDue(thread, session.signal);
    } catch {
      // The session ended, or the page is offline: the gap stays.
    }
    this.#store.changed();
  }

  /** Reads the next older page of a log. */
  loadOlder(log) {
    return this.#reader.loadOlder(log);
  }

  onReady(frame, session) {
    const story = session.story.then("attached");
    const { resumed, server_time: attachedAt } = frame;
    this.#session = session;
    session.signal.addEventListener("abort", () => clearTimeout(this.#pendingTimer));
    this.#recovery = new Recovery(this.#store, { resumed, attachedAt, story });
    if (session.lostAt !== null) {
      this.#store.clearMissed();
      const tookMs = performance.now() - session.lostAt;
      this.#store.reconnect = { tookMs, catchUpMs: null, resumed, missed: 0, isAsked: false };
    }
    // Before the clock moves on: the gap starts when the last socket was heard.
    if (!resumed) this.#gaps.open(null);
    this.#learnClock(attachedAt);
    if (this.#gaps.any) this.#readAfter(0);
    else this.#armQuiet(this.#recovery, session);
  }

  onFrame(frame, session) {
    if (isTick(frame)) this.#learnClock(frame.server_time);
    if (frame.type === "message" || frame.type === "message_changed")
      this.#onMessage(frame.message, session);
    else if (frame.type === "channel") this.#onChannel(frame);
    else if (frame.type === "read") this.#handler.markMoved(frame);
    else if (frame.type === "typing") this.#handler.typists(frame);
    else if (frame.type === "presence") this.#handler.present(frame);
    else if (frame.type === "resync") this.#onResync(frame);
    else if (isTick(frame) && frame.fresh) this.#gaps.inStep(frame.server_time);
  }

  #onChannel(frame) {
    const { channel_id: channelId, change, user_id: userId, user_ids: userIds } = frame;
    if (this.#store.setDetails(frame)) return;
    // What happens while the user is no member does not come: copies here may be outdated. The
    // frame of the removal may be lost.
    const isMine = [userId, ...(userIds ?? [])].includes(this.#store.userId);
    if (isMine && MEMBERSHIP_CHANGES.has(change)) {
      this.#store.forget(channelId);
      this.#handler.mayLackReplies();
    }
    this.channelList.membersChanged(channelId);
  }

  #learnClock(serverTime) {
    this.#gaps.learnClock(serverTime);
    this.#api.clock.isAtLeast(serverTime);
  }

  #onMessage(message, session) {
    const { counters } = this.#store;
    const recovery = this.#recovery;
    const isYoung = recovery && performance.now() - recovery.readyAt < REPLAY_WATCH_MS;
    // Created before this socket was attached, so it was missed.
    const replayed = isYoung && recovery.resumed && timeOf(message.id) <= recovery.attachedAt;
    const outcome = this.#store.deliver(message, replayed ? "replay" : "push");
    if (outcome === "lacks_text") return this.#onLackingText(logOfMessage(message));
    if (outcome === "duplicate") counters.duplicates += 1;
    else if (outcome === "new" && replayed) {
      counters.replayed += 1;
      recovery.replayed += 1;
      recovery.lastAt = performance.now();
      recovery.count();
      if (recovery.quiet !== null) this.#armQuiet(recovery, session);
      else recovery.log();
    } else counters.pushed += 1;
    if (outcome === "confirmed") this.#noteEcho(message.id);
    if (outcome === "new") this.#handler.arrived(message);
    if (message.thread !== undefined && (outcome === "new" || outcome === "confirmed"))
      this.#handler.replied(message);
    if (message.replies !== undefined) this.#findLostReply(message);
    if (!this.#store.channels.has(message.channel_id)) this.channelList.refreshSoon();
  }

  /** A root that counts a reply which is not here shows that its push was lost. */
  #findLostReply({ channel_id: channelId, id, replies }) {
    const thread = logOf(channelId, id);
    if (!this.#store.keptLogs().includes(thread)) return;
    const timeline = this.#store.timeline(thread);
    const { gap, historyOffset, messages } = timeline;
    if (gap !== null || historyOffset === undefined) return;
    if (messages.has(replies.last) || timeline.isInUnreadHistory(replies.last)) return;
    const why = "a reply is counted that did not come: reading its thread";
    this.#readAgain([thread], LOST_REPLY_WAIT_MS, why);
  }

  #noteEcho(id) {
    const { lastSend } = this.#store;
    if (lastSend?.id === id) lastSend.echoMs = performance.now() - lastSend.sentAt;
  }

  #onResync(frame) {
    const named = Array.isArray(frame.channels) ? frame.channels : null;
    const what = named === null ? "all channels" : `${named.length} of the channels`;
    const delayMs = Number.isFinite(frame.delay_ms) ? frame.delay_ms : 0;
    const isNamed = (log) => named.includes(channelOf(log)) && rootOf(log) !== undefined;
    const threads = named === null ? [] : this.#store.keptLogs().filter(isNamed);
    const logs = named === null ? null : [...named, ...threads];
    if (named !== null) this.#handler.mayLackReplies();
    this.#readAgain(logs, delayMs, `the node asked to read ${what} again (${frame.reason})`);
  }

  /** A changed message came without its text, and the text here is another one, or none. */
  #onLackingText(log) {
    const isDue = this.#pending !== null && this.#gaps.isBehind(log);
    if (isDue) return;
    const what = rootOf(log) === undefined ? "channel" : "thread";
    this.#readAgain([log], 0, `a change came without its text: reading its ${what}`);
  }

  /** Reads these logs again after a wait, all of them for `null`. `why` is for the event log. */
  #readAgain(logs, askedMs, why) {
    const story = this.#store.log.add(why, "warn");
    this.#gaps.open(logs);
    // This page does not know the channel: the list has it.
    if (logs?.some((log) => !this.#store.channels.has(channelOf(log))))
      this.channelList.refreshSoon();
    const delayMs = Math.round(Math.min(askedMs, WAIT_MAX_MS));
    const waitMs = delayMs + spread(delayMs);
    const joins = this.#pending !== null || this.#isReading;
    this.#connection.catchingUp();
    if (joins) story.then("joins the catch-up under way");
    else {
      this.#store.clearMissed();
      const counts = { tookMs: null, catchUpMs: null, missed: 0 };
      this.#store.reconnect = { ...counts, resumed: false, isAsked: true };
      story.then(`waiting ${Math.round(waitMs)} ms`).then("reading");
      const attachedAt = this.#gaps.now();
      this.#recovery = new Recovery(this.#store, { resumed: false, attachedAt, story });
    }
    this.#readAfter(waitMs);
  }

  /**
   * Starts a catch-up after a wait. If one waits already, both become one, at the later of the two
   * times; but a stream of new ones does not postpone it without end.
   */
  #readAfter(ms) {
    const now = performance.now();
    const first = this.#pending;
    const latest = first?.latest ?? now + 2 * WAIT_MAX_MS;
    const dueAt = Math.max(first?.dueAt ?? 0, Math.min(now + ms, latest));
    this.#pending = { dueAt, latest };
    this.#readWhenDue();
  }

  async #readWhenDue() {
    clearTimeout(this.#pendingTimer);
    const session = this.#session;
    if (this.#pending === null || this.#isReading || session.signal.aborted) return;
    const waitMs = this.#pending.dueAt - performance.now();
    if (waitMs > 0) {
      this.#pendingTimer = setTimeout(() => this.#readWhenDue(), waitMs);
      return;
    }
    this.#pending = null;
    this.#isReading = true;
    await this.#catchUp(this.#recovery, session);
    this.#isReading = false;
    // Another one may be due by now, on this socket or the next.
    this.#readWhenDue();
  }

  /** The replay ends when no frame came for a moment. */
  #armQuiet(recovery, session) {
    clearTimeout(recovery.quiet);
    recovery.quiet = setTimeout(() => {
      recovery.quiet = null;
      if (session.signal.aborted || this.#recovery !== recovery) return;
      this.#finish(recovery);
    }, REPLAY_QUIET_MS);
  }

  #finish(recovery) {
    recovery.log();
    this.#connection.caughtUp();
    this.channelList.retryNow();
  }

  /** Reads the logs that have a gap. */
  async #catchUp(recovery, { signal }) {
    const firstVisit = this.#firstVisit && !this.#wasCaughtUp;
    const startedAt = this.#gaps.now();
    const { list } = this.#gaps;
    try {
      let marks = null;
      if (list !== null) {
        await this.channelList.readList(signal);
        marks = this.#handler.readMarks(signal);
        // Later visits count from the marks of this browser meanwhile.
        if (firstVisit) await marks;
      }
      const queue = this.#gaps.due();
      const worker = async () => {
        for (let next = this.#takeNext(queue); next; next = this.#takeNext(queue)) {
          const visit = { isListed: list !== null, firstVisit };
          const missed = await this.#reader.readIfDue(next, signal, visit);
          // Not `+= await`, which would lose what other workers added meanwhile.
          recovery.scrolled += missed;
        }
      };
      const names = list === null ? [] : [this.channelList.readNames(signal)];
      await Promise.all([marks, ...names, ...Array.from({ length: CATCH_UP_PARALLEL }, worker)]);
    } catch (error) {
      // The session ended meanwhile, or only a later attempt can help.
      if (!signal.aborted) this.#catchUpRefused(recovery, error);
      return;
    }
    if (signal.aborted) return;
    this.#gaps.allRead(list, startedAt);
    // A gap opened again meanwhile: the pending catch-up closes it.
    if (this.#gaps.any && this.#pending !== null) return;
    this.#wasCaughtUp = true;
    recovery.lastAt = performance.now();
    this.#store.counters.scrolled += recovery.scrolled;
    this.#finish(recovery);
  }

  /** The open channel and thread first, then those that a person has written in. */
  #takeNext(queue) {
    const { activeId, activeThread } = this.#store;
    const waiting = this.#handler.waitingLogs();
    const isOpen = (log) => log === activeId || log === activeThread;
    const rank = (log) => (isOpen(log) ? 2 : waiting.has(log) ? 1 : 0);
    let best = 0;
    for (let at = 1; at < queue.length; at += 1) if (rank(queue[at]) > rank(queue[best])) best = at;
    return queue.splice(best, 1)[0];
  }

  /** The list of channels is refused: live frames are shown, and the list is read later. */
  #catchUpRefused(recovery, error) {
    recovery.story.then(`catch-up failed: ${error.code ?? error.message}`, "bad");
    this.#connection.caughtUp();
    this.#readAfter(REFUSED_WAIT_MS + spread(REFUSED_WAIT_MS));
  }
}
