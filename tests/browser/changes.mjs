// Users edit and delete their messages, and the other one sees it.

import { idOf, say, SOON_MS, texts } from "./page.mjs";

const DELETED = "This message was deleted.";

export async function editAndDelete(run) {
  const [before, after] = [`helo ${run.tag}`, `hello again ${run.tag}`];
  await say(run.alice, before);
  await texts(run.bob, before, [before], SOON_MS);
  const id = await idOf(run.bob, before);
  await press(run.alice, id, "edit");
  // The page draws the editor after the click, so wait for it.
  await run.alice.until(
    "the edit is saved",
    SOON_MS,
    ([which, text]) => {
      const editor = document.querySelector(`[data-message-id="${which}"] .editor`);
      if (editor === null) return false;
      editor.querySelector("[data-testid=edit-text]").value = text;
      editor.querySelector("[data-testid=edit-save]").click();
      return true;
    },
    [id, after],
  );
  for (const tab of [run.alice, run.bob]) await shows(tab, id, after, true);
  const others = await run.bob.evaluate(
    (which) =>
      document.querySelector(`[data-message-id="${which}"] [data-testid=edit]`) === null,
    id,
  );
  if (!others) throw new Error("bob can change a message of alice");
  await press(run.alice, id, "delete");
  await run.alice.clickWithin("dialog[open] #confirm-ok");
  for (const tab of [run.alice, run.bob]) await shows(tab, id, DELETED, false);
}

function press(tab, id, testId) {
  return tab.clickWithin(`[data-message-id="${id}"] [data-testid=${testId}]`);
}

function shows(tab, id, text, isEdited) {
  return tab.until(
    `${text} is shown`,
    SOON_MS,
    ([which, wanted, edited]) => {
      const message = document.querySelector(`[data-message-id="${which}"]`);
      const shown = message.querySelector("[data-testid=message-text]").textContent;
      return shown === wanted && message.querySelector("[data-testid=edited]").hidden !== edited;
    },
    [id, text, isEdited],
  );
}
