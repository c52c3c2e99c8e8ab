// A channel that delivers first: two users talk in it, see how far their messages have come and
// where they are, and one reloads with a message that was not sent.

import { idOf, live, LIVE_MS, openChannel, goOffline, say, SOON_MS, texts } from "./page.mjs";

export async function create(run) {
  const name = `fast-${run.tag}`;
  run.fastName = name;
  await run.alice.click("new-channel");
  await run.alice.type("channel-name-input", name);
  await run.alice.click("channel-delivered-input");
  await run.alice.evaluate(() => document.querySelector("input[value=bob]").click());
  await run.alice.click("channel-create");
  await run.alice.until(
    "it is open, marked, and offers no files and pins",
    SOON_MS,
    (wanted) =>
      document.querySelector("[data-testid=channel-name]").textContent === wanted &&
      document.querySelector("#first-mark").checkVisibility() &&
      document.querySelector("#channel-meta").textContent.includes("delivered before stored") &&
      document.querySelector("[data-testid=attach]").hidden &&
      document.querySelector("[data-testid=pins]").hidden,
    name,
  );
  run.fastId = await run.alice.evaluate(() => location.hash.slice(1));
  await run.bob.until(
    "it is marked in the other member's list",
    SOON_MS,
    (id) =>
      document.querySelector(`.channel-item[data-channel-id="${id}"] .first-mark`) !== null,
    run.fastId,
  );
}

export async function ticks(run) {
  const text = `first ${run.tag}`;
  run.fastText = text;
  await say(run.alice, text);
  // Bob's page has the message, though it shows another channel.
  await tick(run.alice, text, ["delivered"], true);
  await run.alice.until(
    "only what the contract has is offered",
    SOON_MS,
    (wanted) => {
      const rows = [...document.querySelectorAll("[data-testid=message]")];
      const row = rows.find((node) => node.querySelector(".message-text").textContent === wanted);
      const tools = [...row.querySelectorAll(".tools button")].filter((tool) => !tool.hidden);
      return tools.map((tool) => tool.dataset.testid).join() === "where";
    },
    text,
  );
  await openChannel(run.bob, run.fastId, run.fastName);
  await texts(run.bob, text, [text], SOON_MS);
  const answer = `answer ${run.tag}`;
  await say(run.bob, answer);
  await texts(run.alice, answer, [answer], SOON_MS);
  for (const [tab, words] of [[run.alice, text], [run.bob, answer]])
    await tick(tab, words, ["read"], true);
}

export async function where(run) {
  await run.alice.click("ticks", {});
  await places(run.alice, ["sender here", "redis here", "devices here", "archive here"]);
  await run.alice.until(
    "who has read it is listed",
    SOON_MS,
    () =>
      document.querySelector("[data-testid=where-member][data-user-id=bob] .where-progress")
        ?.textContent === "has read it",
  );
  await run.alice.press("Escape");
  // It follows the message while it is open.
  await goOffline(run.alice);
  const text = `followed ${run.tag}`;
  await say(run.alice, text);
  await openPlaces(run.alice, text);
  await places(run.alice, ["sender here", "redis coming", "devices not", "archive not"]);
  // Behind the dialog, by script.
  await run.alice.evaluate(() => document.querySelector("[data-testid=offline-toggle]").click());
  await places(run.alice, ["sender here", "redis here", "devices here", "archive here"]);
  await run.alice.press("Escape");
  await texts(run.bob, text, [text], SOON_MS);
}

export async function whereElse(run) {
  const text = `stored ${run.tag}`;
  await say(run.alice, text);
  await texts(run.alice, text, [text], SOON_MS, "stored");
  await openPlaces(run.alice, text);
  await places(run.alice, ["sender here", "archive here", "redis here", "devices here"]);
  await run.alice.press("Escape");
}

/** In the meeting that is open. */
export async function whereInMeeting(run) {
  await run.alice.clickWithin("[data-delivery=said] [data-testid=where]");
  await places(run.alice, ["sender here", "devices here", "redis never", "archive never"]);
  await run.alice.press("Escape");
}

