// One user types and the other sees it, in a channel and in a thread, until the message is there.

import { idOf, say, SOON_MS, texts } from "./page.mjs";

/** A typist who stops is gone after 6 s, and a frame that still names them lives for 6 s more. */
const VOID_MS = 14_000;

export async function inChannel(run) {
  const before = await bottomOfComposer(run.bob);
  await listenToStatus(run.bob);
  await run.alice.type("composer", `typed ${run.tag}`);
  await typeUntilShown(run.alice, run.bob, "typing", "alice is typing…");
  const during = await bottomOfComposer(run.bob);
  if (during !== before) throw new Error(`the composer moved: ${before} before, ${during} now`);
  await run.bob.until(
    "a screen reader says it once",
    SOON_MS,
    () => globalThis.said.length === 1 && globalThis.said[0].endsWith(" is typing…"),
  );
  const own = await wordsOf(run.alice, "typing");
  if (own?.includes("alice")) throw new Error(`alice sees herself: ${own}`);
  const text = await run.alice.evaluate(
    () => document.querySelector("[data-testid=composer]").value,
  );
  await run.alice.press("Enter");
  await texts(run.bob, text, [text], SOON_MS);
  const after = await wordsOf(run.bob, "typing");
  if (after !== null) throw new Error(`after the message is there: ${after}`);
}

export async function inThread(run) {
  const root = `asked ${run.tag}`;
  await say(run.alice, root);
  await texts(run.bob, root, [root], SOON_MS);
  const id = await idOf(run.bob, root);
  for (const tab of [run.alice, run.bob])
    await tab.clickWithin(`#message-list [data-message-id="${id}"] [data-testid=reply]`);
  // Both know the thread before somebody types there.
  await run.bob.type("thread-composer", "a");
  await typeUntilShown(run.bob, run.alice, "thread-typing", "bob is typing…");
  await run.alice.type("thread-composer", "b");
  await typeUntilShown(run.alice, run.bob, "thread-typing", "alice is typing…");
  const inChannelToo = await wordsOf(run.bob, "typing");
  if (inChannelToo !== null) throw new Error(`a thread's typing is shown in its channel`);
  await run.alice.press("Enter");
  await run.bob.until(
    "the reply is there, and nobody types",
    SOON_MS,
    () =>
      document.querySelector("[data-testid=thread-list] [data-sender=alice]") !== null &&
      document.querySelector("[data-testid=thread-typing]").hidden,
  );
  // Bob stopped without a message.
  await run.alice.until(
    "bob's typing is void",
    VOID_MS,
    () => document.querySelector("[data-testid=thread-typing]").hidden,
  );
  await run.bob.send("Input.insertText", { text: " " });
  await run.bob.press("Enter");
  for (const tab of [run.alice, run.bob]) {
    await tab.press("Escape");
    await tab.until(
      "the thread is closed",
      SOON_MS,
      () => document.querySelector("[data-testid=thread]").hidden,
    );
  }
}

function bottomOfComposer(tab) {
  return tab.evaluate(() => document.querySelector("#writing form").getBoundingClientRect().bottom);
}

/** Keeps what the live region says: its text goes after a second. */
function listenToStatus(tab) {
  return tab.evaluate(() => {
    globalThis.said = [];
    const status = document.querySelector("[data-testid=typing-status]");
    const keep = () => status.textContent !== "" && globalThis.said.push(status.textContent);
    new MutationObserver(keep).observe(status, { childList: true });
  });
}

/** The words of a line, without the marks around its names; null if it is not shown. */
function wordsOf(tab, testId) {
  return tab.evaluate((id) => {
    const line = document.querySelector(`[data-testid=${id}]`);
    return line.hidden ? null : line.textContent.replaceAll(/[\u2068\u2069]/g, "").trim();
  }, testId);
}

/** Types on, letter by letter: the node is told once in 3 s, counted from what was typed before. */
async function typeUntilShown(typist, tab, testId, words) {
  const end = Date.now() + SOON_MS;
  while ((await wordsOf(tab, testId)) !== words) {
    if (Date.now() >= end) throw new Error(`${tab.name} is not told that ${words}`);
    await typist.send("Input.insertText", { text: "." });
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
