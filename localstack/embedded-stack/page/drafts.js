// Text that is typed and not sent, by channel. It survives a reload and the loss of its channel.

export class Drafts {
  #isStored = true;
  #storage;
  #key;
  #texts;

  constructor(storage, workspaceId, userId) {
    this.#storage = storage;
    this.#key = `inkwire.drafts.${workspaceId}.${userId}`;
    this.#texts = new Map(Object.entries(storage.read(this.#key)));
  }

  get(channelId) {
    return this.#texts.get(channelId)?.text ?? "";
  }

  /** `label` names the channel: it may be gone when the text is read again. */
  set(channelId, label, text) {
    if (this.get(channelId) === text) return;
    if (text === "") this.#texts.delete(channelId);
    else this.#texts.set(channelId, { label, text });
    this.#isStored = this.#storage.write(this.#key, Object.fromEntries(this.#texts));
  }

  /** `[channelId, label]` of every draft. */
  channels() {
    return [...this.#texts].map(([channelId, { label }]) => [channelId, label]);
  }

  /** Whether a reload would find every draft. */
  get isStored() {
    return this.#isStored || this.#texts.size === 0;
  }
}
