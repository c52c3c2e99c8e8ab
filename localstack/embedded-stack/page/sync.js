// Keeping up: what each frame means for the store, catch-up after a gap, history pages.
//
// Main path: `ready` → (resumed) count what is replayed, or (not resumed) re-read the channels,
// scroll each one from before the gap → caught up. Invariants: attach first, read then: what is
// stored before the read is in it, what comes after is pushed; a catch-up that broke off is due
// again at the next `ready`, even if that one resumes.

import { sleep } from "./api.js";
import { lowestIdAt, idBefore, timeOf } from "./store.js";

// The server's OVERLAP: how far back a message may still appear without a `late` mark.
const OVERLAP_MS = 10 * 60_000;
const HISTORY_PAGE = 20;
const CATCH_UP_PAGE = 100;
const CATCH_UP_PARALLEL = 4;
/** A replay has no end mark: this much quiet after it counts as one. */
const REPLAY_QUIET_MS = 250;
const REPLAY_WATCH_MS = 30_000;
const CHANNELS_DEBOUNCE_MS = 150;
const CHANNELS_READ_MS = 10_000;

export class Sync {
  #api;
  #store;
  #connection = null;
  #scrollDue = false;
  #firstVisit;
  /** Server time up to which nothing can be missing here: `late` marks after it concern us. */
  #syncedUntil = 0;
  #gap = null;
  #channelsTimer = null;
  #channelsDue = false;
  #staleMembers = new Set();
  #channelsRead = Promise.resolve();

  constructor(api, store) {
    this.#api = api;
    this.#store = store;
    this.#firstVisit = !store.hasReadMarks;
  }

  attach(connection) {
    this.#connection = connection;
  }

  async onReady(frame, session) {
    const first = this.#syncedUntil === 0;
    const story = session.story.then("attached");
    this.#gap = newGap(frame.resumed, frame.server_time, story);
    if (session.lostAt !== null) {
      this.#store.clearMissed();
      const tookMs = Date.now() - session.lostAt;
      this.#store.reconnect = { tookMs, catchUpMs: null, resumed: frame.resumed, missed: 0 };
    }
    if (!frame.resumed) this.#scrollDue = true;
    if (this.#scrollDue) return this.#scrollAll(this.#gap, session, first);
    this.#armQuiet(this.#gap, session);
  }

  onFrame(frame, session) {
    if (frame.type === "message") this.#onMessage(frame.message, session);
    else if (frame.type === "channel") this.#onChannel(frame);
    else if (frame.type === "resync") this.#onResync(frame, session);
    else if (frame.type === "tick" && frame.fresh && !this.#scrollDue) {
      this.#syncedUntil = Math.max(this.#syncedUntil, frame.server_time);
    }
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

  async #onResync(frame, session) {
    const story = this.#store.log.add(`asked to re-read (${frame.reason})`, "warn");
    this.#scrollDue = true;
    this.#connection.catchingUp();
    const delayMs = frame.delay_ms ?? 0;
    await sleep(delayMs, session.signal);
    if (session.signal.aborted) return;
    this.#store.clearMissed();
    this.#store.reconnect = { tookMs: null, catchUpMs: null, resumed: false, missed: 0 };
    this.#gap = newGap(
      false,
      this.#api.clock.now(),
      story.then(`waited ${delayMs} ms`).then("reading"),
    );
    await this.#scrollAll(this.#gap, session, false);
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
    this.#syncedUntil = Math.max(this.#syncedUntil, gap.attachedAt);
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

  async #scrollAll(gap, session, first) {
    const { signal } = session;
    const until = gap.attachedAt;
    try {
      const channels = await this.#readChannels(signal);
      const queue = [...channels];
      const worker = async () => {
        for (let next = queue.shift(); next; next = queue.shift()) {
          const missed = await this.#scrollChannel(next, signal, first && this.#firstVisit);
          // After the wait: `+= await` would add to what was there before the other workers did.
          gap.scrolled += missed;
        }
      };
      await Promise.all(Array.from({ length: CATCH_UP_PARALLEL }, worker));
    } catch (error) {
      // The session ended in the middle: `#scrollDue` makes the next one begin again.
      if (!signal.aborted) gap.story.then(`catch-up failed: ${error.code ?? error.message}`, "bad");
      return;
    }
    if (signal.aborted) return;
    this.#scrollDue = false;
    gap.lastAt = performance.now();
    this.#store.counters.scrolled += gap.scrolled;
    this.#syncedUntil = Math.max(this.#syncedUntil, until);
    this.#closeGap(gap);
  }

  /** Reads what a channel may miss; answers how many messages were new and had been missed. */
  async #scrollChannel(channel, signal, firstVisit) {
    const timeline = this.#store.timeline(channel.channel_id);
    try {
      if (timeline.historyOffset === undefined) {
        await this.#readNewest(channel.channel_id, signal, firstVisit);
        return 0;
      }
      return await this.#scrollNewer(channel, timeline, signal);
    } catch (error) {
      // Removed meanwhile: the list of channels tells it too.
      if (error.code === "channel_not_found") return 0;
      throw error;
    }
  }

  async #scrollNewer(channel, timeline, signal) {
    const newest = timeline.newestStoredId();
    let offset = newest === null ? null : lowestIdAt(timeOf(newest) - OVERLAP_MS);
    const late = channel.late;
    if (offset !== null && late && millis(late.at) > this.#syncedUntil) {
      const before = idBefore(late.id);
      if (before < offset) offset = before;
    }
    // Older than what was on the page: unread history, not something that was missed.
    const known = timeline.historyOffset;
    let missed = 0;
    do {
      const query = { channel_id: channel.channel_id, direction: "newer", limit: CATCH_UP_PAGE };
      if (offset !== null) query.offset = offset;
      const page = await this.#api.untilAnswered(() => this.#api.scroll(query, signal), signal);
      for (const message of page.messages) {
        const history = known !== null && message.id <= known;
        const outcome = this.#store.deliver(message, history ? "history" : "scroll");
        if (outcome === "new" && !history) missed += 1;
      }
      offset = page.next_offset;
    } while (offset !== null);
    return missed;
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
      const channels = await this.#readChannels(signal);
      for (const { channel_id: id } of channels) {
        if (this.#store.timeline(id).historyOffset === undefined) {
          await this.#readNewest(id, signal, false);
        }
      }
      this.#channelsDue = false;
    } catch {
      // Still due: the end of the next catch-up asks again.
    }
  }

  /** One read at a time, so that an older answer never overwrites a newer one. */
  #readChannels(signal) {
    const read = async () => {
      const list = await this.#api.untilAnswered(() => this.#api.channels(signal), signal);
      const { gone } = this.#store.setChannels(list);
      for (const channel of gone) {
        this.#store.log.add(`left ${channel.type === "DM" ? "a DM" : `# ${channel.name}`}`);
      }
      await this.#readNames(signal);
      return list;
    };
    this.#channelsRead = this.#channelsRead.then(read, read);
    return this.#channelsRead;
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

/** Unix ms of a time that is RFC 3339 or already a number. */
function millis(time) {
  return typeof time === "number" ? time : Date.parse(time);
}
