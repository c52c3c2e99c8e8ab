// Users react to each other's messages, with the mouse and with the keyboard.

import { idOf, say, SOON_MS, texts } from "./page.mjs";

export async function reactToEachOther(run) {
  // The server leaves a text of more than 512 bytes out of frames about its reactions.
  const [hers, his] = [`alice asks ${run.tag}`, `bob answers ${run.tag}${" and more".repeat(70)}`];
  await say(run.alice, hers);
  await texts(run.bob, hers, [hers], SOON_MS);
  await say(run.bob, his);
  await texts(run.alice, his, [his], SOON_MS);
  const [question, answer] = [await idOf(run.bob, hers), await idOf(run.alice, his)];
  await pick(run.bob, question, "👍");
  await shows(run.bob, question, [["👍", 1, true]]);
  await shows(run.alice, question, [["👍", 1, false]]);
  await pressChip(run.alice, question, "👍");
  for (const tab of [run.alice, run.bob]) await shows(tab, question, [["👍", 2, true]]);
  await named(run.alice, question, "You and \u2068bob\u2069 reacted with 👍");
  await writeName(run.alice, answer, ":ship-it:");
  await shows(run.alice, answer, [[":ship-it:", 1, true]]);
  await shows(run.bob, answer, [[":ship-it:", 1, false]]);
  await pick(run.alice, answer, "🎉");
  await shows(run.bob, answer, [
    [":ship-it:", 1, false],
    ["🎉", 1, false],
  ]);
  for (const tab of [run.alice, run.bob]) await texts(tab, his, [his], SOON_MS);
  await pressChip(run.bob, question, "👍");
  await shows(run.alice, question, [["👍", 1, true]]);
  await shows(run.bob, question, [["👍", 1, false]]);
}

export async function closeThePicker(run) {
  const id = await idOf(run.bob, `alice asks ${run.tag}`);
  await openPicker(run.bob, id);
  await run.bob.press("Escape");
  await isPickerOpen(run.bob, false);
  const opener = await run.bob.evaluate(() => document.activeElement.dataset.testid);
  if (opener !== "react") throw new Error(`the focus is on ${opener} after Escape`);
  await openPicker(run.bob, id);
  await run.bob.click("composer");
  await isPickerOpen(run.bob, false);
  await openPicker(run.bob, id);
  await pressTool(run.bob, id);
  await isPickerOpen(run.bob, false);
}

async function pick(tab, id, emoji) {
  await openPicker(tab, id);
  await tab.click("react-pick", { emoji });
  await isPickerOpen(tab, false);
}

/** By the keyboard alone, once the picker is open. */
async function writeName(tab, id, name) {
  await openPicker(tab, id);
  await tab.focus("[data-testid=react-text]");
  await tab.send("Input.insertText", { text: name });
  await tab.press("Enter");
  await isPickerOpen(tab, false);
}

async function openPicker(tab, id) {
  await pressTool(tab, id);
  await isPickerOpen(tab, true);
}

/** With the keyboard: the mouse sees the tools only while it is over the message. */
async function pressTool(tab, id) {
  await tab.focus(`[data-message-id="${id}"] [data-testid=react]`);
  await tab.press("Enter");
}

function isPickerOpen(tab, wanted) {
  return tab.until(
    `the picker is ${wanted ? "open" : "closed"}`,
    SOON_MS,
    (open) =>
      document.querySelector("[data-testid=react-picker]").matches(":popover-open") === open,
    wanted,
  );
}

function pressChip(tab, id, emoji) {
  return tab.clickWithin(
    `[data-message-id="${id}"] [data-testid=reaction][data-emoji="${emoji}"]`,
  );
}

/** Waits until a message shows exactly these reactions: emoji, count, and whether it is pressed. */
function shows(tab, id, wanted) {
  return tab.until(
    `${JSON.stringify(wanted)} is shown`,
    SOON_MS,
    ([which, expected]) => {
      const chips = `[data-message-id="${which}"] [data-testid=reaction]`;
      const shown = [...document.querySelectorAll(chips)].map((chip) => [
        chip.dataset.emoji,
        Number(chip.querySelector(".count").textContent),
        chip.getAttribute("aria-pressed") === "true",
      ]);
      return JSON.stringify(shown) === JSON.stringify(expected);
    },
    [id, wanted],
  );
}

function named(tab, id, title) {
  return tab.until(
    `${title} is named`,
    SOON_MS,
    ([which, wanted]) =>
      document.querySelector(`[data-message-id="${which}"] [data-testid=reaction]`).title ===
      wanted,
    [id, title],
  );
}
