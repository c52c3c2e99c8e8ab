// Users mention each other: completion while typing, shown names, counts and the list of mentions.

import { live, LIVE_MS, openChannel, say, SOON_MS } from "./page.mjs";

const COMPOSER = "[data-testid=composer]";
const SUGGESTION = "[data-testid=mention-suggestion]";

/** Alice writes to bob with the keyboard alone. */
export async function complete(run) {
  const text = `hello ${run.tag}, come here`;
  await run.alice.type("composer", "@bo");
  await suggested(run.alice, "<@bob>");
  await run.alice.press("Enter");
  await composerHolds(run.alice, "<@bob> ");
  await run.alice.until("it says whom this mentions", SOON_MS, () =>
    /^Mentions .+\.$/.test(document.querySelector("[data-testid=composer-mentions]").textContent),
  );
  await run.alice.send("Input.insertText", { text });
  await run.alice.press("Enter");
  await composerHolds(run.alice, "");
  // What was sent is the id; each page shows the name that it knows.
  const shown = (tab) =>
    tab.until(
      "the mention is shown by name",
      SOON_MS,
      (rest) => {
        const message = [...document.querySelectorAll("[data-testid=message]")].find((node) =>
          node.querySelector("[data-testid=message-text]").textContent.endsWith(` ${rest}`),
        );
        const mention = message?.querySelector("[data-testid=mention]");
        if (mention?.dataset.userId !== "bob" || !mention.textContent.startsWith("@")) return false;
        return { mentioned: message.dataset.mentioned !== undefined };
      },
      text,
    );
  if ((await shown(run.alice)).mentioned) throw new Error("alice's page marks what mentions bob");
  await run.bob.until(
    "bob's page marks it",
    SOON_MS,
    (rest) =>
      [...document.querySelectorAll("[data-testid=message][data-mentioned]")].some((node) =>
        node.querySelector("[data-testid=message-text]").textContent.endsWith(` ${rest}`),
      ),
    text,
  );
  await shown(run.bob);
}

/** Bob reads another channel when he is mentioned. */
export async function countAndList(run) {
  await openChannel(run.bob, run.dmId, await nameOfDm(run));
  const [named, all] = [`<@bob> asked ${run.tag}`, `<!channel> listen ${run.tag}`];
  const id = (text) => idEndingWith(run.alice, text.replace(/^\S+/, ""));
  await say(run.alice, named);
  await counts(run.bob, run.channelId, "@1");
  await say(run.alice, all);
  await counts(run.bob, run.channelId, "@2");
  const ids = [await id(all), await id(named)];
  await run.bob.click("mentions");
  await run.bob.until(
    "both are listed, the newer one first",
    SOON_MS,
    (wanted) => {
      const items = [
        ...document.querySelectorAll("[data-testid=mentions-list] [data-testid=mention-item]"),
      ];
      const shown = items.map((item) => item.dataset.messageId);
      return JSON.stringify(shown.slice(0, 2)) === JSON.stringify(wanted);
    },
    ids,
  );
  await run.bob.clickWithin(`[data-testid=mention-item][data-message-id="${ids[1]}"]`);
  await run.bob.until(
    "the message's channel is open, and it has the focus",
    SOON_MS,
    ([channelId, wanted]) =>
      location.hash === `#${channelId}` && document.activeElement.dataset.messageId === wanted,
    [run.channelId, ids[1]],
  );
  await counts(run.bob, run.channelId, null);
}

