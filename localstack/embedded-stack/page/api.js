// REST calls, problem errors and the token. A call on a message takes the log that it is in.
//
// Main path: `request` gets a token, calls fetch, and throws a `Problem` for an error response and
// `Unreachable` if there is none. Invariants: an expired token is renewed and the call repeated
// once; writes are not retried here, because only the caller knows whether a repeat is safe.

import { ServerClock } from "./clock.js";
import { channelOf, rootOf } from "./logs.js";
import { Pace } from "./pace.js";

// The server answers a send within 6 s. After 10 s its outcome counts as unknown.
const REQUEST_TIMEOUT_MS = 10_000;
/** The largest file, on a slow line. */
const FILE_TIMEOUT_MS = 15 * 60_000;
const TOKEN_MARGIN_MS = 30_000;
const LISTED_PAGE = 20;

/** An error response of the server, `application/problem+json`. */
export class Problem extends Error {
  constructor(status, body, retryAfterMs) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.status = status;
    this.code = body.code || `http_${status}`;
    this.field = body.field;
    this.requestId = body.request_id;
    this.retryable = status === 429 || status >= 500 || body.retryable === true;
    this.retryAfterMs = body.retry_after_ms ?? retryAfterMs ?? 0;
  }
}

/** No response: network failure, timeout or the offline switch. A write may have been stored. */
export class Unreachable extends Error {
  constructor(reason) {
    super(reason);
    this.code = "unreachable";
    this.retryable = true;
    this.retryAfterMs = 0;
  }
}

export class Api {
  clock = new ServerClock();
  /** Whether the ticket that is asked for makes the user invisible. */
  asksInvisible = () => false;
  #workspaceId;
  #userId;
  #token = null;
  #tokenExpiresAt = 0;
  #renewal = null;
  #offline = false;
  #cut = new AbortController();
  #pace = new Pace();

  constructor(workspaceId, userId) {
    this.#workspaceId = workspaceId;
    this.#userId = userId;
  }

  get offline() {
    return this.#offline;
  }

  /** Also aborts calls in flight. The outcome of an aborted send is unknown. */
  setOffline(offline) {
    this.#offline = offline;
    if (offline) this.#cut.abort();
    else this.#cut = new AbortController();
  }

  forgetToken() {
    this.#token = null;
  }

  connect(failed, signal) {
    return this.#get("/connect", { ...(failed && { failed }), ...this.#visibility() }, signal);
  }

  /** A ticket for the node of a socket that is open; for another node if that one has gone. */
  renewal(nodeId) {
    return this.#get("/connect", { renew: nodeId, ...this.#visibility() });
  }

