// How far an own message of a channel that delivers first has come, as its ticks show it.
//
// Invariant: a tick is never ahead. A watermark says that its user has all messages up to an id, so
// one that was set before a late message came says nothing about that message.

import { lowestIdAt, timeOf } from "./ids.js";
import { counted, isolate } from "./text.js";

const NAMES_MAX = 8;
/** An id that is older than its acceptance by this much may be below marks of before. */
const LATE_MS = 10_000;
/** Of larger channels nobody is told the receipts. */
export const RECEIPTS_MEMBERS_MAX = 100;

/**
 * The members of whom receipts count: those who were there when the message was made, without its
 * sender. Empty while the members are not known, and in channels that are too large.
 */
export function recipientsOf({ id, sender_id: sender }, members) {
  if (members === undefined || members.length > RECEIPTS_MEMBERS_MAX) return [];
  const at = timeOf(id);
  const wasThere = ({ user_id: user, joined_at: joined }) =>
    user !== sender && !(Date.parse(joined) > at);
  return members.filter(wasThere).map(({ user_id: user }) => user);
}

/**
 * Where each recipient is: `read`, `delivered` or `waiting`. `marks` has the watermarks `delivered`
 * and `read`, by user; `acceptedAt` is when the server took the message, if that is known.
 */
export function progressOf(id, recipients, marks, acceptedAt) {
  const isLate = acceptedAt > timeOf(id) + LATE_MS;
  const from = isLate ? lowestIdAt(acceptedAt) : id;
  const isUpTo = (mark) => mark !== undefined && mark >= from;
  return recipients.map((user) => {
    if (isUpTo(marks.read[user])) return { user, state: "read" };
    return { user, state: isUpTo(marks.delivered[user]) ? "delivered" : "waiting" };
  });
}

/** `queued`, `failed`, `accepted`, `delivered` or `read`: the last two only if all recipients are. */
export function tickOf(delivery, progress) {
  if (delivery === "failed") return "failed";
  if (delivery !== "stored") return "queued";
  const isAll = (...states) =>
    progress.length > 0 && progress.every(({ state }) => states.includes(state));
  if (isAll("read")) return "read";
  return isAll("read", "delivered") ? "delivered" : "accepted";
}

/** What the ticks say, in a sentence or two. */
export function tickWords(tick, progress, { replicated, archived }, reason) {
  switch (tick) {
    case "queued":
      return "On this device, waiting to be sent.";
    case "failed":
      return `Not sent: ${reason}.`;
    default:
  }
  const place = archived
    ? "It is in the archive."
    : replicated
      ? "Redis has it, and a replica."
      : "Redis has it.";
  return `${reachedWords(tick, progress)} ${place}`.trim();
}

/** Who has read a message, has it, or has not, by name, a line each; empty between two people. */
export function whoWords(progress, nameOf) {
  if (progress.length < 2) return "";
  const line = (words, wanted) => {
    const names = progress.filter(({ state }) => state === wanted).map(({ user }) => nameOf(user));
    const more = names.length - NAMES_MAX;
    const shown = names.slice(0, NAMES_MAX).map(isolate).join(", ");
    if (names.length === 0) return [];
    return [`${words}: ${shown}${more > 0 ? ` and ${counted(more, "other", "others")}` : ""}`];
  };
  return [
    ...line("Read by", "read"),
    ...line("Delivered to", "delivered"),
    ...line("Not yet", "waiting"),
  ].join("\n");
}

function reachedWords(tick, progress) {
  const { length } = progress;
  const reached = progress.filter(({ state }) => state !== "waiting").length;
  const read = progress.filter(({ state }) => state === "read").length;
  if (tick === "read") return length === 1 ? "Read." : `Read by all ${length}.`;
  if (tick === "delivered") {
    const some = read > 0 ? ` Read by ${read}.` : "";
    return length === 1 ? "Delivered." : `Delivered to all ${length}.${some}`;
  }
  if (reached === 0) return "Sent.";
  return `Delivered to ${reached} of ${length}.`;
}
