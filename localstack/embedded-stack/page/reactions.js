// Reactions: which of them are the user's, and clicks that the server's copy does not show yet.
//
// Main path: a click changes what is shown at once, and is then stored. What is shown is the copy
// in the store with the clicks on top. Invariants: of an emoji of a message one call is under way
// at a time; a click keeps its id over retries, and a later click has a greater one; a click stops
// changing what is shown when the copy has it, when it fails, or some seconds after it was stored.

import { mintAbove } from "./ids.js";
import { logOfMessage } from "./logs.js";
import { retryWait, sleep } from "./pace.js";

/** After this many failed attempts a click is undone. */
const ATTEMPTS_MAX = 4;
/** Clicks on different reactions that may be on top of the copies at a time. */
const CLICKS_MAX = 50;
/** The server counts a stored reaction within 5 s; after that its copy is right. */
const SETTLE_MS = 10_000;

export class Reactions {
  /** Called with the emoji and the problem when a click is undone; set by the page. */
  undone = () => {};
  #api;
  #store;
  /** The latest click by log, message and emoji. */
  #clicks = new Map();
  #wake = new AbortController();

  constructor(api, store) {
    this.#api = api;
    this.#store = store;
  }

  /** The reactions of a message as they are shown, in order: `{emoji, count, users, mine}`. */
  of(message) {
    if (message.deleted !== undefined) return [];
    const shown = new Map((message.reactions ?? []).map((one) => [one.emoji, one]));
    for (const click of this.#clicks.values()) {
      const isOn = click.id === message.id && click.log === logOfMessage(message);
      if (isOn && !isOver(click, message))
        shown.set(click.emoji, this.#withClick(shown.get(click.emoji), click, message));
    }
    return [...shown.values()].filter(({ count }) => count > 0);
  }

  /** Makes the user's reaction, or withdraws it. Never rejects: `undone` has the problem. */
  async toggle(message, emoji) {
    this.#forgetOver();
    const { id } = message;
    const log = logOfMessage(message);
    const key = `${log} ${id} ${emoji}`;
    const click = this.#clicks.get(key) ?? { key, log, id, emoji, isRunning: false };
    if (this.#clicks.size >= CLICKS_MAX && !this.#clicks.has(key))
      return this.undone(emoji, new Error("Too many reactions wait for the server."));
    const isMine = this.of(message).some((one) => one.emoji === emoji && one.mine);
    const here = message.reactions?.find((one) => one.emoji === emoji);
    if (click.rev !== revOf(message)) click.wasCounted = here?.mine === true;
    const changeId = mintAbove(this.#api.clock.now(), click.changeId);
    const fresh = { changeId, makes: !isMine, attempts: 0, settledAt: null };
    Object.assign(click, fresh, { rev: revOf(message) });
    this.#clicks.set(key, click);
    this.#store.changed();
    if (!click.isRunning) await this.#run(click);
  }

  /** Ends the waits between attempts. */
  retryNow() {
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  async #run(click) {
    click.isRunning = true;
    while (click.isRunning) {
      const { changeId } = click;
      const problem = await this.#attempt(click);
      // Clicked again meanwhile: the later one wins, whatever became of this one.
      if (click.changeId !== changeId) continue;
      click.attempts += 1;
      if (problem?.retryable && click.attempts < ATTEMPTS_MAX) {
        await sleep(retryWait(problem.retryAfterMs, click.attempts - 1), this.#wake.signal);
        continue;
      }
      click.isRunning = false;
      if (problem) this.#undo(click, problem);
      else this.#settle(click);
    }
  }

  /** One call; returns its problem, or null. */
  async #attempt({ log, id, emoji, changeId, makes }) {
    try {
      const call = makes ? "react" : "unreact";
      const answer = await this.#api[call](log, id, emoji, changeId);
      // The user may have left the channel meanwhile.
      if (!this.#store.find(log, id)) return null;
      this.#store.deliver(answer, "push");
      this.#store.setMine(log, id, emoji, makes);
      return null;
    } catch (problem) {
      return problem;
    }
  }

  #undo(click, problem) {
    this.#clicks.delete(click.key);
    this.#store.changed();
    this.undone(click.emoji, problem);
  }

  /** The click is stored. If many react to the message, its count may follow later. */
  #settle(click) {
    const message = this.#messageOf(click);
    if (!message || this.#isCounted(click, message) === click.makes) {
      this.#clicks.delete(click.key);
    } else Object.assign(click, { rev: revOf(message), settledAt: performance.now() });
    this.#store.changed();
  }

  #withClick(here, click, message) {
    const { emoji, count, users } = here ?? { emoji: click.emoji, count: 0, users: [] };
    const mine = click.makes;
    if (this.#isCounted(click, message) === mine) return { emoji, count, users, mine };
    const { userId } = this.#store;
    if (mine) return { emoji, count: count + 1, users: [...users, userId], mine };
    return { emoji, count: count - 1, users: users.filter((user) => user !== userId), mine };
  }

  /**
   * Whether the count of a message's copy has the user in it. Where not all users are named, a
   * later copy is taken to have the click.
   */
  #isCounted({ emoji, rev, wasCounted, makes }, message) {
    const here = message.reactions?.find((one) => one.emoji === emoji);
    if (!here) return false;
    if (isNamed(here)) return here.users.includes(this.#store.userId);
    return revOf(message) > rev ? makes : wasCounted;
  }

  #messageOf({ log, id }) {
    return this.#store.find(log, id);
  }

  #forgetOver() {
    for (const [key, click] of this.#clicks) {
      const message = this.#messageOf(click);
      if (!click.isRunning && (!message || isOver(click, message))) this.#clicks.delete(key);
    }
  }
}

/**
 * The reactions of a message's copy, each with `mine` as far as it is known. Frames are the same
 * for everybody and do not say it: then the named users do, else the older copy.
 */
export function withMine(copy, older, userId) {
  return copy.reactions?.map(({ emoji, count, users = [], mine }) => {
    const before = older?.reactions?.find((one) => one.emoji === emoji);
    const isIn = users.includes(userId);
    const isKnown = isIn || isNamed({ count, users });
    return { emoji, count, users, mine: mine ?? (isKnown ? isIn : before?.mine) };
  });
}

/** Whether all users of a reaction are named. */
function isNamed({ count, users }) {
  return count <= users.length;
}

/** Whether a stored click no longer changes what is shown. */
function isOver({ settledAt, rev }, message) {
  if (settledAt === null) return false;
  return revOf(message) > rev || performance.now() - settledAt > SETTLE_MS;
}

function revOf({ rev }) {
  return rev ?? "";
}
