// The connection: gets a node from `/connect`, opens a socket to it, and reconnects when it ends.
//
// Main path: `#run` loops over `#place` (`/connect` and the wait that it gives) and `#session` (one
// WebSocket), whose close code decides what comes next. Invariants: one loop at a time (an older
// one finds its signal aborted and stops); the cursor moves only with frames that were handled; a
// frame goes only to a node whose `ready` accepts its type. Not here: what messages mean, and the
// document.

import { closePolicy, closeWait } from "./closes.js";
import { fullJitter, retryWait, sleep } from "./pace.js";
import { Silence } from "./silence.js";

// A connection that lived less than this counts as a failure: the next one backs off.
const SETTLED_MS = 2_000;
const SILENCE_CHECK_MS = 1_000;

/** A node id in short: its last characters, because ids made in the same minute begin alike. */
export function shortNode(nodeId) {
  return nodeId.length > 12 ? `${nodeId.slice(0, 1)}…${nodeId.slice(-5)}` : nodeId;
}

export class Connection {
  /** connecting · catching_up · live · reconnecting · offline · stopped */
  phase = "connecting";
  phaseSince = performance.now();
  node = null;
  alternates = [];
  cursor = null;
  resumed = null;
  lastTick = null;
  /** The latest answer to a ping: when it came and how long it took. */
  lastPong = null;
  /** When the next attempt starts, while it waits. By `performance.now()`, like all times here. */
  retryAt = null;
  stopReason = null;
  #api;
  #log;
  #handler;
  #loop = null;
  /** The wait under way: how to end it, and whether the server asked for it. */
  #waiting = null;
  #lostAt = null;
  #failures = 0;
  /** The socket from its `ready` to its end: `accepts`, `socket` and its `silence`. */
  #attached = null;
  #lastRef = 0;
  /** The node that the next `/connect` reports. */
  #failed = null;

  /**
   * `handler` has `ready(frame, session)`, `frame(frame, session)` and `changed()`. A session has
   * `signal` (aborted at its end), `story` (the log line of this reconnect) and `lostAt` (when the
   * connection was lost, or asked for again; null on the first visit).
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
    this.#log.add("went offline: socket closed, messages are queued", "warn");
    this.#enter("offline");
  }

  goOnline() {
    const awayS = Math.round((performance.now() - this.phaseSince) / 1_000);
    // Measures the reconnect alone, without the time spent offline.
    if (this.#lostAt !== null) this.#lostAt = performance.now();
    this.#begin(null, this.#log.add(`back online after ${awayS} s`));
  }

  /** Connects again after a close code that forbids reconnecting: a person asked for it. */
  restart() {
    this.#begin(null, this.#log.add("asked to connect again"));
  }

