// Mentions: which are in a text, and whom a message mentions.
//
// A text has `<@user_id>` and `<!channel>` as they were sent; only what is shown replaces them by
// names. Whom a stored message mentions is the server's answer, not this reading of its text.

import { USER_ID } from "./people.js";

/** Different users that the server takes in one text. */
export const MENTIONS_MAX = 50;
/** What mentions everybody in the channel. */
export const EVERYBODY = "<!channel>";

const MENTION = /<@([A-Za-z0-9_-]{1,64})>|<!channel>/g;

export function mentionOf(userId) {
  return `<@${userId}>`;
}

/** Whether a text may have mentions: a quick look before `partsOf`. */
export function mayMention(text) {
  return text.includes("<@") || text.includes(EVERYBODY);
}

/** The text in parts: `{text}`, `{userId}` or `{everybody: true}`. */
export function partsOf(text) {
  const parts = [];
  let end = 0;
  for (const { 0: match, 1: userId, index } of text.matchAll(MENTION)) {
    // Such as `me`, which is no user.
    if (userId !== undefined && !USER_ID.test(userId)) continue;
    if (index > end) parts.push({ text: text.slice(end, index) });
    parts.push(userId === undefined ? { everybody: true } : { userId });
    end = index + match.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** Whom a text mentions, each once and in order: `{users, everybody, count}`. */
export function mentionsIn(text) {
  const parts = mayMention(text) ? partsOf(text) : [];
  const named = parts.flatMap(({ userId }) => (userId === undefined ? [] : [userId]));
  const users = [...new Set(named)];
  const everybody = parts.some((part) => part.everybody);
  return { users, everybody, count: users.length };
}

/** Whether another user's message mentions this one, by name or as one of everybody. */
export function isMentioned({ mentions, mentions_all: all, sender_id: sender }, userId) {
  return sender !== userId && (mentions?.includes(userId) === true || all === true);
}
