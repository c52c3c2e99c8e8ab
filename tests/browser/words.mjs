// The page's addresses, titles and badges, and names in any script.

import {
  channelName,
  goOffline,
  live,
  LIVE_MS,
  openChannel,
  say,
  SOON_MS,
  submitDialog,
  texts,
} from "./page.mjs";

/** An address with an invalid user signs nobody in; one with a channel of others opens no channel. */
export async function addresses(run) {
  const tab = await run.browser.open("al ice", `${run.base}/?as=al%20ice`);
  await tab.until("the address is refused", SOON_MS, () => {
    const refusal = document.querySelector("[data-testid=refusal]");
    const shown = refusal.checkVisibility() && refusal.textContent.includes("“al ice”");
    return shown && document.querySelector("[data-testid=me]").textContent === "";
  });
  const unknown = "C01ARZ3NDEKTSV4RRFFQ69G5FAV";
  await tab.go(`${run.base}/?as=bob#${unknown}`);
  await live(tab, LIVE_MS);
  await tab.until(
    "the page says that the channel is unknown",
    SOON_MS,
    (id) => {
      const words = document.querySelector("[data-testid=unknown-channel]")?.textContent ?? "";
      const { disabled } = document.querySelector("[data-testid=composer]");
      return words.includes(id) && disabled && location.hash === `#${id}`;
    },
    unknown,
  );
  run.closed.push(tab);
  await tab.close();
}

/** The server accepts any well-formed id, so the page asks before using an unknown one. */
export async function strangers(run) {
  const before = await channelName(run.alice);
  await submitDialog(run.alice, "new-dm", { "dm-user-input": "Bob" }, "dm-create");
  await run.alice.until("it asks whether bob is meant", SOON_MS, () =>
    document.querySelector("#dm-dialog .error").textContent.includes("Did you mean “bob”?"),
  );
  await run.alice.press("Escape");
  await run.alice.until(
    "the dialog is closed",
    SOON_MS,
    () => document.querySelector("#dm-dialog").open === false,
  );
  if ((await channelName(run.alice)) !== before) throw new Error("a DM with Bob was opened");
}

/** Messages read in one tab are read in the same user's other tabs. */
export async function badges(run) {
  const second = await run.browser.open("bob's second tab", `${run.base}/?as=bob`);
  await live(second, LIVE_MS);
  await openChannel(second, run.dmId, "alice");
  const text = `read once ${run.tag}`;
  await openChannel(run.alice, run.dmId, "bob");
  await say(run.alice, text);
  await texts(second, text, [text], SOON_MS);
  // Once a later message arrives, the first tab has had the chance to mark the earlier one.
  const later = `after what was read once ${run.tag}`;
  await openChannel(run.alice, run.channelId, `# ${run.channelName}`);
  await say(run.alice, later);
  await texts(run.bob, later, [later], SOON_MS);
  await run.bob.until(
    "no mark in the first tab",
    SOON_MS,
    (id) => document.querySelector(`[data-channel-id="${id}"] [data-testid=unread]`).hidden,
    run.dmId,
  );
  run.closed.push(second);
  await second.close();
}

/** The title shows that the page is disconnected. */
export async function title(run) {
  await goOffline(run.bob);
  await run.bob.until("the title says that the page is offline", SOON_MS, () => document.title.startsWith("Offline · "));
  await run.bob.click("offline-toggle");
  await live(run.bob, LIVE_MS);
  await run.bob.until("the title is as before", SOON_MS, () => !document.title.includes("Offline"));
}

/** A translating browser replaces text with elements, and later rendering must keep them. */
export async function translation(run) {
  const text = `to be translated ${run.tag}`;
  await say(run.alice, text);
  await texts(run.bob, text, [text], SOON_MS);
  await run.bob.evaluate((wanted) => {
    const shown = [...document.querySelectorAll("[data-testid=message-text]")];
    const font = document.createElement("font");
    font.textContent = "zu übersetzen";
    shown.find((node) => node.textContent === wanted).replaceChildren(font);
  }, text);
  const next = `drawn after the translation ${run.tag}`;
  await say(run.alice, next);
  await texts(run.bob, next, [next], SOON_MS);
  await texts(run.bob, "zu übersetzen", ["zu übersetzen"], 0);
}

/** Bidirectional controls and stacked marks in one text do not affect the text beside it. */
export async function isolation(run) {
  const found = await run.bob.evaluate(() => {
    const text = getComputedStyle(document.querySelector("[data-testid=message-text]"));
    const name = getComputedStyle(document.querySelector("[data-testid=channel-name] bdi"));
    return { clipped: text.overflow, bidi: text.unicodeBidi, name: name.unicodeBidi };
  });
  const wanted = { clipped: "clip", bidi: "isolate", name: "isolate" };
  if (JSON.stringify(found) !== JSON.stringify(wanted))
    throw new Error(`texts are shown with ${JSON.stringify(found)}`);
}
