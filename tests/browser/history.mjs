// Older pages of a channel load as the user scrolls up.

import { live, LIVE_MS, RECONNECT_MS, SOON_MS, sortedAndUnique, texts } from "./page.mjs";

const HISTORY_MESSAGES = 80;

export async function history(run) {
  const { token } = await run.call("POST", "/dev/token", null, {
    workspace_id: "demo",
    user_id: "alice",
  });
  const expected = [];
  for (let number = 1; number <= HISTORY_MESSAGES; number += 1) {
    const text = `history ${run.tag} ${String(number).padStart(2, "0")}`;
    await run.call("POST", "/messages", token, { channel_id: run.channelId, message: text });
    expected.push(text);
  }
  await run.bob.go(`${run.base}/?as=bob#${run.channelId}`);
  await live(run.bob, LIVE_MS);
  await run.bob.until(
    "the newest message is in view",
    SOON_MS,
    (wanted) => {
      const scroller = document.querySelector("[data-testid=message-scroll]");
      const last = [...document.querySelectorAll("[data-testid=message-text]")].at(-1);
      const atBottom = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
      return last?.textContent === wanted && atBottom;
    },
    expected.at(-1),
  );
  const firstPage = await run.bob.evaluate(
    () => document.querySelectorAll("[data-testid=message]").length,
  );
  if (firstPage >= HISTORY_MESSAGES) throw new Error(`everything was loaded at once: ${firstPage}`);

  // Short pages keep loading until the view is full. Only then does scrolling load the next one.
  await run.bob.until("the first pages fill the view", SOON_MS, () => {
    return document.querySelector("[data-testid=history-edge]").dataset.state === "more";
  });
  const moved = await run.bob.evaluate(measureJumpWhileLoading);
  if (!(moved.loaded > 0)) throw new Error(`scrolling up loaded nothing: ${JSON.stringify(moved)}`);
  if (Math.abs(moved.jump) > 2) throw new Error(`the place in view jumped by ${moved.jump} px`);
  await run.bob.until("the beginning of the channel", RECONNECT_MS, () => {
    document.querySelector("[data-testid=message-scroll]").scrollTop = 0;
    return document.querySelector("[data-testid=history-start]") !== null;
  });
  await texts(run.bob, `history ${run.tag}`, expected, SOON_MS);
  await texts(run.bob, `hello bob ${run.tag}`, [`hello bob ${run.tag}`], SOON_MS);
  await sortedAndUnique(run.bob);
  await run.bob.evaluate(() => {
    const scroller = document.querySelector("[data-testid=message-scroll]");
    scroller.scrollTop = scroller.scrollHeight;
  });
}

/** Runs in the page: scrolls near the top, waits for an older page, measures a message's jump. */
async function measureJumpWhileLoading() {
  const scroller = document.querySelector("[data-testid=message-scroll]");
  const count = () => document.querySelectorAll("[data-testid=message]").length;
  const frame = () => new Promise((resolve) => setTimeout(resolve, 5));
  scroller.scrollTop = 120;
  const before = count();
  const watched = document.querySelectorAll("[data-testid=message]")[4];
  const top = watched.getBoundingClientRect().top;
  const end = performance.now() + 10_000;
  while (count() === before && performance.now() < end) await frame();
  return { loaded: count() - before, jump: Math.round(watched.getBoundingClientRect().top - top) };
}
