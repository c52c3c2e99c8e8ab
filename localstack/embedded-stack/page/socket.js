// The connection: asks for a node, says hello, listens, and knows what each close code asks for.
//
// Main path: `#run` loops over placement (`/connect`), the wait that the server chose, and
// `#session` (one WebSocket), whose end decides how the loop goes on. Invariants: one loop at a
// time (an older one finds its signal aborted and stops); the cursor moves only with frames that
// were handed over. Not here: what messages mean, and the document.

import { fullJitter, retryWait, sleep, WAIT_MAX_MS } from "./pace.js";

// No frame for one and a half ticks, and for 25 s at least: the path is dead though TCP is not.
const SILENCE_MS = 25_000;
const SILENT_TICKS = 1.5;
// A connection that died younger than this is no proof that the next one will live.
const SETTLED_MS = 2_000;
const FLOOD_WAIT_MS = 5_000;
/** Local verdicts, beside the protocol's close codes. */
const SILENT = "silent for too long";

/** What a close code asks for: `elsewhere` reports the node as failed, `stop` stays closed. */
export function closePolicy(code) {
  switch (code) {
    case 1002:
    case 1003:
    case 1007:
    case 1009:
      return { next: "stop", why: "the node refused a frame of this page" };
    case 1013:
      return { next: "wait", why: "the node is busy" };
    case 4400:
      return { next: "stop", why: "the node did not understand this page" };
    case 4401:
      return { next: "fresh_token", why: "ticket or token no longer valid" };
    case 4403:
      return { next: "stop", why: "this user was revoked in the workspace" };
    case 4408:
      return { next: "resume", why: "the hello came too late" };
    case 4409:
      return { next: "stop", why: "this user has more than 10 sockets open on that node" };
    case 4429:
      return { next: "wait", why: "too many frames from here" };
    case 4508:
      return { next: "resume", why: "this page read too slowly" };
    default:
      return { next: "elsewhere", why: CLOSE_WORDS.get(code) ?? "closed" };
  }
}

const CLOSE_WORDS = new Map([
  [1001, "node going away"],
  [1006, "connection lost"],
  [1011, "node failed inside"],
  [1012, "node restarting"],
  [4411, "that node cannot judge this ticket"],
]);

/** How long a close asks to wait: 1013 says it in its reason, `delay_ms=<n>`. */
export function closeWait(code, reason) {
  const asked = code === 1013 ? /^delay_ms=(\d+)$/.exec(reason ?? "") : null;
  return asked ? Math.min(Number(asked[1]), WAIT_MAX_MS) : FLOOD_WAIT_MS;
}

/** The recognisable part of a node id: its end, because ids of one minute begin alike. */
export function shortNode(nodeId) {
  return nodeId.length > 12 ? `${nodeId.slice(0, 1)}…${nodeId.slice(-5)}` : nodeId;
}

export class Connection {
  /** connecting · catching_up · live · reconnecting · offline · stopped */
  phase = "connecting";
  phaseSince = Date.now();
  node = null;
  alternates = [];
  cursor = null;
  resumed = null;
  lastTick = null;
  /** When the next attempt starts, while one is waited for. */
  retryAt = null;
  stopReason = null;
  #api;
  #log;
  #handler;
  #loop = null;
  #waiting = null;
  #lostAt = null;
  #failures = 0;

  /**
   * `handler` has `ready(frame, session)`, `frame(frame, session)` and `changed()`. A session has `signal` (aborted at its end), `story`
   * (the log line of this reconnect) and `lostAt` (when the
   * connection was lost, or sought again; null on the first visit).
   */
  constructor(api, log, handler) {
    this.#api = api;
    this.#log = log;
    this.#handler = handler;
  }

  start() {
    this.#begin(null, this.#log.add("connecting"));
  }

  goOffline() {
    this.#loop?.abort();
    this.#noteLoss();
    this.#log.add("went offline: socket dropped, messages are queued", "warn");
    this.#enter("offline");
  }

