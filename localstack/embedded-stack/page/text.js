// Text of people inside sentences of this page.

const TEXT_CHARACTERS_MAX = 40_000;
const MEETING_BYTES_MAX = 4_096;
const MENTIONED_SHOWN = 5;
const TYPISTS_SHOWN = 3;
const PRESENT_SHOWN = 20;
const PRESENCE_WORDS = { active: "active", idle: "idle", offline: "offline" };
/** Control characters that change the direction of the text after them. */
const BIDI_CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * A name for places without elements, such as a title: its text direction does not affect the words
 * around it.
 */
export function isolate(name) {
  return `\u2068${name.replace(BIDI_CONTROLS, "")}\u2069`;
}

/** How many characters a text has above the server's bound; 0 or less if it fits. */
export function charactersOver(text) {
  if (text.length <= TEXT_CHARACTERS_MAX) return text.length - TEXT_CHARACTERS_MAX;
  // The server counts Unicode scalar values, a string's length counts UTF-16 units.
  let count = 0;
  for (const _ of text) count += 1;
  return count - TEXT_CHARACTERS_MAX;
}

/** How many bytes a text has above what a meeting takes; 0 or less if it fits. */
export function meetingBytesOver(text) {
  // No unit of a string has more than three bytes.
  if (text.length * 3 <= MEETING_BYTES_MAX) return 0;
  return new TextEncoder().encode(text).length - MEETING_BYTES_MAX;
}

/** Counted things in words: `1 message waits`, `2 messages wait`. */
export function counted(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

/** Whether a text may be one emoji or a name such as `:ship-it:`; the server checks it exactly. */
export function isEmojiLike(text) {
  if (/^:[a-z0-9_+-]+:$/.test(text)) return true;
  return /^(\p{Emoji}|\p{Emoji_Component})+$/u.test(text) && !/^[0-9#*]+$/.test(text);
}

/** Whom a text will mention, the first few by name; null if nobody. */
export function mentionedWords(names, everybody) {
  const shown = names.slice(0, MENTIONED_SHOWN).map(isolate);
  const more = names.length - shown.length;
  if (more > 0) shown.push(counted(more, "other", "others"));
  if (everybody) shown.push("everybody in this channel");
  return shown.length === 0 ? null : `Mentions ${shown.join(", ")}.`;
}

/** Who reacted, the user first: `You, bob and 3 others reacted with 👍`. */
export function reactedWords({ emoji, count, users }, userId) {
  const others = users.filter((user) => user !== userId).map(isolate);
  const names = users.includes(userId) ? ["You", ...others] : others;
  const unnamed = count - users.length;
  if (unnamed > 0) names.push(counted(unnamed, "other", "others"));
  return `${listed(names)} reacted with ${emoji}`;
}

/**
 * Who types, and how many more: `bob, carol and 3 others are typing…`. Null if nobody does.
 */
export function typingWords(names, more) {
  const count = names.length + more;
  if (count === 0) return null;
  const shown = count > TYPISTS_SHOWN ? names.slice(0, TYPISTS_SHOWN - 1) : names;
  const parts = shown.map(isolate);
  const others = count - shown.length;
  if (shown.length === 0) parts.push(counted(others, "person", "people"));
  else if (others > 0) parts.push(counted(others, "other", "others"));
  return `${listed(parts)} ${count === 1 ? "is" : "are"} typing…`;
}

/** A state of presence in words. */
export function presenceWords(state) {
  return PRESENCE_WORDS[state] ?? "presence unknown";
}

/**
 * Who is here: `You, bob and carol (idle)`. The others are pairs of `name` and `isIdle`; `left` is
 * how many members nothing is known of.
 */
export function hereWords(others, isMeHere, left) {
  const words = ({ name, isIdle }) => `${isolate(name)}${isIdle ? " (idle)" : ""}`;
  const parts = [...(isMeHere ? ["You"] : []), ...others.slice(0, PRESENT_SHOWN).map(words)];
  const more = others.length - PRESENT_SHOWN;
  if (more > 0) parts.push(counted(more, "other", "others"));
  const here = parts.length === 0 ? "Nobody" : listed(parts);
  return left > 0 ? `${here}. Unknown: ${counted(left, "other member", "other members")}.` : here;
}

function listed(parts) {
  if (parts.length < 2) return parts.join();
  return `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}
