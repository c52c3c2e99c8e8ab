// A fake server behind `fetch` and `WebSocket`, which a test can make refuse or hang.

import { Core } from "../../localstack/embedded-stack/page/core.js";
import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { Locks, storagesOn } from "./fakes.mjs";

export class FakeServer {
  channels = [];
  /** The posted messages, and every call as `METHOD path`. */
  posted = [];
  calls = [];
  /** Newest first, the answer to every `/scroll`. */
  history = [];
  /** The answer to `/scroll` of a thread, by its root, and the answer of `/threads`. */
  replies = new Map();
  threads = [];
  /** The answer of `/unread`, and the marks of every `/read`. */
  unread = [];
  marks = [];
  /** The query of every `/connect`. */
  queries = [];
  /** Overrides an answer with `[status, body]`, or a promise of it; undefined keeps the usual. */
  instead = () => undefined;
  resumed = false;
  /** Whether `ready` says that the user is invisible. */
  isInvisible = false;
  /** What `ready` says that the node takes, and the frames that came after `hello`. */
  accepts = ["ping", "typing", "view", "idle"];
  /** The answer to every `/channels/{id}/members`. */
  members = [];
  frames = [];
  answersPings = true;
  #socket = null;

  constructor(names) {
    this.channels = names.map((name, at) => {
      return { channel_id: `C${lowestIdAt(at)}`, type: "GROUP_CHANNEL", name, created_by: "bob" };
    });
    globalThis.fetch = async (path, { method, body }) => {
      const { pathname, searchParams } = new URL(path, "http://server");
      this.calls.push(`${method} ${pathname}`);
      if (pathname === "/connect") this.queries.push(searchParams.toString());
      const channelId = searchParams.get("channel_id");
      const instead = this.instead(`${method} ${pathname}`, channelId, searchParams);
      const [status, answer] = (await instead) ?? this.#answer(method, pathname, body, searchParams);
      return new Response(JSON.stringify(answer), { status });
    };
    const server = this;
    globalThis.WebSocket = class {
      constructor() {
        server.#socket = this;
        queueMicrotask(() => this.onopen?.());
      }

      send(text) {
        server.#receive(JSON.parse(text));
      }

      close() {}
    };
  }

  /** Makes one of the channels a meeting, which keeps nothing. */
  keepNothing(name) {
    return this.#setContract(name, "ephemeral");
  }

  /** Makes one of the channels deliver first. */
  deliverFirst(name) {
    return this.#setContract(name, "deliver_first");
  }

  #setContract(name, contract) {
    this.channels.find((channel) => channel.name === name).contract = contract;
    return this.idOf(name);
  }

  idOf(name) {
    return this.channels.find((channel) => channel.name === name).channel_id;
  }

  push(frame) {
    this.#socket.onmessage?.({ data: JSON.stringify(frame) });
  }

  cut() {
    this.#socket.onclose?.({ code: 1006, reason: "" });
  }

  /** The frames of a type, without it. */
  framesOf(wanted) {
    const frames = this.frames.filter(({ type }) => type === wanted);
    return frames.map(({ type: _, ...fields }) => fields);
  }

  #receive(frame) {
    const server_time = Date.now();
    if (frame.type !== "hello") {
      this.frames.push(frame);
      if (frame.type === "ping" && this.answersPings)
        this.push({ type: "pong", cursor: "c-pong", server_time, fresh: true });
      return;
    }
    const { resumed, accepts, isInvisible: invisible } = this;
    const identity = { node_id: "N1", cursor: "c1", resumed, accepts, ...(invisible && { invisible }) };
    this.push({ type: "ready", ...identity, server_time, tick_ms: 15_000 });
  }

  #answer(method, path, body, query) {
    const server_time = Date.now();
    if (path === "/dev/token") return [200, { token: "a.b.c" }];
    if (path === "/connect") {
      const node = { node_id: "N1", url: "ws://node/socket", ticket: "t", alternates: [] };
      return [200, { ...node, delay_ms: 0, server_time }];
    }
    if (path === "/channels") return [200, { channels: this.channels, next_offset: null }];
    if (path === "/unread") return [200, { channels: this.unread, next_offset: null }];
    if (path === "/read") {
      const { marks } = JSON.parse(body);
      this.marks.push(...marks);
      return [200, { marks: marks.map((mark) => ({ ...mark, moved: true })) }];
    }
    if (path === "/threads") return [200, { threads: this.threads, next_offset: null }];
    if (path.endsWith("/follow")) return [200, { followed: method === "PUT" }];
    if (path === "/scroll") {
      const thread = query.get("thread");
      const messages = thread === null ? this.history : (this.replies.get(thread) ?? []);
      return [200, { messages, next_offset: null }];
    }
    if (path.endsWith("/members")) return [200, { members: this.members, next_offset: null }];
    if (path === "/messages") {
      const message = { ...JSON.parse(body), sender_id: "alice", duplicate: false };
      this.posted.push(message.message);
      return [200, { ...message, server_time }];
    }
    return [404, { code: "not_found" }];
  }
}

/** Starts a page without its document. It goes offline after the test, so that no timer runs on. */
export function start(test) {
  const core = new Core("demo", "alice", storagesOn(), new Locks());
  core.start();
  test.after(() => core.setOffline(true));
  return core;
}
