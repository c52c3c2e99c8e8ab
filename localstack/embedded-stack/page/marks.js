// How far each channel was read, shared by all tabs of a person. A mark never moves back.

export class ReadMarks {
  #storage;
  #marks;

  constructor(storage, workspaceId, userId) {
    this.#storage = storage;
    this.key = `inkwire.read.${workspaceId}.${userId}`;
    this.#marks = storage.read(this.key);
  }

  get isEmpty() {
    return Object.keys(this.#marks).length === 0;
  }

  of(channelId) {
    return this.#marks[channelId] ?? "";
  }

  /** Moves a channel's mark to a newer message; keeps what other tabs wrote. */
  moveTo(channelId, id) {
    if (id <= this.of(channelId)) return;
    this.merge();
    if (id <= this.of(channelId)) return;
    this.#marks[channelId] = id;
    this.#storage.write(this.key, this.#marks);
  }

  /** Takes the newer marks of other tabs; returns the channels whose mark moved. */
  merge() {
    const stored = Object.entries(this.#storage.read(this.key));
    const newer = stored.filter(([channelId, id]) => id > this.of(channelId));
    for (const [channelId, id] of newer) this.#marks[channelId] = id;
    return newer.map(([channelId]) => channelId);
  }
}
