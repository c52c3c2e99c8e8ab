// Whether the user is away from this page: tells the node when that changes, for presence. A hidden
// page gets no input, so it needs no rule of its own.
//
// Invariant: a node takes every new socket for not idle; if the user is idle, it is told at once.

const IDLE_MS = 5 * 60_000;
const INPUTS = ["pointerdown", "pointermove", "keydown", "wheel", "input"];

export class Idle {
  #connection;
  #now;
  #inputAt;
  /** What the node knows. */
  #told = false;

  constructor(connection, now = () => performance.now()) {
    this.#connection = connection;
    this.#now = now;
    this.#inputAt = now();
  }

  attached() {
    this.#told = false;
    this.check();
  }

  /** The user did something here, or came back to the page. */
  input() {
    this.#inputAt = this.#now();
    this.check();
  }

  /** Tells the node if the user has become idle or active. To be called every second. */
  check() {
    const idle = this.#now() - this.#inputAt >= IDLE_MS;
    if (idle === this.#told) return;
    // Not sent: tried again with the next check, or on the next socket.
    if (this.#connection.send({ type: "idle", idle })) this.#told = idle;
  }
}

/** Calls `input()` for everything that a user does in a window. */
export function listenToInput(target, input) {
  const options = { capture: true, passive: true };
  for (const event of INPUTS) target.addEventListener(event, input, options);
}