export async function reload(run) {
  await openChannel(run.alice, run.fastId, run.fastName);
  await goOffline(run.alice);
  const text = `kept over a reload ${run.tag}`;
  await say(run.alice, text);
  await tick(run.alice, text, ["queued"]);
  await inOutbox(run.alice, text);
  const asked = run.alice.leavingAsked;
  await run.alice.reload();
  await live(run.alice, LIVE_MS);
  if (run.alice.leavingAsked === asked) throw new Error("the page did not ask before it was left");
  await tick(run.alice, text, ["delivered", "read"], true);
  await texts(run.alice, text, [text], SOON_MS);
  await texts(run.bob, text, [text], SOON_MS);
  // What is known of an older message is still known.
  await tick(run.alice, run.fastText, ["read"], true);
}

/** The list of channels is held back: what is shown comes from this browser. */
export async function shownAtOnce(run) {
  const { held } = await run.alice.holdNext("/channels?limit=100");
  await run.alice.reload();
  const answer = await held;
  await texts(run.alice, "first", [run.fastText], SOON_MS);
  await run.alice.until(
    "the channel is named and marked, and nothing can be written yet",
    SOON_MS,
    (name) =>
      document.querySelector("[data-testid=channel-name]").textContent === name &&
      document.querySelector("#first-mark").checkVisibility() &&
      document.querySelector("[data-testid=composer]").readOnly,
    run.fastName,
  );
  await answer();
  await live(run.alice, LIVE_MS);
  await texts(run.alice, "first", [run.fastText], SOON_MS);
  await run.alice.until(
    "it can be written again",
    SOON_MS,
    () => !document.querySelector("[data-testid=composer]").readOnly,
  );
}

export async function directMessage(run) {
  await run.alice.click("new-dm");
  await run.alice.type("dm-user-input", "bob");
  await run.alice.click("dm-delivered-input");
  await run.alice.click("dm-create");
  await run.alice.until(
    "the direct message is open and marked",
    SOON_MS,
    () =>
      document.querySelector("#first-mark").checkVisibility() &&
      document.querySelector("#channel-meta").textContent.startsWith("direct message"),
  );
  const text = `directly ${run.tag}`;
  await say(run.alice, text);
  await tick(run.alice, text, ["delivered", "read"], true);
  for (const tab of [run.alice, run.bob])
    await openChannel(tab, run.channelId, `# ${run.channelName}`);
}

/** Waits until an own message has one of these ticks, and is archived or not, if that matters. */
function tick(tab, text, wanted, archived = null) {
  return tab.until(
    `“${text}” is ${wanted.join(" or ")}`,
    SOON_MS,
    (words, states, isArchived) => {
      const rows = [...document.querySelectorAll("[data-testid=message]")];
      const row = rows.find((node) => node.querySelector(".message-text").textContent === words);
      const ticks = row?.querySelector("[data-testid=ticks]");
      const shown = ticks ? ticks.dataset.tick : row?.dataset.delivery;
      const isRight = isArchived === null || ticks?.dataset.archived === String(isArchived);
      // Words too, not a colour only.
      const isSaid = !ticks || ticks.getAttribute("aria-label") !== "";
      return states.includes(shown) && isRight && isSaid;
    },
    text,
    wanted,
    archived,
  );
}

async function openPlaces(tab, text) {
  await texts(tab, text, [text], SOON_MS);
  const id = await idOf(tab, text);
  await tab.clickWithin(`[data-message-id="${id}"] [data-testid=where]`);
}

/** Waits until the dialog shows these places, each with its state, also in words. */
function places(tab, wanted) {
  return tab.until(
    `the places are ${wanted.join(", ")}`,
    SOON_MS,
    (expected) => {
      const shown = [...document.querySelectorAll("[data-testid=place]")];
      const isSaid = (node) => node.querySelector(".place-state").textContent !== "";
      const states = shown.map(({ dataset }) => `${dataset.place} ${dataset.state}`);
      const isOpen = document.querySelector("[data-testid=where-dialog]").open;
      return isOpen && states.join() === expected.join() && shown.every(isSaid);
    },
    wanted,
  );
}

/** Waits until the browser's database has a message. */
function inOutbox(tab, text) {
  return tab.until(
    "the message is in the browser's database",
    SOON_MS,
    (words) =>
      new Promise((resolve) => {
        const request = indexedDB.open("inkwire.demo.alice");
        request.onsuccess = () => {
          const database = request.result;
          const all = database.transaction("outbox").objectStore("outbox").getAll();
          all.onsuccess = () => {
            database.close();
            resolve(all.result.some((entry) => entry.text === words));
          };
        };
        request.onerror = () => resolve(false);
      }),
    text,
  );
}
