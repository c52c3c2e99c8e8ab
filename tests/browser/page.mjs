// Actions on a page, and values read from it, that several checks use.

export const LIVE_MS = 20_000;
export const SOON_MS = 10_000;
// A node's lease outlives it by 6 s, so the balancer may first assign the dead node.
export const RECONNECT_MS = 30_000;

export function live(tab, deadlineMs) {
  return tab.until(
    "the connection is live",
    deadlineMs,
    () => document.querySelector("[data-testid=connection-state]")?.dataset.state === "live",
  );
}

export function nodeOf(tab) {
  return tab.evaluate(() => document.querySelector("[data-testid=node-id]").textContent);
}

export function channelName(tab) {
  return tab.evaluate(() => document.querySelector("[data-testid=channel-name]").textContent);
}

export async function say(tab, text) {
  await tab.type("composer", text);
  await tab.press("Enter");
  await tab.until(
    "the composer is empty again",
    SOON_MS,
    () => document.querySelector("[data-testid=composer]").value === "",
  );
}

/** Waits until the shown texts that begin with `prefix` are exactly `expected`, in this order. */
export async function texts(tab, prefix, expected, deadlineMs, delivery = null) {
  const read = (start, state) =>
    [...document.querySelectorAll("[data-testid=message]")]
      .filter((node) => state === null || node.dataset.delivery === state)
      .map((node) => node.querySelector("[data-testid=message-text]").textContent)
      .filter((text) => text.startsWith(start));
  const end = Date.now() + deadlineMs;
  let found = await tab.evaluate(read, prefix, delivery);
  while (JSON.stringify(found) !== JSON.stringify(expected)) {
    if (Date.now() >= end) {
      const state = delivery ? ` as ${delivery}` : "";
      throw new Error(
        `${tab.name} shows${state} ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    found = await tab.evaluate(read, prefix, delivery);
  }
}

export function idOf(tab, text) {
  return tab.evaluate(
    (wanted) =>
      [...document.querySelectorAll("[data-testid=message]")].find(
        (node) => node.querySelector("[data-testid=message-text]").textContent === wanted,
      ).dataset.messageId,
    text,
  );
}

export async function sortedAndUnique(tab) {
  const ids = await tab.evaluate(() =>
    [...document.querySelectorAll("[data-testid=message]")].map((node) => node.dataset.messageId),
  );
  const sorted = [...new Set(ids)].sort();
  if (JSON.stringify(ids) !== JSON.stringify(sorted))
    throw new Error(`${tab.name}: ids not sorted or not unique: ${ids}`);
}

export async function openChannel(tab, channelId, heading) {
  await tab.until(
    "the channel is listed",
    SOON_MS,
    (id) => document.querySelector(`[data-channel-id="${id}"]`) !== null,
    channelId,
  );
  await tab.click("channel-item", { channelId });
  await tab.until(
    "the channel is open",
    SOON_MS,
    (wanted) => document.querySelector("[data-testid=channel-name]").textContent === wanted,
    heading,
  );
}

/** Opens a dialog, types a text into each of its fields by test id, and submits it. */
export async function submitDialog(tab, opener, fields, submit) {
  await tab.click(opener);
  for (const [field, text] of Object.entries(fields)) await tab.type(field, text);
  await tab.click(submit);
}

export async function goOffline(tab) {
  await tab.click("offline-toggle");
  await tab.until(
    "offline",
    SOON_MS,
    () => document.querySelector("[data-testid=connection-state]").dataset.state === "offline",
  );
}
