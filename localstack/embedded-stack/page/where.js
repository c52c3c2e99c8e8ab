// Where a message is: its way through the system by its channel's contract, and which places on it
// have the message now, as far as this page knows.
//
// Invariant: what this page cannot know is called unknown. Nothing here knows the document.

import { deliversFirst, isMeeting } from "./contracts.js";
import { timeOf } from "./ids.js";

/** For how long a workspace's stream in Redis has an entry, at most. */
const STREAM_MS = 24 * 3_600_000;
/** The archive takes what was delivered first within seconds. */
const ARCHIVED_BY_MS = 60_000;

/** What a state is called, beside its colour. */
export const STATE_WORDS = {
  here: "It is here",
  coming: "On its way",
  some: "In part",
  not: "Not yet",
  gone: "No longer",
  never: "Never",
  unknown: "Not known",
};

/**
 * The places of a message in the order of its way: `{id, icon, title, state, words}`. `receipt` is
 * that of receipts.js, null for messages of others and of other contracts; `now` is the server's
 * time.
 */
export function placesOf(message, channel, { isOwn, receipt, others, now }) {
  const about = { message, isOwn, receipt, others, age: now - timeOf(message.id) };
  if (isMeeting(channel)) return meetingPlaces(about);
  return deliversFirst(channel) ? deliveredPlaces(about) : storedPlaces(about);
}

/** The contract in one sentence. */
export function contractWords(channel) {
  if (isMeeting(channel)) return "A meeting: nothing that is said in it is kept.";
  if (deliversFirst(channel)) return "This channel delivers first, and stores seconds later.";
  return "This channel stores first, and delivers what is stored.";
}

function place(id, title, state, words) {
  return { id, title, state, words };
}

/** Device → table → Redis → devices. */
function storedPlaces(about) {
  const { message, age, others } = about;
  const isStored = message.delivery === "stored";
  if (!isStored)
    return [
      unsentPlace(about),
      place("archive", "Table", ahead(message), "It is stored before anybody sees it."),
      place("redis", "Redis", "not", "It is published when it is stored."),
      devicesPlace(others, "not", "They get what is published."),
    ];
  return [
    senderPlace(about),
    place("archive", "Table", "here", "It was stored before anybody saw it, and stays."),
    age < STREAM_MS
      ? place("redis", "Redis", "here", "In the workspace's stream, for who comes back today.")
      : place("redis", "Redis", "gone", "It left the stream within a day. The table has it."),
    devicesPlace(others, "here", "Pushed to who is connected; others read it later."),
  ];
}

/** Device → Redis → devices → archive. */
function deliveredPlaces(about) {
  const { message, receipt, others, age, isOwn } = about;
  if (message.delivery !== "stored")
    return [
      unsentPlace(about),
      place("redis", "Redis", ahead(message), "It takes the message and delivers it at once."),
      devicesPlace(others, "not", "They get it from Redis, before it is stored."),
      place("archive", "Archive", "not", "The table stores it seconds after its delivery."),
    ];
  const isArchived = receipt?.archived === true;
  const sender = isOwn && !isArchived ? "It is kept here until it is archived." : undefined;
  return [
    senderPlace(about, sender),
    redisPlace(isArchived, about),
    receipt === null
      ? devicesPlace(others, "here", "This device has it. Its sender sees who else has.")
      : reachedPlace(receipt.progress, others),
    archivePlace(isArchived, isOwn, age),
  ];
}

function redisPlace(isArchived, { age, receipt, isOwn }) {
  if (age >= STREAM_MS) return place("redis", "Redis", "gone", "It left the stream within a day.");
  if (isArchived) {
    const words = "It left the spool. The stream has it for who comes back today.";
    return place("redis", "Redis", "here", words);
  }
  if (!isOwn) return place("redis", "Redis", "here", "In the stream, and in the spool until it is stored.");
  const copies = receipt?.replicated ? "Redis and a replica have it" : "Redis has it";
  return place("redis", "Redis", "here", `${copies}: in the stream and in the spool.`);
}

function archivePlace(isArchived, isOwn, age) {
  if (isArchived) return place("archive", "Archive", "here", "The table has it, and keeps it.");
  if (isOwn) return place("archive", "Archive", "coming", "The table gets it from the spool, within seconds.");
  if (age < ARCHIVED_BY_MS)
    return place("archive", "Archive", "coming", "Within seconds. Only its sender is told when.");
  return place("archive", "Archive", "unknown", "By now it should be there. Only its sender is told.");
}

function reachedPlace(progress, others) {
  if (progress.length === 0)
    return devicesPlace(others, "unknown", "Who has it is not told in this channel.");
  const reached = progress.filter(({ state }) => state !== "waiting").length;
  const read = progress.filter(({ state }) => state === "read").length;
  const all = progress.length;
  if (reached === 0) return devicesPlace(others, "coming", "No device has said that it has it.");
  const also = read === 0 ? "" : ` Read by ${read}.`;
  const words = `${reached} of ${all} ${all === 1 ? "has" : "have"} it.`;
  return devicesPlace(others, reached === all ? "here" : "some", words + also);
}

/** Device → devices; nowhere else. */
function meetingPlaces(about) {
  const { message, others } = about;
  const isUnsent = message.delivery !== undefined && message.delivery !== "said";
  const nowhere = [
    place("redis", "Redis", "never", "It passes through, sealed. Nothing keeps it."),
    place("archive", "Table", "never", "No table and no log has it."),
  ];
  if (isUnsent)
    return [
      unsentPlace(about),
      devicesPlace(others, ahead(message), "Only who is in the meeting gets it."),
      ...nowhere,
    ];
  return [
    senderPlace(about, about.isOwn ? "In this page, until it is reloaded." : undefined),
    devicesPlace(others, "here", "On the screens of who was there, and only there."),
    ...nowhere,
  ];
}

function senderPlace({ isOwn }, words = "It came from here.") {
  if (isOwn) return place("sender", "This device", "here", words);
  return place("sender", "Its sender", "here", "It came from there.");
}

function unsentPlace({ message }) {
  const words =
    message.delivery === "failed" ? "Only here: it was not sent." : "Only here, until it is sent.";
  return place("sender", "This device", "here", words);
}

/** The place that a message goes to next. */
function ahead({ delivery }) {
  return delivery === "failed" ? "not" : "coming";
}

function devicesPlace(others, state, words) {
  if (others > 0) return place("devices", "Members' devices", state, words);
  return place("devices", "Members' devices", "not", "Nobody else is in this channel.");
}
