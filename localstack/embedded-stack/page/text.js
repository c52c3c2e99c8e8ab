// Text of people inside sentences of this page.

const TEXT_CHARACTERS_MAX = 40_000;
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

/** Counted things in words: `1 message waits`, `2 messages wait`. */
export function counted(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}
