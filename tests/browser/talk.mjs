// Two users connect, create a channel and a direct message, and write to each other.

import {
  idOf,
  live,
  LIVE_MS,
  openChannel,
  RECONNECT_MS,
  say,
  SOON_MS,
  submitDialog,
  texts,
} from "./page.mjs";

export async function bothBecomeLive(run) {
  run.alice = await run.browser.open("alice", `${run.base}/?as=alice`);
  await live(run.alice, LIVE_MS);
  run.bob = await run.browser.open("bob", `${run.base}/?as=bob`);
  await live(run.bob, LIVE_MS);
  for (const tab of [run.alice, run.bob]) {
    await tab.until("a node id", SOON_MS, () => {
      const text = document.querySelector("[data-testid=node-id]").textContent;
      return text !== "" && text !== "none";
    });
  }
}

export async function createChannel(run) {
  await run.alice.click("new-channel");
  await run.alice.type("channel-name-input", run.channelName);
  await run.alice.evaluate(() => document.querySelector("input[name=member][value=bob]").click());
  await run.alice.click("channel-create");
  const heading = `# ${run.channelName}`;
  await run.alice.until(
    "the new channel is open",
    SOON_MS,
    (wanted) => document.querySelector("[data-testid=channel-name]").textContent === wanted,
    heading,
  );
  run.channelId = await run.alice.evaluate(() => location.hash.slice(1));
  await openChannel(run.bob, run.channelId, heading);
}

export async function deliver(run) {
  const text = `hello bob ${run.tag}`;
  await say(run.alice, text);
  await texts(run.alice, text, [text], SOON_MS, "stored");
  await texts(run.bob, text, [text], SOON_MS);
  const ids = await Promise.all([idOf(run.alice, text), idOf(run.bob, text)]);
  if (ids[0] !== ids[1]) throw new Error(`different ids: ${ids}`);
}

export async function markup(run) {
  const hostile = [
    `${run.tag} <img src=x onerror=alert(1)>`,
    `${run.tag} <script>alert(2)</script>`,
    `${run.tag} <svg onload=alert(3)> &lt;b&gt; {{7*7}} \u202e`,
  ];
  for (const text of hostile) {
    await say(run.alice, text);
    await texts(run.bob, text, [text], SOON_MS);
    await texts(run.alice, text, [text], SOON_MS, "stored");
  }
  for (const tab of [run.alice, run.bob]) {
    const found = await tab.evaluate(() => ({
      inTexts: document.querySelectorAll("[data-testid=message-text] *").length,
      inNames: document.querySelectorAll(".channel-item .name *, [data-testid=channel-name] bdi *")
        .length,
      scripts: document.querySelectorAll("script:not([src^='/page/'])").length,
    }));
    const sum = found.inTexts + found.inNames + found.scripts;
    if (sum !== 0) throw new Error(`${tab.name}: elements made of text: ${JSON.stringify(found)}`);
  }
}

export async function directMessage(run) {
  const text = `just for you ${run.tag}`;
  await submitDialog(run.alice, "new-dm", { "dm-user-input": "bob" }, "dm-create");
  await run.alice.until(
    "the DM is open",
    SOON_MS,
    () => document.querySelector("[data-testid=channel-name]").textContent === "bob",
  );
  await say(run.alice, text);
  await texts(run.alice, text, [text], SOON_MS, "stored");
  run.dmId = await run.alice.evaluate(() => location.hash.slice(1));
  await run.bob.until(
    "the DM is listed as alice with one unread message",
    SOON_MS,
    (id) => {
      const item = document.querySelector(`[data-channel-id="${id}"]`);
      const unread = item?.querySelector("[data-testid=unread]");
      return (
        item?.querySelector(".name").textContent === "alice" &&
        !unread.hidden &&
        Number(unread.textContent) >= 1
      );
    },
    run.dmId,
  );
  await openChannel(run.bob, run.dmId, "alice");
  await texts(run.bob, text, [text], SOON_MS);
  await run.bob.until(
    "reading clears the mark",
    SOON_MS,
    (id) => document.querySelector(`[data-channel-id="${id}"] [data-testid=unread]`).hidden,
    run.dmId,
  );
  const heading = `# ${run.channelName}`;
  for (const tab of [run.alice, run.bob]) await openChannel(tab, run.channelId, heading);
}

export async function lostSends(run) {
  run.expectedComplaints.push(/^Failed to load resource: net::ERR_CONNECTION_RESET/);
  for (const stage of ["Request", "Response"]) {
    const text = `the ${stage.toLowerCase()} got lost ${run.tag}`;
    const { cut } = await run.alice.cutNext("/messages", stage);
    await say(run.alice, text);
    const sent = JSON.parse(await cut);
    await texts(run.alice, text, [text], RECONNECT_MS, "stored");
    await texts(run.bob, text, [text], SOON_MS);
    const shown = await idOf(run.bob, text);
    if (shown !== sent.id) throw new Error(`${stage} cut: sent ${sent.id}, stored ${shown}`);
  }
}
