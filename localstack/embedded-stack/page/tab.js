// Which tab owns what sessionStorage holds. "Duplicate tab" copies it: without an owner, two tabs
// would send the same queue, each under ids of its own.

const KEY = "inkwire.tab";
/** How long a reload waits for the page before it to release the lock. */
const RELEASE_MS = 2_000;

/**
 * Resolves to `own` if the stored queue is this tab's, `copy` if it belongs to another open tab,
 * and `unknown` if the browser has no locks. Holds a lock for as long as the page lives.
 */
export async function claimTab(session, locks, releaseMs = RELEASE_MS) {
  if (!locks) return "unknown";
  const stored = session.read(KEY).id;
  if (stored !== undefined) {
    const taken = await hold(locks, stored, AbortSignal.timeout(releaseMs));
    if (taken !== "held elsewhere") return taken;
  }
  const id = crypto.randomUUID();
  session.write(KEY, { id });
  const taken = await hold(locks, id);
  return taken === "own" && stored !== undefined ? "copy" : taken;
}

function hold(locks, id, signal) {
  return new Promise((resolve) => {
    const keep = () => {
      resolve("own");
      return new Promise(() => {});
    };
    const refused = (error) => {
      resolve(signal?.aborted && error.name !== "SecurityError" ? "held elsewhere" : "unknown");
    };
    try {
      locks.request(`${KEY}.${id}`, signal ? { signal } : {}, keep).catch(refused);
    } catch (error) {
      refused(error);
    }
  });
}