  goOnline() {
    const awayS = Math.round((Date.now() - this.phaseSince) / 1_000);
    // The reconnect is timed from here: how long one stayed away says nothing about it.
    if (this.#lostAt !== null) this.#lostAt = performance.now();
    this.#begin(null, this.#log.add(`back online after ${awayS} s`));
  }

  /** After a close that asked for no reconnect: only a person starts again. */
  restart() {
    this.#begin(null, this.#log.add("asked to connect again"));
  }

  /** The network came back: waiting any longer would be for nothing. */
  skipWait() {
    this.#waiting?.abort();
  }

  /** Called when everything missed is here. */
  caughtUp() {
    if (this.phase === "catching_up") this.#enter("live");
  }

  catchingUp() {
    if (this.phase === "live") this.#enter("catching_up");
  }

  #begin(failed, story) {
    this.#loop?.abort();
    this.#loop = new AbortController();
    this.#failures = 0;
    this.stopReason = null;
    this.#enter(this.#lostAt === null ? "connecting" : "reconnecting");
    this.#run(failed, story, this.#loop.signal);
  }

  async #run(firstFailed, firstStory, signal) {
    let failed = firstFailed;
    let story = firstStory;
    while (!signal.aborted) {
      const placement = await this.#place(failed, story, signal);
      if (!placement) return;
      const end = await this.#session(placement, story, signal);
      if (signal.aborted) return;

      const policy = closePolicy(end.code);
      const shown = typeof end.code === "number" ? `${policy.why}, ${end.code}` : end.code;
      if (end.wasReady) {
        this.#noteLoss();
        this.node = null;
        story = this.#log.add(`lost node ${shortNode(placement.node_id)} (${shown})`, "warn");
      } else {
        story.then(`node ${shortNode(placement.node_id)} not reached (${shown})`, "warn");
      }
      if (policy.next === "stop") return this.#stop(policy.why, story);
      if (policy.next === "fresh_token") this.#api.forgetToken();
      failed = policy.next === "elsewhere" ? placement.node_id : null;
      this.#failures = end.livedMs >= SETTLED_MS ? 0 : this.#failures + 1;
      this.#enter("reconnecting");
      // The first attempt goes out at once: the spread is the server's, in `delay_ms`.
      if (policy.next === "wait")
        await this.#wait(closeWait(end.code, end.reason) + fullJitter(this.#failures), signal);
      else if (this.#failures > 1) await this.#wait(fullJitter(this.#failures - 2), signal);
    }
  }