  /** Tries again now, because a person asked: ends any wait, or an attempt that hangs. */
  retryNow() {
    if (this.#waiting !== null) return this.#waiting.end.abort();
    if (this.phase !== "connecting" && this.phase !== "reconnecting") return;
    this.#begin(this.#failed, this.#log.add("asked to retry"));
  }

  /** Ends a back-off, because the network may be back; not a wait that the server asked for. */
  skipBackOff() {
    if (this.#waiting?.isAsked === false) this.#waiting.end.abort();
  }

  get isAttached() {
    return this.#attached !== null;
  }

  /** Whether there is a socket whose node takes frames of a type. */
  accepts(type) {
    return this.#attached?.accepts.has(type) === true;
  }

  /** Sends a frame. False without a socket, or if its node does not take such frames. */
  send(frame) {
    if (!this.accepts(frame.type)) return false;
    this.#attached.socket.send(JSON.stringify(frame));
    return true;
  }

  /** A number for a frame that is answered: no two of this page are equal. */
  nextRef() {
    this.#lastRef += 1;
    return this.#lastRef;
  }

  /** Asks whether the path to the node is alive: without an answer the connection is lost. */
  ping() {
    const silence = this.#attached?.silence;
    if (silence?.mayPing && this.send({ type: "ping" })) silence.pinged();
  }

  /** For how long nothing has come from the node; 0 without a socket. */
  get quietMs() {
    return this.#attached?.silence.quietMs ?? 0;
  }

  /** Everything that was missed is here. */
  caughtUp() {
    if (this.phase === "catching_up") this.#enter("live");
  }

  catchingUp() {
    if (this.phase === "live") this.#enter("catching_up");
  }

  #begin(failed, story) {
    this.#loop?.abort();
    this.#waiting = null;
    this.retryAt = null;
    this.#loop = new AbortController();
    this.#failures = 0;
    this.stopReason = null;
    this.#enter(this.#lostAt === null ? "connecting" : "reconnecting");
    this.#failed = failed;
    this.#run(story, this.#loop.signal);
  }

  async #run(firstStory, signal) {
    let story = firstStory;
    while (!signal.aborted) {
      const placement = await this.#place(this.#failed, story, signal);
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
        story.then(`could not reach node ${shortNode(placement.node_id)} (${shown})`, "warn");
      }
      if (policy.next === "stop") return this.#stop(policy.why, story);
      if (policy.next === "fresh_token") this.#api.forgetToken();
      this.#failed = policy.next === "elsewhere" ? placement.node_id : null;
      this.#failures = end.livedMs >= SETTLED_MS ? 0 : this.#failures + 1;
      this.#enter("reconnecting");
      // The first attempt starts at once: the server spreads clients by `delay_ms`.
      if (policy.next === "wait") {
        const waitMs = closeWait(end.code, end.reason) + fullJitter(this.#failures);
        await this.#wait(waitMs, signal, true);
      } else if (this.#failures > 1) await this.#wait(fullJitter(this.#failures - 2), signal);
    }
  }

  /** Asks for a node until it gets one, then waits for `delay_ms`. */
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
        await this.#wait(placement.delay_ms, signal, true);
        return signal.aborted ? null : placement;
      } catch (error) {
        if (signal.aborted) return null;
        if (!error.retryable) {
          this.#stop(`/connect answered ${error.code}`, story);
          return null;
        }
        this.node = null;
        this.alternates = [];
        if (attempt === 0) story.then(`/connect: ${error.code}, retrying`, "warn");
        const isAsked = error.retryAfterMs > 0;
        await this.#wait(retryWait(error.retryAfterMs, attempt), signal, isAsked);
      }
    }
    return null;
  }

  /** One WebSocket, from opening to close. Never rejects. */
  #session(placement, story, signal) {
    return new Promise((resolve) => {
      const end = new AbortController();
      const session = { signal: end.signal, story, lostAt: this.#lostAt };
      let readyAt = null;
      let socket;

      const finish = (code, reason = "") => {
        if (end.signal.aborted) return;
        clearInterval(watch);
        this.#attached = null;
        end.abort();
        signal.removeEventListener("abort", leave);
        // Detach first: a late frame or close event of this socket must not reach the next one.
        if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
        socket?.close();
        const livedMs = readyAt === null ? 0 : performance.now() - readyAt;
        resolve({ code, reason, wasReady: readyAt !== null, livedMs });
      };
      const leave = () => finish(1000);
      const silence = new Silence();
      const watch = setInterval(() => {
        const verdict = silence.verdict();
        if (verdict !== null) finish(verdict);
      }, SILENCE_CHECK_MS);
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
        silence.heard();
        const frame = parseFrame(data);
        if (!frame) return;
        if (frame.type === "ready") {
          readyAt = performance.now();
          this.#attached = { accepts: new Set(frame.accepts ?? []), socket, silence };
        }
        if (frame.type === "ready" || frame.type === "tick") silence.expect(frame.tick_ms);
        if (frame.type === "pong")
          this.lastPong = { at: performance.now(), tookMs: silence.sincePingMs };
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
      // After `resumed:true` the replayed frames move the cursor. Taking the node's cursor now
      // would skip the rest of the replay if the socket breaks before its end.
      if (!frame.resumed) this.cursor = frame.cursor;
      this.#handler.ready(frame, session);
      return;
    }
    if (isTick(frame)) {
      const wasFresh = this.lastTick?.fresh ?? true;
      this.lastTick = { at: performance.now(), fresh: frame.fresh };
      if (wasFresh && !frame.fresh)
        this.#log.add("the node has lost its message stream and repairs it", "warn");
      if (!wasFresh && frame.fresh) this.#log.add("the node has its message stream again", "good");
    }
    this.#handler.frame(frame, session);
    if (typeof frame.cursor === "string") this.cursor = frame.cursor;
    this.#handler.changed();
  }

  /** `isAsked`: the server asked for the wait, so only a person may end it early. */
  async #wait(ms, signal, isAsked = false) {
    if (ms <= 0 || signal.aborted) return;
    const waiting = { end: new AbortController(), isAsked };
    this.#waiting = waiting;
    this.retryAt = performance.now() + ms;
    this.#handler.changed();
    await sleep(ms, AbortSignal.any([signal, waiting.end.signal]));
    // A newer loop may have replaced this one: leave its wait alone.
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

  /** Before the first `ready` there is no cursor, and nothing to lose. */
  #noteLoss() {
    if (this.cursor !== null) this.#lostAt ??= performance.now();
  }

  #enter(phase) {
    if (phase === "offline" || phase === "stopped") {
      this.node = null;
      this.alternates = [];
      this.retryAt = null;
    }
    if (phase !== this.phase) this.phaseSince = performance.now();
    this.phase = phase;
    this.#handler.changed();
  }
}

/** Whether a frame says how the node is: a tick, or the answer to a ping. */
export function isTick({ type }) {
  return type === "tick" || type === "pong";
}

/** A frame as an object. Null, to be ignored, for anything that is not a frame. */
function parseFrame(data) {
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
