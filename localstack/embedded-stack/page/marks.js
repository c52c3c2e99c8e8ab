// How far each channel was read, shared by all tabs of a person. A mark is `epoch#id` with eight
// digits, as the server compares them: of two marks the greater text is the newer. A mark never
// moves back, but the next epoch begins anywhere.

export class ReadMarks {
  #storage;
  #marks;

  constructor(storage, workspaceId, userId) {
    this.#storage = storage;
    this.key = `inkwire.read.${workspaceId}.${userId}`;
    this.#marks = this.#stored();
  }

  get isEmpty() {
    return Object.keys(this.#marks).length === 0;
  }

  has(channelId) {
    return this.#marks[channelId] !== undefined;
  }

  /** The last id that is read; empty if there is no mark. */
  of(channelId) {
    return this.#of(channelId).slice(EPOCH_DIGITS + 1);
  }

  epochOf(channelId) {
    return Number(this.#of(channelId).slice(0, EPOCH_DIGITS));
  }

  /** Moves a channel's mark to a newer message. Returns whether it moved. */
  moveTo(channelId, id) {
    return this.take(channelId, this.epochOf(channelId), id);
  }

  /** Takes a mark if it is newer than the one here; keeps what other tabs wrote. */
  take(channelId, epoch, id) {
    if (textOf(epoch, id) <= this.#of(channelId)) return false;
    this.merge();
    if (textOf(epoch, id) <= this.#of(channelId)) return false;
    this.#marks[channelId] = textOf(epoch, id);
    this.#storage.write(this.key, this.#marks);
    return true;
  }

  /** Takes the newer marks of other tabs; returns the channels whose mark moved. */
  merge() {
    const stored = Object.entries(this.#stored());
    const newer = stored.filter(([channelId, mark]) => mark > this.#of(channelId));
    for (const [channelId, mark] of newer) this.#marks[channelId] = mark;
    return newer.map(([channelId]) => channelId);
  }

  #of(channelId) {
    return this.#marks[channelId] ?? textOf(0, "");
  }

  /** Earlier versions of this page stored ids without an epoch. */
  #stored() {
    const entries = Object.entries(this.#storage.read(this.key));
    const whole = (mark) => (mark.includes("#") ? mark : textOf(0, mark));
    return Object.fromEntries(entries.map(([channelId, mark]) => [channelId, whole(mark)]));
  }
}

function textOf(epoch, id) {
  return `${String(epoch).padStart(EPOCH_DIGITS, "0")}#${id}`;
}

const EPOCH_DIGITS = 8;
