// What a channel's contract means for this page.

const MEETING = "ephemeral";

/** Whether a channel keeps nothing of what is said in it: there is nothing to read, and no marks. */
export function isMeeting(channel) {
  return channel?.contract === MEETING;
}

/** The fields of `POST /channels` that make such a channel. */
export const MEETING_FIELDS = { contract: MEETING };
