// Keeping up: what each frame means for the store, catch-up after a gap, history pages.
//
// Main path: `ready` → (resumed) count what is replayed, or (not resumed) re-read the channels,
// scroll each one from before the gap → caught up. Invariants: attach first, read then: what is
// stored before the read is in it, what comes after is pushed; a catch-up that broke off is due
// again at the next `ready`, even if that one resumes, for the channels that it had not done.

import { Gaps } from "./gaps.js";
import { spread, WAIT_MAX_MS } from "./pace.js";
import { timeOf } from "./store.js";

const HISTORY_PAGE = 20;
const CATCH_UP_PAGE = 100;
const CATCH_UP_PARALLEL = 4;
/** When a list of channels that was refused for good is asked for again. */
const REFUSED_WAIT_MS = 30_000;
/** A replay has no end mark: this much quiet after it counts as one. */
const REPLAY_QUIET_MS = 250;
const REPLAY_WATCH_MS = 30_000;
const CHANNELS_DEBOUNCE_MS = 150;
const CHANNELS_READ_MS = 10_000;

export class Sync {
  #api;
  #store;
  #handler;
  #gaps;
  #connection = null;
  #session = null;
  #firstVisit;
  #wasCaughtUp = false;
  /** The next catch-up: when it is due, by `performance.now()`, and by when at the latest. */
  #pending = null;
  #pendingTimer = null;
  #isReading = false;
  #gap = null;
  #channelsTimer = null;
  #channelsDue = false;
  #staleMembers = new Set();
  #listRead = Promise.resolve();

  /** `handler` has `listRead()` and `channelRead(channelId)`: how far a catch-up has come. */
  constructor(api, store, handler) {
    this.#api = api;
    this.#store = store;
    this.#handler = handler;
    this.#gaps = new Gaps(store);
    this.#firstVisit = !store.hasReadMarks;
  }

  attach(connection) {
    this.#connection = connection;
  }

  /** Whether a catch-up under way has yet to bring what was missed in a channel. */
  isBehind(channelId) {
    const isCatchingUp = this.#isReading && this.#connection.phase === "catching_up";
    return isCatchingUp && this.#gaps.isBehind(channelId);
  }

  onReady(frame, session) {
    const story = session.story.then("attached");
    this.#session = session;
    this.#gap = newGap(frame.resumed, frame.server_time, story);
    if (session.lostAt !== null) {
      this.#store.clearMissed();
      const tookMs = performance.now() - session.lostAt;
      this.#store.reconnect = { tookMs, catchUpMs: null, resumed: frame.resumed, missed: 0 };
    }
    // Before this node's clock is learned: the gap begins where the last socket was heard.
    if (!frame.resumed) this.#gaps.open(null);
    this.#gaps.learnClock(frame.server_time);
    if (this.#gaps.any) this.#readAfter(0);
    else this.#armQuiet(this.#gap, session);
  }

  onFrame(frame, session) {
    if (frame.type === "tick") this.#gaps.learnClock(frame.server_time);
    if (frame.type === "message" || frame.type === "message_changed")
      this.#onMessage(frame.message, session);
    else if (frame.type === "channel") this.#onChannel(frame);
    else if (frame.type === "resync") this.#onResync(frame);
    else if (frame.type === "tick" && frame.fresh) this.#gaps.inStep(frame.server_time);
  }

  #onMessage(message, session) {
    const { counters } = this.#store;
    const gap = this.#gap;
    const young = gap && performance.now() - gap.readyAt < REPLAY_WATCH_MS;
    // Created before this connection was attached: it is here because it was missed.
    const replayed = young && gap.resumed && timeOf(message.id) <= gap.attachedAt;
    const outcome = this.#store.deliver(message, replayed ? "replay" : "push");
    if (outcome === "duplicate") counters.duplicates += 1;
    else if (outcome === "new" && replayed) {
      counters.replayed += 1;
      gap.replayed += 1;
      gap.lastAt = performance.now();
      this.#countGap(gap);
      if (gap.quiet !== null) this.#armQuiet(gap, session);
      else this.#tellGap(gap);
    } else counters.pushed += 1;
    if (outcome === "confirmed") this.#noteEcho(message.id);
    if (!this.#store.channels.has(message.channel_id)) this.refreshChannelsSoon();
  }

  #noteEcho(id) {
    const { lastSend } = this.#store;
    if (lastSend?.id === id) lastSend.echoMs = performance.now() - lastSend.sentAt;
  }

