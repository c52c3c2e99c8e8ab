// Users pin messages, see the channel's pins, and remove them.

import { idOf, say, SOON_MS, texts } from "./page.mjs";

export async function pinAndUnpin(run) {
  const [first, second] = [`pin me ${run.tag}`, `pin <b>me</b> too ${run.tag}`];
  await say(run.alice, first);
  await say(run.alice, second);
  await texts(run.bob, second, [second], SOON_MS);
  const ids = [await idOf(run.bob, first), await idOf(run.bob, second)];
  await press(run.bob, ids[0], "pin");
  await marked(run.bob, ids[0], "by you");
  await marked(run.alice, ids[0], "by another");
  await press(run.alice, ids[1], "pin");
  await marked(run.alice, ids[1], "by you");
  await marked(run.bob, ids[1], "by another");

  await run.alice.click("pins");
  await listed(run.alice, [second, first]);
  // What happens meanwhile shows in the open list.
  await press(run.bob, ids[1], "unpin");
  await listed(run.alice, [first]);
  await marked(run.alice, ids[1], null);
  const elements = await run.alice.evaluate(
    () => document.querySelectorAll("[data-testid=pins-list] .message-text *").length,
  );
  if (elements !== 0) throw new Error(`${elements} elements made of a pinned text`);

  await run.alice.clickWithin(
    `[data-testid=pinned-message][data-message-id="${ids[0]}"] [data-testid=pinned-show]`,
  );
  await run.alice.until(
    "the dialog is closed, and the message has the focus",
    SOON_MS,
    (id) =>
      !document.querySelector("[data-testid=pins-dialog]").open &&
      document.activeElement.dataset.messageId === id,
    ids[0],
  );
  await press(run.alice, ids[0], "unpin");
  for (const tab of [run.alice, run.bob]) await marked(tab, ids[0], null);
  await run.bob.click("pins");
  await listed(run.bob, []);
  await run.bob.press("Escape");
  await run.bob.until(
    "the dialog is closed",
    SOON_MS,
    () => !document.querySelector("[data-testid=pins-dialog]").open,
  );
}

function press(tab, id, testId) {
  return tab.clickWithin(`[data-message-id="${id}"] [data-testid=${testId}]`);
}

/** Waits until a message is marked as pinned `by you` or `by another`, or not at all for `null`. */
function marked(tab, id, by) {
  return tab.until(
    `${id} is marked as pinned ${by}`,
    SOON_MS,
    ([which, wanted]) => {
      const mark = document.querySelector(
        `[data-testid=message][data-message-id="${which}"] [data-testid=pinned]`,
      );
      if (mark.hidden) return wanted === null;
      // A name may have changed in an earlier run.
      return (mark.textContent === "Pinned by you" ? "by you" : "by another") === wanted;
    },
    [id, by],
  );
}

/** Waits until the open list has exactly these texts of this run, and all pages were read. */
function listed(tab, wanted) {
  return tab.until(
    `the pins are ${JSON.stringify(wanted)}`,
    SOON_MS,
    (expected) => {
      const dialog = document.querySelector("[data-testid=pins-dialog][open]");
      if (dialog === null) return false;
      const more = dialog.querySelector("[data-testid=pins-more]");
      const texts = [...dialog.querySelectorAll("[data-testid=pinned-message] .message-text")];
      const shown = JSON.stringify(texts.map((node) => node.textContent));
      return more.hidden && shown === JSON.stringify(expected);
    },
    wanted,
  );
}
