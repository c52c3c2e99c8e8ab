// Logs of messages: a channel's main log is named by the channel's id, a thread by that and the id
// of its root, `channel.root`. What serves a log serves both.

/** The name of a channel's main log, or of a thread. */
export function logOf(channelId, root) {
  return root === undefined || root === null ? channelId : `${channelId}.${root}`;
}

/** The log that a message is in. An id is unique within its log only. */
export function logOfMessage({ channel_id: channelId, thread }) {
  return logOf(channelId, thread);
}

export function channelOf(log) {
  return log.split(".", 1)[0];
}

/** The id of a thread's root; undefined for a channel's main log. */
export function rootOf(log) {
  return log.split(".")[1] || undefined;
}

/** What names a log in a call. */
export function namesOf(log) {
  const root = rootOf(log);
  const channel_id = channelOf(log);
  return root === undefined ? { channel_id } : { channel_id, thread: root };
}
