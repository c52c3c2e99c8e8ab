// One meeting as this tab heard it: its lines in order, and how far it was heard.
//
// Invariants: a message is shown once, whichever number it came under; what was said before this
// tab joined is not taken; a hole in the numbers is counted, except for own messages, which the
// node answered under their numbers. All of it is in memory only.

const LINES_MAX = 300;
const IDS_MAX = 1_000;

export class Meeting {
  /** waiting (for a node) · joining · joined · refused */
  state = "waiting";
  /** Why the node did not let the user join: a code. */
  refusal = null;
  /** The session and the number of the latest message: null before the first `joined`. */
  at = null;
  /** Messages and notes, in order: `{key, place, message}` or `{key, place, text}`. */
  lines = [];
  /** Own messages without an answer, or with a bad one, in the order typed. */
  unsent = [];
  #ids = new Set();
  /** The numbers of own messages in this session that are above `at`. */
  #ownNumbers = new Set();
  #sessions = 0;
  #notes = 0;

  /** What `join` carries: how far it was heard. */
  get after() {
    return this.at === null ? undefined : `${this.at.session}:${this.at.n}`;
  }

  /** The node's answer to a join. `missed` is null if nobody knows how much was missed. */
  joined(at, missed) {
    const { session, n } = positionOf(at);
    const isSame = this.at?.session === session;
    const own = isSame ? this.#ownUpTo(n) : 0;
    if (this.at !== null && !isSame) {
      this.#sessions += 1;
      this.#ownNumbers.clear();
    }
    Object.assign(this, { at: { session, n }, state: "joined", refusal: null });
    const others = missed === null ? null : Math.max(0, missed - own);
    if (others !== 0) this.#note(n + 0.25, missedWords(others));
  }

  /** Takes what was said. Whether it is a message that is new here. */
  said(n, message) {
    if (this.at === null || n <= this.at.n) return false;
    const lost = n - this.at.n - 1 - this.#ownUpTo(n - 1);
    this.#ownNumbers.delete(n);
    this.at.n = n;
    if (lost > 0) this.#note(n - 0.5, lostWords(lost));
    return this.#add(n, message);
  }

  /** The node took an own message, under this number. */
  accepted(id, n) {
    const message = this.unsent.find((candidate) => candidate.id === id);
    if (message === undefined) return;
    if (this.at !== null && n > this.at.n) this.#ownNumbers.add(n);
    this.#add(n, message);
  }

  find(id) {
    return this.unsent.find((message) => message.id === id);
  }

  discard(id) {
    this.unsent = this.unsent.filter((message) => message.id !== id);
  }

  #add(n, message) {
    this.discard(message.id);
    if (this.#ids.has(message.id)) return false;
    this.#ids.add(message.id);
    if (this.#ids.size > IDS_MAX) this.#ids.delete(this.#ids.values().next().value);
    const { reason: _, ...fields } = message;
    this.#insert({ key: message.id, place: n, message: { ...fields, delivery: "said" } });
    return true;
  }

  #note(place, text) {
    this.#notes += 1;
    this.#insert({ key: `note ${this.#notes}`, place, text });
  }

  /** An answer may come after what was said later. */
  #insert(line) {
    const session = this.#sessions;
    const isLater = (other) => other.session === session && other.place > line.place;
    let index = this.lines.length;
    while (index > 0 && isLater(this.lines[index - 1])) index -= 1;
    this.lines.splice(index, 0, { ...line, session });
    if (this.lines.length > LINES_MAX) this.lines.shift();
  }

  /** How many own messages there are above `at`, up to a number; they count as heard. */
  #ownUpTo(n) {
    const own = [...this.#ownNumbers].filter((number) => number <= n);
    for (const number of own) this.#ownNumbers.delete(number);
    return own.filter((number) => number > this.at.n).length;
  }
}

function positionOf(text) {
  const [session, n] = text.split(":");
  return { session, n: Number(n) };
}

function missedWords(count) {
  if (count === null) return "You may have missed messages";
  return count === 1 ? "You missed 1 message" : `You missed ${count} messages`;
}

function lostWords(count) {
  return count === 1 ? "1 message was lost" : `${count} messages were lost`;
}