export async function namesAndKeys(run) {
  await run.bob.type("composer", "@ali");
  await suggested(run.bob, "<@alice>");
  // In Safari, the Enter that ends an input method's composition differs only by its key code.
  const wasTaken = await run.bob.evaluate((selector) => {
    const key = { key: "Enter", keyCode: 229, bubbles: true, cancelable: true };
    return !document.querySelector(selector).dispatchEvent(new KeyboardEvent("keydown", key));
  }, COMPOSER);
  if (wasTaken) throw new Error("the list handled the Enter of an input method");
  await composerHolds(run.bob, "@ali");
  await run.bob.press("Escape");
  await suggested(run.bob, null);
  await composerHolds(run.bob, "@ali");
  await clearComposer(run.bob);

  await run.bob.type("composer", "(@chan");
  await suggested(run.bob, "<!channel>");
  await run.bob.click("mention-suggestion", { mention: "<!channel>" });
  await composerHolds(run.bob, "(<!channel> ");
  await clearComposer(run.bob);

  const { token } = await run.call("POST", "/dev/token", null, {
    workspace_id: "demo",
    user_id: "alice",
  });
  const before = await run.bob.evaluate(
    () => document.querySelector("[data-testid=member-item][data-user-id=alice] .name").textContent,
  );
  const name = `<b>Alice</b> ${run.tag}`;
  await run.call("PUT", "/users/me", token, { name });
  await run.bob.reload();
  await run.bob.until(
    "bob's page has the name",
    SOON_MS,
    (wanted) =>
      document.querySelector("[data-testid=member-item][data-user-id=alice] .name")
        ?.textContent === wanted,
    name,
  );
  await run.bob.type("composer", "@ali");
  await suggested(run.bob, "<@alice>");
  const elements = await run.bob.evaluate(
    (selector) => document.querySelectorAll(`${selector} .name *`).length,
    SUGGESTION,
  );
  if (elements !== 0) throw new Error(`${elements} elements made of a name`);
  await run.bob.press("Escape");
  await suggested(run.bob, null);
  await clearComposer(run.bob);
  // Later checks look for the name from before.
  await run.call("PUT", "/users/me", token, { name: before });
  await run.bob.reload();
  await run.bob.until(
    "bob's page has the name from before",
    SOON_MS,
    (wanted) =>
      document.querySelector("[data-testid=member-item][data-user-id=alice] .name")
        ?.textContent === wanted,
    before,
  );
  await live(run.bob, LIVE_MS);
}

function nameOfDm(run) {
  return run.bob.evaluate(
    (id) => document.querySelector(`[data-channel-id="${id}"] .name`).textContent,
    run.dmId,
  );
}

/** Waits until this mention is the chosen one of the open list, or the list is closed for `null`. */
function suggested(tab, mention) {
  return tab.until(
    `${mention} is suggested`,
    SOON_MS,
    (wanted) => {
      const list = document.querySelector("#suggestions");
      if (list.hidden) return wanted === null;
      return list.querySelector("[aria-selected=true]")?.dataset.mention === wanted;
    },
    mention,
  );
}

/** Waits until a channel's count of mentions reads like this, or is hidden for `null`. */
function counts(tab, channelId, wanted) {
  return tab.until(
    `the mentions read ${wanted}`,
    SOON_MS,
    ([id, expected]) => {
      const badge = document.querySelector(
        `[data-testid=channel-item][data-channel-id="${id}"] [data-testid=channel-mentions]`,
      );
      return (badge.hidden ? null : badge.textContent) === expected;
    },
    [channelId, wanted],
  );
}

function composerHolds(tab, text) {
  return tab.until(
    `the composer holds ${JSON.stringify(text)}`,
    SOON_MS,
    ([selector, wanted]) => document.querySelector(selector).value === wanted,
    [COMPOSER, text],
  );
}

function clearComposer(tab) {
  return tab.evaluate((selector) => {
    const box = document.querySelector(selector);
    box.value = "";
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }, COMPOSER);
}

/** The id of the stored message whose shown text ends like this. */
function idEndingWith(tab, ending) {
  return tab.until(
    `a stored message ends with ${ending}`,
    SOON_MS,
    (wanted) => {
      const node = [
        ...document.querySelectorAll("[data-testid=message][data-delivery=stored]"),
      ].find((one) => one.querySelector("[data-testid=message-text]").textContent.endsWith(wanted));
      return node?.dataset.messageId;
    },
    ending,
  );
}