  #visibility() {
    return this.asksInvisible() ? { invisible: "true" } : {};
  }

  scroll(query, signal) {
    return this.#get("/scroll", query, signal);
  }

  /** All channels of the caller, every page. */
  channels(signal) {
    return this.#pages("/channels", "channels", signal);
  }

  /** All public channels of the workspace, every page. */
  publicChannels() {
    return this.#pages("/channels", "channels", undefined, { scope: "public" });
  }

  /** Fields are `name`, `topic` and `archived`. */
  changeChannel(channelId, fields) {
    return this.request("PATCH", `/channels/${encodeURIComponent(channelId)}`, { body: fields });
  }

  /** Ends a meeting, for everybody. */
  endMeeting(channelId) {
    return this.request("DELETE", `/channels/${encodeURIComponent(channelId)}`, {});
  }

  join(channelId) {
    return this.addMember(channelId, "me");
  }

  /** The profiles of at most 100 users, of those who have one. */
  profiles(userIds) {
    return this.#get("/users", { ids: userIds.join(",") });
  }

  changeProfile(fields) {
    return this.request("PUT", "/users/me", { body: fields });
  }

  channel(channelId, signal) {
    return this.#get(`/channels/${encodeURIComponent(channelId)}`, {}, signal);
  }

  members(channelId, signal) {
    return this.#pages(`/channels/${encodeURIComponent(channelId)}/members`, "members", signal);
  }

  /** How far the members of a channel that delivers first have its messages, and have read them. */
  receipts(channelId) {
    return this.#get(`/channels/${encodeURIComponent(channelId)}/receipts`, {});
  }

  /** The caller's read marks and unread counts, every page. */
  unread(signal) {
    return this.#pages("/unread", "channels", signal);
  }

  markRead(marks) {
    // An invisible user does not share read marks.
    const body = this.asksInvisible()
      ? { marks: marks.map((mark) => ({ ...mark, share: false })) }
      : { marks };
    return this.request("POST", "/read", { body });
  }

  postMessage(body) {
    return this.request("POST", "/messages", { body });
  }

  createAttachment(body, signal) {
    return this.request("POST", "/attachments", { body, signal });
  }

  /** A file's bytes, as a blob: the call redirects to a URL that lives for a minute. */
  file(id) {
    const path = `/attachments/${encodeURIComponent(id)}`;
    return this.request("GET", path, { asBlob: true, timeoutMs: FILE_TIMEOUT_MS });
  }

  message(log, id, signal) {
    return this.request("GET", messagePath(log, id), { signal });
  }

  editMessage(log, id, body) {
    return this.request("PATCH", messagePath(log, id), { body });
  }

  deleteMessage(log, id) {
    return this.request("DELETE", messagePath(log, id), {});
  }

  /** `changeId` is the click's: a retry repeats it. */
  react(log, id, emoji, changeId) {
    return this.request("PUT", reactionPath(log, id, emoji, changeId), {});
  }

  unreact(log, id, emoji, changeId) {
    return this.request("DELETE", reactionPath(log, id, emoji, changeId), {});
  }

  /** `changeId` is the act's: of two acts the one with the greater id wins. */
  pin(log, id, changeId) {
    return this.request("PUT", pinPath(log, id, changeId), {});
  }

  unpin(log, id, changeId) {
    return this.request("DELETE", pinPath(log, id, changeId), {});
  }

  /** A page of the channel's pinned messages, newest first. */
  pins(channelId, offset) {
    return this.#listed(`/channels/${encodeURIComponent(channelId)}/pins`, offset);
  }

  /** A page of the messages that mention the caller, newest first. */
  mentions(offset) {
    return this.#listed("/mentions", offset);
  }

  /** All threads that the caller follows, every page. */
  threads(signal) {
    return this.#pages("/threads", "threads", signal);
  }

  follow(thread) {
    return this.request("PUT", followPath(thread), {});
  }

  unfollow(thread) {
    return this.request("DELETE", followPath(thread), {});
  }

  createChannel(body) {
    return this.request("POST", "/channels", { body });
  }

  addMember(channelId, userId) {
    return this.request("PUT", memberPath(channelId, userId), {});
  }

  removeMember(channelId, userId) {
    return this.request("DELETE", memberPath(channelId, userId), {});
  }

  killNode(nodeId) {
    return this.request("POST", `/dev/nodes/${encodeURIComponent(nodeId)}/kill`, {});
  }

  async request(method, path, { body, signal, asBlob, timeoutMs }) {
    for (let renewed = false; ; renewed = true) {
      const token = await this.#currentToken();
      try {
        return await this.#fetch(method, path, { body, signal, token, asBlob, timeoutMs });
      } catch (error) {
        // A restarted stack signs with another key, so both codes mean: get a new token.
        const stale = error.code === "token_expired" || error.code === "invalid_token";
        if (!stale || renewed) throw error;
        if (this.#token === token) this.forgetToken();
      }
    }
  }

  /** Retries a read until it succeeds, fails for good, or the signal aborts. */
  untilAnswered(read, signal) {
    const isOver = () => signal?.aborted || this.#offline;
    return this.#pace.untilAnswered(read, signal, isOver);
  }

  /** Retries the reads that wait out a back-off now: the network may be back. */
  retryNow() {
    this.#pace.retryNow();
  }

  #get(path, query, signal) {
    const parameters = new URLSearchParams(query).toString();
    return this.request("GET", parameters ? `${path}?${parameters}` : path, { signal });
  }

  /** A page of a list that the user pages through; `offset` is undefined for the first one. */
  #listed(path, offset) {
    return this.#get(path, { limit: LISTED_PAGE, ...(offset === undefined ? {} : { offset }) });
  }

  async #pages(path, field, signal, more = {}) {
    const all = [];
    let offset = null;
    do {
      const query = { ...more, limit: 100, ...(offset === null ? {} : { offset }) };
      const page = await this.#get(path, query, signal);
      all.push(...page[field]);
      offset = page.next_offset ?? null;
    } while (offset !== null);
    return all;
  }

  async #fetch(method, path, options) {
    const { body, signal, token, asBlob = false, timeoutMs = REQUEST_TIMEOUT_MS } = options;
    if (this.offline) throw new Unreachable("offline");
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const limit = AbortSignal.timeout(timeoutMs);
    const signals = [limit, this.#cut.signal, ...(signal ? [signal] : [])];
    const sentAt = performance.now();
    let response;
    let answer;
    try {
      response = await fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.any(signals),
        cache: "no-store",
      });
      if (asBlob && response.ok) return await response.blob();
      answer = await readJson(response);
    } catch {
      if (this.offline) throw new Unreachable("offline");
      throw new Unreachable(limit.aborted ? "no answer in time" : "no answer");
    }
    this.clock.observe(answer.server_time, sentAt, performance.now());
    if (response.ok) return answer;
    const retryAfterMs = 1_000 * Number.parseInt(response.headers.get("retry-after"), 10);
    throw new Problem(response.status, answer, Number.isFinite(retryAfterMs) ? retryAfterMs : 0);
  }

  #currentToken() {
    if (this.#token && this.clock.now() < this.#tokenExpiresAt) return this.#token;
    this.#renewal ??= this.#renew().finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #renew() {
    const body = { workspace_id: this.#workspaceId, user_id: this.#userId };
    const { token } = await this.#fetch("POST", "/dev/token", { body });
    this.#token = token;
    this.#tokenExpiresAt = expiryOf(token) - TOKEN_MARGIN_MS;
    return token;
  }
}

