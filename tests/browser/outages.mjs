// A node is killed, the network changes, and a user goes offline and online again.

import {
  goOffline,
  live,
  nodeOf,
  RECONNECT_MS,
  say,
  SOON_MS,
  sortedAndUnique,
  texts,
} from "./page.mjs";

const OFFLINE_MESSAGES = 5;

/** The browser says that the network is back: the page asks its node, and keeps the socket. */
export async function networkChanges(run) {
  const nodeBefore = await nodeOf(run.alice);
  await run.alice.evaluate(() => dispatchEvent(new Event("online")));
  await run.alice.until("the node has answered", SOON_MS, () =>
    document.querySelector("[data-testid=last-pong]").textContent.startsWith("answered in "),
  );
  await live(run.alice, SOON_MS);
  const node = await nodeOf(run.alice);
  if (node !== nodeBefore) throw new Error(`connected again, to ${node}`);
}

export async function killNode(run) {
  const nodeBefore = await nodeOf(run.bob);
  const prefix = `during the outage ${run.tag}`;
  const expected = [1, 2, 3].map((number) => `${prefix} ${number}`);
  const { held } = await run.bob.holdNext("/connect?failed=*");
  await run.bob.click("kill-node");
  const goOn = await held;
  await run.bob.until(
    "the page says that it is disconnected, and offers to retry",
    SOON_MS,
    () =>
      document.title.startsWith("Disconnected · ") &&
      document.querySelector("#notice-action").checkVisibility() &&
      document.querySelector("#notice-action").textContent === "Retry now",
  );
  for (const text of expected) await say(run.alice, text);
  await goOn();
  await run.bob.until(
    "live on another node",
    RECONNECT_MS,
    (before) => {
      const state = document.querySelector("[data-testid=connection-state]").dataset.state;
      const node = document.querySelector("[data-testid=node-id]").textContent;
      return state === "live" && node !== before && node !== "none";
    },
    nodeBefore,
  );
  await texts(run.alice, prefix, expected, RECONNECT_MS, "stored");
  await texts(run.bob, prefix, expected, RECONNECT_MS);
  await sortedAndUnique(run.bob);
  await run.bob.until("the log has the lost node", SOON_MS, () =>
    [...document.querySelectorAll("[data-testid=event]")].some((entry) =>
      entry.textContent.includes("/connect?failed="),
    ),
  );
  // Alice may have been on the same node.
  await live(run.alice, RECONNECT_MS);
  const after = `after the outage ${run.tag}`;
  await say(run.alice, after);
  await texts(run.bob, after, [after], SOON_MS);
}

export async function offline(run) {
  await goOffline(run.bob);
  const prefix = `while bob was away ${run.tag}`;
  const expected = Array.from({ length: OFFLINE_MESSAGES }, (_, index) => `${prefix} ${index + 1}`);
  for (const text of expected) await say(run.alice, text);
  await texts(run.alice, prefix, expected, SOON_MS, "stored");
  const queued = `typed offline ${run.tag}`;
  await say(run.bob, queued);
  await texts(run.bob, queued, [queued], SOON_MS, "queued");
  await texts(run.bob, prefix, [], 0);

  await run.bob.click("offline-toggle");
  await live(run.bob, RECONNECT_MS);
  await run.bob.until(
    `a missed count of ${OFFLINE_MESSAGES}`,
    SOON_MS,
    (wanted) => document.querySelector("[data-testid=missed-count]").textContent === String(wanted),
    OFFLINE_MESSAGES,
  );
  await texts(run.bob, prefix, expected, SOON_MS);
  await texts(run.bob, queued, [queued], SOON_MS, "stored");
  await texts(run.alice, queued, [queued], SOON_MS);
  await sortedAndUnique(run.bob);
}
