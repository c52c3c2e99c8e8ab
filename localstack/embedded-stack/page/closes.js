// What to do when a socket ends: by the protocol's close code, or by the verdict of silence.js.

import { WAIT_MAX_MS } from "./pace.js";
import { SLEPT } from "./silence.js";

const FLOOD_WAIT_MS = 5_000;

/** What to do next: `elsewhere` reports the node as failed, `stop` does not reconnect. */
export function closePolicy(code) {
  switch (code) {
    case 1002:
    case 1003:
    case 1007:
    case 1009:
      return { next: "stop", why: "the node rejected a frame from this page" };
    case 1013:
      return { next: "wait", why: "the node is busy" };
    case 4400:
      return { next: "stop", why: "the node did not understand this page" };
    case 4401:
      return { next: "fresh_token", why: "ticket or token no longer valid" };
    case 4403:
      return { next: "stop", why: "this user was revoked in the workspace" };
    case SLEPT:
      return { next: "resume", why: "no frame after this tab or computer slept" };
    case 4408:
      return { next: "resume", why: "the hello frame arrived too late" };
    case 4409:
      return { next: "stop", why: "this user has more than 10 sockets open on that node" };
    case 4429:
      return { next: "wait", why: "this page sent too many frames" };
    case 4508:
      return { next: "resume", why: "this page read too slowly" };
    default:
      return { next: "elsewhere", why: CLOSE_WORDS.get(code) ?? "closed" };
  }
}

const CLOSE_WORDS = new Map([
  [1001, "node is going away"],
  [1006, "connection lost"],
  [1011, "internal error of the node"],
  [1012, "node is restarting"],
  [4411, "the node cannot verify this ticket"],
]);

/** How long to wait before reconnecting: 1013 gives it in its reason, `delay_ms=<n>`. */
export function closeWait(code, reason) {
  const asked = code === 1013 ? /^delay_ms=(\d+)$/.exec(reason ?? "") : null;
  return asked ? Math.min(Number(asked[1]), WAIT_MAX_MS) : FLOOD_WAIT_MS;
}
