// The event log of the panel: what happened to the connection, in plain words.

const LOG_ENTRIES_MAX = 30;

/** The newest entries. An entry has several steps: what happened, and what followed from it. */
export class EventLog {
  entries = [];
  #changed;
  #nextKey = 1;

  constructor(changed) {
    this.#changed = changed;
  }

  /** Adds an entry and returns it: `then` appends a step, `amend` rewrites the last one. */
  add(text, tone = "plain") {
    const entry = { key: this.#nextKey, at: Date.now(), steps: [text], tone };
    this.#nextKey += 1;
    entry.then = (step, newTone) => {
      entry.steps.push(step);
      if (newTone) entry.tone = newTone;
      this.#changed();
      return entry;
    };
    entry.amend = (step, newTone) => {
      entry.steps[entry.steps.length - 1] = step;
      if (newTone) entry.tone = newTone;
      this.#changed();
      return entry;
    };
    this.entries.push(entry);
    if (this.entries.length > LOG_ENTRIES_MAX) this.entries.shift();
    this.#changed();
    return entry;
  }
}