function messagePath(log, id) {
  return pathIn(log, `messages/${encodeURIComponent(id)}`);
}

function reactionPath(log, id, emoji, changeId) {
  const path = `messages/${encodeURIComponent(id)}/reactions/${encodeURIComponent(emoji)}`;
  return pathIn(log, path, { change_id: changeId });
}

function pinPath(log, id, changeId) {
  return pathIn(log, `pins/${encodeURIComponent(id)}`, { change_id: changeId });
}

/** A path below a log's channel; the query names its thread. */
function pathIn(log, path, query = {}) {
  const thread = rootOf(log);
  const named = new URLSearchParams({ ...query, ...(thread === undefined ? {} : { thread }) });
  const asked = named.size > 0 ? `?${named}` : "";
  return `/channels/${encodeURIComponent(channelOf(log))}/${path}${asked}`;
}

function followPath(thread) {
  const channel = encodeURIComponent(channelOf(thread));
  return `/channels/${channel}/threads/${encodeURIComponent(rootOf(thread))}/follow`;
}

function memberPath(channelId, userId) {
  return `/channels/${encodeURIComponent(channelId)}/members/${encodeURIComponent(userId)}`;
}

/** The body, or an empty object if it is not JSON: then only the status is known. */
async function readJson(response) {
  const text = await response.text();
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/**
 * The token's `exp` in Unix ms. A token that cannot be read is used until the server refuses it.
 */
function expiryOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return Number.isFinite(claims.exp) ? claims.exp * 1_000 : Infinity;
  } catch {
    return Infinity;
  }
}