  /** Asks for a node until there is one, then waits as long as the server said. */
  async #place(failed, story, signal) {
    story.then(failed ? `asked /connect?failed=${shortNode(failed)}` : "asked /connect");
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        const placement = await this.#api.connect(failed, signal);
        if (signal.aborted) return null;
        this.node = { id: placement.node_id, url: placement.url };
        this.alternates = placement.alternates ?? [];
        const step = `node ${shortNode(placement.node_id)}, waited ${placement.delay_ms} ms`;
        story.then(step);
        await this.#wait(placement.delay_ms, signal);
        return signal.aborted ? null : placement;
      } catch (error) {
        if (signal.aborted) return null;
        if (!error.retryable) {
          this.#stop(`/connect answered ${error.code}`, story);
          return null;
        }
        this.node = null;
        this.alternates = [];
        if (attempt === 0)
          story.then(`/connect: ${error.code}, trying again with full jitter`, "warn");
        await this.#wait(retryWait(error.retryAfterMs, attempt), signal);
      }
    }
    return null;
  }

  /** One WebSocket from upgrade to end. Resolves, never rejects. */
  #session(placement, story, signal) {
    return new Promise((resolve) => {
      const end = new AbortController();
      const session = { signal: end.signal, story, lostAt: this.#lostAt };
      let readyAt = null;
      // By a clock that nobody sets: a jump of the wall clock is no silence, and hides none.
      let heardAt = performance.now();
      let silenceMs = SILENCE_MS;
      let socket;

      const finish = (code, reason = "") => {
        if (end.signal.aborted) return;
        clearInterval(watch);
        end.abort();
        signal.removeEventListener("abort", leave);
        // Detached before closing: a late frame or close of this socket must not reach the next.
        if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
        socket?.close();
        const livedMs = readyAt === null ? 0 : performance.now() - readyAt;
        resolve({ code, reason, wasReady: readyAt !== null, livedMs });
      };
      const leave = () => finish(1000);
      const watch = setInterval(() => {
        if (performance.now() - heardAt > silenceMs) finish(SILENT);
      }, 1_000);
      signal.addEventListener("abort", leave);

      try {
        socket = new WebSocket(placement.url);
      } catch {
        return finish(1006);
      }
      socket.onopen = () => {
        const hello = { type: "hello", ticket: placement.ticket };
        if (this.cursor !== null) hello.cursor = this.cursor;
        socket.send(JSON.stringify(hello));
      };
      socket.onmessage = ({ data }) => {
        heardAt = performance.now();
        const frame = parseFrame(data);
        if (!frame) return;
        if (frame.type === "ready") readyAt = performance.now();
        if ((frame.type === "ready" || frame.type === "tick") && Number.isFinite(frame.tick_ms))
          silenceMs = Math.max(SILENCE_MS, SILENT_TICKS * frame.tick_ms);
        this.#receive(frame, session);
      };
      socket.onclose = ({ code, reason }) => finish(code, reason);
    });
  }

  #receive(frame, session) {
    if (frame.type === "ready") {
      this.node = { id: frame.node_id, url: this.node?.url ?? "" };
      this.resumed = frame.resumed;
      this.#lostAt = null;
      this.#enter("catching_up");
      // After `resumed:true` the replay moves the cursor: taking the node's own one before the
      // replay is here would skip what a break in the middle leaves out.
      if (!frame.resumed) this.cursor = frame.cursor;
      this.#handler.ready(frame, session);
      return;
    }
    if (frame.type === "tick") {
      const wasFresh = this.lastTick?.fresh ?? true;
      this.lastTick = { at: Date.now(), fresh: frame.fresh };
      if (wasFresh && !frame.fresh)
        this.#log.add("the path behind the node is being repaired", "warn");
      if (!wasFresh && frame.fresh) this.#log.add("the path behind the node works again", "good");
    }
    this.#handler.frame(frame, session);
    if (typeof frame.cursor === "string") this.cursor = frame.cursor;
    this.#handler.changed();
  }

  async #wait(ms, signal) {
    if (ms <= 0 || signal.aborted) return;
    const waiting = new AbortController();
    this.#waiting = waiting;
    this.retryAt = Date.now() + ms;
    this.#handler.changed();
    await sleep(ms, AbortSignal.any([signal, waiting.signal]));
    // A loop that was replaced meanwhile must not clear its successor's wait.
    if (this.#waiting !== waiting) return;
    this.#waiting = null;
    this.retryAt = null;
  }

  #stop(reason, story) {
    this.stopReason = reason;
    story.then(`not reconnecting: ${reason}`, "bad");
    this.#noteLoss();
    this.#enter("stopped");
  }

  /** Before the first `ready` there is nothing to lose, and no cursor. */
  #noteLoss() {
    if (this.cursor !== null) this.#lostAt ??= performance.now();
  }

  #enter(phase) {
    if (phase === "offline" || phase === "stopped") {
      this.node = null;
      this.alternates = [];
      this.retryAt = null;
    }
    if (phase !== this.phase) this.phaseSince = Date.now();
    this.phase = phase;
    this.#handler.changed();
  }
}

/** A frame as an object; what is not one is ignored, as unknown types and fields are. */
function parseFrame(data) {
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
