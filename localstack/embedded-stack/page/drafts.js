// Text that is typed and not sent, by log. It survives the loss of its channel and, except for that
// of meetings, a reload.

export class Drafts {
  #isStored = true;
  #storage;
  #key;
  #texts;
  /** Texts for meetings, by log: in memory only. */
  #passing = new Map();

  constructor(storage, workspaceId, userId) {
    this.#storage = storage;
    this.#key = `inkwire.drafts.${workspaceId}.${userId}`;
    this.#texts = new Map(Object.entries(storage.read(this.#key)));
  }

  get(log) {
    return this.#passing.get(log) ?? this.#texts.get(log)?.text ?? "";
  }

  /** `label` names the channel: it may be gone when the text is read again. */
  set(log, label, text) {
    if (this.get(log) === text) return;
    if (text === "") this.#texts.delete(log);
    else this.#texts.set(log, { label, text });
    this.#isStored = this.#storage.write(this.#key, Object.fromEntries(this.#texts));
  }

  /** Keeps a text until the page goes: nothing of a meeting is stored. */
  setPassing(log, text) {
    if (text === "") this.#passing.delete(log);
    else this.#passing.set(log, text);
  }

  get hasPassing() {
    return this.#passing.size > 0;
  }

  /** `[log, label]` of every draft; the label is its channel's. */
  labels() {
    return [...this.#texts].map(([log, { label }]) => [log, label]);
  }

  /** Whether a reload would find every draft. */
  get isStored() {
    return this.#isStored || this.#texts.size === 0;
  }
}