  #onChannel(frame) {
    this.#staleMembers.add(frame.channel_id);
    this.refreshChannelsSoon();
  }

  #onResync(frame) {
    const named = Array.isArray(frame.channels) ? frame.channels : null;
    const what = named === null ? "all channels" : `${named.length} of the channels`;
    const story = this.#store.log.add(`asked to re-read ${what} (${frame.reason})`, "warn");
    this.#gaps.open(named);
    // A channel that this page has not heard of: the list has it.
    if (named?.some((id) => !this.#store.channels.has(id))) this.refreshChannelsSoon();
    const asked = Number.isFinite(frame.delay_ms) ? frame.delay_ms : 0;
    const delayMs = Math.round(Math.min(asked, WAIT_MAX_MS));
    const waitMs = delayMs + spread(delayMs);
    const joins = this.#pending !== null || this.#isReading;
    this.#connection.catchingUp();
    if (joins) story.then("joins the catch-up under way");
    else {
      this.#store.clearMissed();
      this.#store.reconnect = { tookMs: null, catchUpMs: null, resumed: false, missed: 0 };
      story.then(`waits ${Math.round(waitMs)} ms`).then("reading");
      this.#gap = newGap(false, this.#gaps.now(), story);
    }
    this.#readAfter(waitMs);
  }

  /**
   * Lets a catch-up begin after a wait. It joins one that waits already, and begins when the later
   * of the two would; but not later and later with each that joins.
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
    await this.#catchUp(this.#gap, session);
    this.#isReading = false;
    // Another one may have become due, on this socket or on the next.
    this.#readWhenDue();
  }

  /** Every replayed frame starts the quiet anew; when it passes, the gap is closed. */
  #armQuiet(gap, session) {
    clearTimeout(gap.quiet);
    gap.quiet = setTimeout(() => {
      gap.quiet = null;
      if (session.signal.aborted || this.#gap !== gap) return;
      this.#closeGap(gap);
    }, REPLAY_QUIET_MS);
  }

  #closeGap(gap) {
    this.#tellGap(gap);
    this.#connection.caughtUp();
    if (this.#channelsDue) this.refreshChannelsSoon();
  }

  #countGap(gap) {
    const missed = gap.replayed + gap.scrolled;
    const catchUpMs = Math.max(1, Math.round(gap.lastAt - gap.readyAt));
    const { reconnect } = this.#store;
    if (reconnect) Object.assign(reconnect, { missed, catchUpMs });
    return { missed, catchUpMs };
  }

  #tellGap(gap) {
    const { reconnect } = this.#store;
    const { missed, catchUpMs } = this.#countGap(gap);
    const words = [];
    if (gap.replayed > 0) words.push(`${count(gap.replayed)} replayed`);
    if (gap.scrolled > 0) words.push(`${count(gap.scrolled)} read by scroll`);
    if (words.length === 0) words.push(reconnect ? "nothing missed" : "history read");
    const resumed = gap.resumed ? "resumed" : "not resumed";
    const took = missed > 0 || !reconnect ? ` in ${catchUpMs} ms` : "";
    gap.story.amend(`${reconnect ? resumed : "live"}: ${words.join(", ")}${took}`, "good");
    this.#store.changed();
  }

  /** Reads the channels that have a gap, all of them if the gap concerns all. */
  async #catchUp(gap, { signal }) {
    const firstVisit = this.#firstVisit && !this.#wasCaughtUp;
    const startedAt = this.#gaps.now();
    const { list } = this.#gaps;
    try {
      if (list !== null) {
        await this.#readList(signal);
        this.#handler.listRead();
      }
      const queue = this.#gaps.due();
      const worker = async () => {
        for (let next = queue.shift(); next; next = queue.shift()) {
          const missed = await this.#readIfDue(next, list !== null, signal, firstVisit);
          // After the wait: `+= await` would add to what was there before the other workers did.
          gap.scrolled += missed;
        }
      };
      const names = list === null ? [] : [this.#readNames(signal)];
      await Promise.all([...names, ...Array.from({ length: CATCH_UP_PARALLEL }, worker)]);
    } catch (error) {
      // The session ended in the middle, or nothing else than a retry later can help.
      if (!signal.aborted) this.#catchUpRefused(gap, error);
      return;
    }
    if (signal.aborted) return;
    this.#gaps.allRead(list, startedAt);
    // It opened again meanwhile: the next catch-up is pending, and closes it.
    if (this.#gaps.any && this.#pending !== null) return;
    this.#wasCaughtUp = true;
    gap.lastAt = performance.now();
    this.#store.counters.scrolled += gap.scrolled;
    this.#closeGap(gap);
  }

  /** The list of channels is refused for good: live frames are shown, and it is asked for later. */
  #catchUpRefused(gap, error) {
    gap.story.then(`catch-up failed: ${error.code ?? error.message}`, "bad");
    this.#connection.caughtUp();
    this.#readAfter(REFUSED_WAIT_MS + spread(REFUSED_WAIT_MS));
  }

  /** Reads what a channel may miss; answers how many messages were new and had been missed. */
  async #readIfDue(channel, isListed, signal, firstVisit) {
    const id = channel.channel_id;
    if (!this.#gaps.isBehind(id)) return 0;
    const opening = this.#gaps.openingOf(id);
    const startedAt = this.#gaps.now();
    let missed = 0;
    try {
      if (this.#store.timeline(id).historyOffset === undefined) {
        await this.#readNewest(id, signal, firstVisit);
      } else missed = await this.#scrollNewer(channel, isListed, signal);
      this.#gaps.channelRead(id, opening, startedAt);
    } catch (error) {
      // Removed meanwhile: the list of channels tells it too.
      if (error.code === "channel_not_found") this.#gaps.channelGone(id);
      else if (error.retryable || signal.aborted) throw error;
      else this.#channelRefused(channel, error);
    }
    this.#handler.channelRead(id);
    return missed;
  }

  /** One channel that cannot be read holds up nothing else. */
  #channelRefused(channel, error) {
    this.#gaps.channelRefused(channel.channel_id);
    this.#store.log.add(`cannot read ${this.#store.nameOf(channel)}: ${error.code}`, "bad");
  }

  async #scrollNewer(channel, isListed, signal) {
    const id = channel.channel_id;
    const timeline = this.#store.timeline(id);
    let { late } = channel;
    if (!isListed && this.#gaps.needsLate(id)) {
      const read = await this.#api.untilAnswered(() => this.#api.channel(id, signal), signal);
      late = read.late;
    }
    let offset = this.#gaps.startOf(id, late);
    // Older than what was on the page: unread history, not something that was missed.
    const oldest = timeline.historyOffset;
    let missed = 0;
    for (;;) {
      const query = { channel_id: id, direction: "newer", limit: CATCH_UP_PAGE, offset };
      const known = await this.#gaps.known(id, offset);
      // An old server ignores it, and answers what is known too: that is dropped by its id.
      if (known !== null) query.known = known;
      const page = await this.#api.untilAnswered(() => this.#api.scroll(query, signal), signal);
      for (const message of page.messages) {
        const history = oldest !== null && message.id <= oldest;
        const outcome = this.#store.deliver(message, history ? "history" : "scroll");
        if (outcome === "new" && !history) missed += 1;
      }
      // An offset that does not move would be an endless loop of ours.
      if (page.next_offset === null || page.next_offset <= offset) return missed;
      offset = page.next_offset;
    }
  }

  async #readNewest(channelId, signal, firstVisit) {
    const query = { channel_id: channelId, limit: HISTORY_PAGE };
    const page = await this.#api.untilAnswered(() => this.#api.scroll(query, signal), signal);
    for (const message of page.messages) this.#store.deliver(message, "history");
    this.#store.timeline(channelId).historyOffset = page.next_offset;
    this.#store.countUnread(channelId, firstVisit);
  }

  /** The next older page of a channel, if there is one and none is under way. */
  async loadOlder(channelId) {
    const timeline = this.#store.timeline(channelId);
    if (timeline.loadingOlder || typeof timeline.historyOffset !== "string") return;
    timeline.loadingOlder = true;
    timeline.olderFailed = false;
    this.#store.changed();
    const query = { channel_id: channelId, limit: HISTORY_PAGE, offset: timeline.historyOffset };
    try {
      const page = await this.#api.scroll(query);
      for (const message of page.messages) this.#store.deliver(message, "history");
      timeline.historyOffset = page.next_offset;
    } catch {
      timeline.olderFailed = true;
    }
    timeline.loadingOlder = false;
    this.#store.changed();
  }

  /** Channel frames are hints and come in bursts: one read for all of them. */
  refreshChannelsSoon() {
    clearTimeout(this.#channelsTimer);
    this.#channelsTimer = setTimeout(() => this.refreshChannels(), CHANNELS_DEBOUNCE_MS);
  }

  async refreshChannels() {
    this.#channelsDue = true;
    // Bounded: a read that hangs here would hold up the one of the next catch-up.
    const signal = AbortSignal.timeout(CHANNELS_READ_MS);
    try {
      const channels = await this.#readList(signal);
      await this.#readNames(signal);
      for (const { channel_id: id } of channels) {
        if (this.#store.timeline(id).historyOffset === undefined) {
          const [opening, startedAt] = [this.#gaps.openingOf(id), this.#gaps.now()];
          await this.#readNewest(id, signal, false);
          this.#gaps.channelRead(id, opening, startedAt);
        }
      }
      this.#channelsDue = false;
    } catch {
      // Still due: the end of the next catch-up asks again.
    }
  }

  /** One read at a time, so that an older answer never overwrites a newer one. */
  #readList(signal) {
    const read = async () => {
      const list = await this.#api.untilAnswered(() => this.#api.channels(signal), signal);
      const { gone } = this.#store.setChannels(list);
      for (const channel of gone) {
        this.#store.log.add(`left ${channel.type === "DM" ? "a DM" : `# ${channel.name}`}`);
      }
      return list;
    };
    this.#listRead = this.#listRead.then(read, read);
    return this.#listRead;
  }

  /** DMs are named after their other member; the open channel shows its members. */
  async #readNames(signal) {
    for (const channel of this.#store.channels.values()) {
      const id = channel.channel_id;
      const needed = channel.type === "DM" || id === this.#store.activeId;
      const stale = this.#staleMembers.has(id);
      if (needed && (stale || !this.#store.members.has(id))) await this.loadMembers(id, signal);
      else if (stale) this.#store.members.delete(id);
    }
  }

  async loadMembers(channelId, signal) {
    this.#staleMembers.delete(channelId);
    try {
      const members = await this.#api.members(channelId, signal);
      this.#store.members.set(channelId, members);
      this.#store.changed();
    } catch (error) {
      this.#staleMembers.add(channelId);
      if (signal?.aborted) throw error;
    }
  }
}

/** What is known of one gap: from the `ready` or `resync` that showed it to its closing. */
function newGap(resumed, attachedAt, story) {
  const now = performance.now();
  const counts = { replayed: 0, scrolled: 0 };
  return { resumed, attachedAt, story, readyAt: now, lastAt: now, ...counts, quiet: null };
}

function count(messages) {
  return messages === 1 ? "1 missed message" : `${messages} missed messages`;
}
