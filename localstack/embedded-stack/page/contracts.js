// What a channel's contract means for this page.

const MEETING = "ephemeral";
const DELIVER_FIRST = "deliver_first";

/** Whether a channel keeps nothing of what is said in it: there is nothing to read, and no marks. */
export function isMeeting(channel) {
  return channel?.contract === MEETING;
}

/** Whether a channel delivers its messages first and stores them afterwards. */
export function deliversFirst(channel) {
  return channel?.contract === DELIVER_FIRST;
}

/**
 * Whether messages of a channel take threads, edits, deletions, reactions, pins and files: the
 * server keeps these only with messages that it stores before it delivers them.
 */
export function takesChanges(channel) {
  return !isMeeting(channel) && !deliversFirst(channel);
}

/** The fields of `POST /channels` that make a channel, by what a person chose for its messages. */
export function contractFields(choice) {
  if (choice === "nothing") return { contract: MEETING };
  return choice === "delivered" ? { contract: DELIVER_FIRST } : {};
}
