// Completion of a mention: what of a text is being completed, what fits, and what is chosen.
//
// What is inserted is what is sent, `<@user_id>`, so no later change of a name, a draft or the
// members can turn it into another user's mention. Nothing here knows the document.

import { EVERYBODY, mentionOf } from "./mentions.js";

const OPTIONS_MAX = 8;
/** An `@` at the beginning of a word, and letters up to the caret. */
const TOKEN = /(?<![^\s(])@([\p{L}\p{M}\p{N}_-]{1,64})$/u;
/** More UTF-16 units than a token has, and the character before it. */
const TOKEN_UNITS_MAX = 140;

export class Completion {
  /** What fits, best first: `{mention, name, note}`. */
  options = [];
  #token = null;
  #chosen = null;
  /** Where the token begins that the user wants no completion for. */
  #dismissedAt = null;

  /** Takes the text, the caret, and the `people` to choose from: `{id, name}`. */
  update(text, caret, people) {
    const before = this.#token;
    this.#token = tokenBefore(text, caret);
    if (this.#token?.start !== this.#dismissedAt) this.#dismissedAt = null;
    this.options = this.isWanted ? optionsFor(this.#token.query, people) : [];
    const isSame = before?.start === this.#token?.start && before?.query === this.#token?.query;
    const isStillThere = this.options.some(({ mention }) => mention === this.#chosen);
    // If people come or go meanwhile, the choice stays.
    if (!isSame || !isStillThere) this.#chosen = this.options[0]?.mention ?? null;
  }

  /** Whether something is being completed, even if nothing fits. */
  get isWanted() {
    return this.#token !== null && this.#dismissedAt === null;
  }

  get isOpen() {
    return this.options.length > 0;
  }

  /** The place of the chosen option. */
  get at() {
    return this.options.findIndex(({ mention }) => mention === this.#chosen);
  }

  /** Chooses the option that many places further, around the ends. */
  move(step) {
    const { length } = this.options;
    this.#chosen = this.options[(this.at + step + length) % length].mention;
  }

  /** No completion until another token begins. */
  dismiss() {
    this.#dismissedAt = this.#token?.start ?? null;
    this.options = [];
  }

  /** Forgets the text: another one takes its place. */
  reset() {
    this.options = [];
    this.#token = null;
    this.#dismissedAt = null;
  }

  /** What to write for an option, and where: `{from, to, insert}`; null if nothing is completed. */
  edit(text, { mention }) {
    if (this.#token === null) return null;
    const { start, query } = this.#token;
    const to = start + 1 + query.length;
    return { from: start, to, insert: /^\s/.test(text.slice(to)) ? mention : `${mention} ` };
  }
}

function tokenBefore(text, caret) {
  const from = Math.max(0, caret - TOKEN_UNITS_MAX);
  const match = TOKEN.exec(text.slice(from, caret));
  return match && { start: from + match.index, query: match[1] };
}

function optionsFor(query, people) {
  const wanted = query.toLowerCase();
  const fits = people
    .map((person) => ({ ...person, rank: rankOf(wanted, person) }))
    .filter(({ rank }) => rank !== null)
    .sort((a, b) => a.rank - b.rank || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1))
    .map(({ id, name }) => ({ mention: mentionOf(id), name, note: id }));
  if (!CHANNEL.startsWith(wanted)) return fits.slice(0, OPTIONS_MAX);
  const everybody = { mention: EVERYBODY, name: CHANNEL, note: "everybody in this channel" };
  return [...fits.slice(0, OPTIONS_MAX - 1), everybody];
}

/** Names and ids that begin with the letters come first, then names with a word that does. */
function rankOf(wanted, { id, name }) {
  const lower = name.toLowerCase();
  if (lower.startsWith(wanted) || id.toLowerCase().startsWith(wanted)) return 0;
  return lower.split(/\s+/).some((word) => word.startsWith(wanted)) ? 1 : null;
}

const CHANNEL = "channel";
