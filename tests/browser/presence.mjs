// Who is present is shown: both are here, one is idle, one leaves and comes back, and a page without
// a connection knows nothing.

import { goOffline, live, LIVE_MS, openChannel, SOON_MS } from "./page.mjs";

const IDLE_MS = 5 * 60_000;
/** Who left is gone 10 to 15 s after their last socket ended. */
const GONE_MS = 25_000;

export async function bothAreHere(run) {
  for (const [tab, other] of [[run.alice, "bob"], [run.bob, "alice"]]) {
    await shows(tab, run, other, "active");
    await here(tab, "2 here", `You and ${other}`);
  }
  await run.alice.click("here");
  await run.alice.until("the button leads to the members", SOON_MS, () => {
    const title = document.querySelector("#members-title");
    return document.activeElement === title && title.checkVisibility();
  });
}

export async function idle(run) {
  // Nothing else of the page waits that long, if its node answers right after the leap.
  await run.bob.evaluate((ms) => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + ms;
    dispatchEvent(new Event("online"));
  }, IDLE_MS);
  await shows(run.alice, run, "bob", "idle");
  await here(run.alice, "2 here", "You and bob (idle)");
  await run.bob.press("Tab");
  await shows(run.alice, run, "bob", "active");
}

export async function leaveAndReturn(run) {
  await run.bob.send("Page.navigate", { url: "about:blank" });
  await shows(run.alice, run, "bob", "offline", GONE_MS);
  await here(run.alice, "1 here", "You");
  await run.bob.go(`${run.base}/?as=bob#${run.channelId}`);
  await live(run.bob, LIVE_MS);
  await shows(run.alice, run, "bob", "active");
  await here(run.alice, "2 here", "You and bob");
}

/** Without a connection presence is unknown: that is not offline. */
export async function unknown(run) {
  await goOffline(run.alice);
  await shows(run.alice, run, "bob", "unknown");
  await here(run.alice, null);
  await run.alice.click("offline-toggle");
  await live(run.alice, LIVE_MS);
  await shows(run.alice, run, "bob", "active");
  await here(run.alice, "2 here", "You and bob");
}

export async function inDirectMessage(run) {
  await openChannel(run.alice, run.dmId, "bob");
  await run.alice.until("the head says it in words", SOON_MS, () =>
    document.querySelector("#channel-meta").textContent.startsWith("direct message · active"),
  );
  await here(run.alice, null);
  await openChannel(run.alice, run.channelId, `# ${run.channelName}`);
}

/** Who is online need not take part in the meeting: the head does not count them. */
export async function inMeeting(run) {
  await run.alice.until("bob is marked in the list of members", SOON_MS, () => {
    const row = document.querySelector("[data-testid=member-item][data-user-id=bob]");
    return row?.dataset.presence === "active";
  });
  await here(run.alice, null);
}

/** Waits until the DM with a user and their row in the list of members show a state, also in words. */
function shows(tab, run, user, state, deadlineMs = SOON_MS) {
  return tab.until(
    `${user} is ${state}`,
    deadlineMs,
    (dmId, wanted, member) => {
      const dm = `#dm-list [data-channel-id="${dmId}"]`;
      const row = `[data-testid=member-item][data-user-id="${member}"]`;
      return [dm, row].every((selector) => {
        const node = document.querySelector(selector);
        const words = node?.querySelector(".presence-words").textContent ?? "";
        const mark = node?.querySelector(".presence");
        const isMarked = mark?.checkVisibility({ visibilityProperty: true });
        const isRight = isMarked === (wanted !== "offline") && words.endsWith(wanted);
        return node?.dataset.presence === wanted && isRight;
      });
    },
    run.dmId,
    state,
    user,
  );
}

/** Waits until the head says how many are here, and who; `null` if it should not. */
function here(tab, wanted, names = "") {
  return tab.until(
    `the head says: ${wanted}, ${names}`,
    SOON_MS,
    (count, who) => {
      const button = document.querySelector("[data-testid=here]");
      if (count === null) return button.hidden;
      const words = document.querySelector("[data-testid=here-names]").textContent;
      const isNamed = words.replaceAll(/[\u2068\u2069]/g, "") === who;
      return button.checkVisibility() && button.textContent.trim() === count && isNamed;
    },
    wanted,
    names,
  );
}
