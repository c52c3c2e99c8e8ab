// Drives the page in a real browser: node tests/browser/drive.mjs http://127.0.0.1:8080
//
// Alice and bob in two windows, each claim polled against a deadline, one line per check. Exit code
// 1 with the reason when a check fails, 64 on wrong use. INKWIRE_SCREENSHOTS=<directory> keeps two
// pictures, INKWIRE_CHROMIUM=<path> names another browser.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Chromium } from "./chromium.mjs";

const LIVE_MS = 20_000;
const SOON_MS = 10_000;
// A node's lease outlives it by 6 s, so a balancer that knows no better may need a second try.
const RECONNECT_MS = 30_000;
const HISTORY_MESSAGES = 80;
const OFFLINE_MESSAGES = 5;

/** The browser itself reports a cut socket; the page can neither prevent nor hide that line. */
const EXPECTED = [/^WebSocket connection to 'wss?:\/\/[^']+' failed/];

async function main() {
  const base = process.argv[2]?.replace(/\/+$/, "");
  if (!base || !/^https?:\/\//.test(base)) {
    console.error("usage: node drive.mjs <base URL of the page>");
    process.exit(64);
  }
  const run = new Run(base, await Chromium.launch());
  let failed = false;
  try {
    await run.all();
    console.log("all checks passed");
  } catch (error) {
    failed = true;
    console.log(`FAILED ${run.current}: ${error.message}`);
    await run.tellState().catch(() => {});
  } finally {
    await run.browser.close();
  }
  process.exit(failed ? 1 : 0);
}

class Run {
  current = "start";
  /** Keeps this run's texts apart from whatever the workspace holds already. */
  tag = Math.random().toString(36).slice(2, 8);
  expectedComplaints = [...EXPECTED];

  constructor(base, browser) {
    this.base = base;
    this.browser = browser;
    // Markup in a name is text as well.
    this.channelName = `browser <i>${this.tag}</i>`;
  }

  async all() {
    await this.check("both become live", () => this.bothBecomeLive());
    await this.check("a new channel appears at its member without a reload", () =>
      this.createChannel(),
    );
    await this.check("a message appears at the other member, once", () => this.deliver());
    await this.check("markup is shown as text and creates no element", () => this.markup());
    await this.check("a DM is named after the other member and marked unread", () =>
      this.directMessage(),
    );
    await this.check("a send that is cut on its way out or back is stored once, under its id", () =>
      this.lostSends(),
    );
    await this.check("scrolling up loads history to its beginning and keeps the place", () =>
      this.history(),
    );
    await this.check(
      "after its node was killed a page is live on another one, nothing lost or doubled",
      () => this.killNode(),
    );
    await this.check(
      `going online brings the ${OFFLINE_MESSAGES} missed messages, and sends what was queued`,
      () => this.offline(),
    );
    const pictures = process.env.INKWIRE_SCREENSHOTS;
    if (pictures) await this.check("two screenshots", () => this.screenshots(pictures));
    await this.check("a removed member loses the channel", () => this.removeMember());
    await this.check("no console errors and no uncaught exceptions", () => this.quietConsole());
  }

  async check(name, action) {
    this.current = name;
    const startedAt = Date.now();
    await action();
    console.log(`ok ${name} (${Date.now() - startedAt} ms)`);
  }

  async bothBecomeLive() {
    this.alice = await this.browser.open("alice", `${this.base}/?as=alice`);
    await live(this.alice, LIVE_MS);
    this.bob = await this.browser.open("bob", `${this.base}/?as=bob`);
    await live(this.bob, LIVE_MS);
    for (const tab of [this.alice, this.bob]) {
      await tab.until("a node id", SOON_MS, () => {
        const text = document.querySelector("[data-testid=node-id]").textContent;
        return text !== "" && text !== "none";
      });
    }
  }

  async createChannel() {
    await this.alice.click("new-channel");
    await this.alice.type("channel-name-input", this.channelName);
    await this.alice.evaluate(() =>
      document.querySelector("input[name=member][value=bob]").click(),
    );
    await this.alice.click("channel-create");
    const heading = `# ${this.channelName}`;
    await this.alice.until(
      "the new channel is open",
      SOON_MS,
      (wanted) => document.querySelector("[data-testid=channel-name]").textContent === wanted,
      heading,
    );
    this.channelId = await this.alice.evaluate(() => location.hash.slice(1));
    await this.openChannel(this.bob, this.channelId, heading);
  }

  async openChannel(tab, channelId, heading) {
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

  async deliver() {
    const text = `hello bob ${this.tag}`;
    await say(this.alice, text);
    await texts(this.alice, text, [text], SOON_MS, "stored");
    await texts(this.bob, text, [text], SOON_MS);
    const ids = await Promise.all([idOf(this.alice, text), idOf(this.bob, text)]);
    if (ids[0] !== ids[1]) throw new Error(`different ids: ${ids}`);
  }

  async markup() {
    const hostile = [
      `${this.tag} <img src=x onerror=alert(1)>`,
      `${this.tag} <script>alert(2)</script>`,
      `${this.tag} <svg onload=alert(3)> &lt;b&gt; {{7*7}} \u202e`,
    ];
    for (const text of hostile) {
      await say(this.alice, text);
      await texts(this.bob, text, [text], SOON_MS);
      await texts(this.alice, text, [text], SOON_MS, "stored");
    }
    for (const tab of [this.alice, this.bob]) {
      const found = await tab.evaluate(() => ({
        inTexts: document.querySelectorAll("[data-testid=message-text] *").length,
        inNames: document.querySelectorAll(".channel-item .name *, [data-testid=channel-name] *")
          .length,
        scripts: document.querySelectorAll("script:not([src^='/page/'])").length,
      }));
      const sum = found.inTexts + found.inNames + found.scripts;
      if (sum !== 0)
        throw new Error(`${tab.name}: elements made of text: ${JSON.stringify(found)}`);
    }
  }

  async directMessage() {
    const text = `just for you ${this.tag}`;
    await this.alice.click("new-dm");
    await this.alice.type("dm-user-input", "bob");
    await this.alice.click("dm-create");
    await this.alice.until(
      "the DM is open",
      SOON_MS,
      () => document.querySelector("[data-testid=channel-name]").textContent === "bob",
    );
    await say(this.alice, text);
    await texts(this.alice, text, [text], SOON_MS, "stored");
    const dmId = await this.alice.evaluate(() => location.hash.slice(1));
    await this.bob.until(
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
      dmId,
    );
    await this.openChannel(this.bob, dmId, "alice");
    await texts(this.bob, text, [text], SOON_MS);
    await this.bob.until(
      "reading clears the mark",
      SOON_MS,
      (id) => document.querySelector(`[data-channel-id="${id}"] [data-testid=unread]`).hidden,
      dmId,
    );
    const heading = `# ${this.channelName}`;
    for (const tab of [this.alice, this.bob]) await this.openChannel(tab, this.channelId, heading);
  }

  async lostSends() {
    this.expectedComplaints.push(/^Failed to load resource: net::ERR_CONNECTION_RESET/);
    for (const stage of ["Request", "Response"]) {
      const text = `the ${stage.toLowerCase()} got lost ${this.tag}`;
      const { cut } = await this.alice.cutNext("/messages", stage);
      await say(this.alice, text);
      const sent = JSON.parse(await cut);
      await texts(this.alice, text, [text], RECONNECT_MS, "stored");
      await texts(this.bob, text, [text], SOON_MS);
      const shown = await idOf(this.bob, text);
      if (shown !== sent.id) throw new Error(`${stage} cut: sent ${sent.id}, stored ${shown}`);
    }
  }

  async history() {
    const { token } = await this.call("POST", "/dev/token", null, {
      workspace_id: "demo",
      user_id: "alice",
    });
    const expected = [];
    for (let number = 1; number <= HISTORY_MESSAGES; number += 1) {
      const text = `history ${this.tag} ${String(number).padStart(2, "0")}`;
      await this.call("POST", "/messages", token, { channel_id: this.channelId, message: text });
      expected.push(text);
    }
    await this.bob.go(`${this.base}/?as=bob#${this.channelId}`);
    await live(this.bob, LIVE_MS);
    await this.bob.until(
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
    const firstPage = await this.bob.evaluate(
      () => document.querySelectorAll("[data-testid=message]").length,
    );
    if (firstPage >= HISTORY_MESSAGES)
      throw new Error(`everything was loaded at once: ${firstPage}`);

    // Short pages load on until the view is full: only then is the next one the reader's doing.
    await this.bob.until("the first pages fill the view", SOON_MS, () => {
      return document.querySelector("[data-testid=history-edge]").dataset.state === "more";
    });
    const moved = await this.bob.evaluate(measureJumpWhileLoading);
    if (!(moved.loaded > 0))
      throw new Error(`scrolling up loaded nothing: ${JSON.stringify(moved)}`);
    if (Math.abs(moved.jump) > 2) throw new Error(`the place in view jumped by ${moved.jump} px`);
    await this.bob.until("the beginning of the channel", RECONNECT_MS, () => {
      document.querySelector("[data-testid=message-scroll]").scrollTop = 0;
      return document.querySelector("[data-testid=history-start]") !== null;
    });
    await texts(this.bob, `history ${this.tag}`, expected, SOON_MS);
    await texts(this.bob, `hello bob ${this.tag}`, [`hello bob ${this.tag}`], SOON_MS);
    await sortedAndUnique(this.bob);
    await this.bob.evaluate(() => {
      const scroller = document.querySelector("[data-testid=message-scroll]");
      scroller.scrollTop = scroller.scrollHeight;
    });
  }

  async killNode() {
    const nodeBefore = await nodeOf(this.bob);
    const prefix = `during the outage ${this.tag}`;
    const expected = [1, 2, 3].map((number) => `${prefix} ${number}`);
    await this.bob.click("kill-node");
    for (const text of expected) await say(this.alice, text);
    await this.bob.until(
      "live on another node",
      RECONNECT_MS,
      (before) => {
        const state = document.querySelector("[data-testid=connection-state]").dataset.state;
        const node = document.querySelector("[data-testid=node-id]").textContent;
        return state === "live" && node !== before && node !== "none";
      },
      nodeBefore,
    );
    await texts(this.alice, prefix, expected, RECONNECT_MS, "stored");
    await texts(this.bob, prefix, expected, RECONNECT_MS);
    await sortedAndUnique(this.bob);
    await this.bob.until("the log tells of the lost node", SOON_MS, () =>
      [...document.querySelectorAll("[data-testid=event]")].some((entry) =>
        entry.textContent.includes("/connect?failed="),
      ),
    );
    // Alice may have been on the same node.
    await live(this.alice, RECONNECT_MS);
    const after = `after the outage ${this.tag}`;
    await say(this.alice, after);
    await texts(this.bob, after, [after], SOON_MS);
  }

  async offline() {
    await this.bob.click("offline-toggle");
    await this.bob.until(
      "offline",
      SOON_MS,
      () => document.querySelector("[data-testid=connection-state]").dataset.state === "offline",
    );
    const prefix = `while bob was away ${this.tag}`;
    const expected = Array.from(
      { length: OFFLINE_MESSAGES },
      (_, index) => `${prefix} ${index + 1}`,
    );
    for (const text of expected) await say(this.alice, text);
    await texts(this.alice, prefix, expected, SOON_MS, "stored");
    const queued = `typed offline ${this.tag}`;
    await say(this.bob, queued);
    await texts(this.bob, queued, [queued], SOON_MS, "queued");
    await texts(this.bob, prefix, [], 0);

    await this.bob.click("offline-toggle");
    await live(this.bob, RECONNECT_MS);
    await this.bob.until(
      `a missed count of ${OFFLINE_MESSAGES}`,
      SOON_MS,
      (wanted) =>
        document.querySelector("[data-testid=missed-count]").textContent === String(wanted),
      OFFLINE_MESSAGES,
    );
    await texts(this.bob, prefix, expected, SOON_MS);
    await texts(this.bob, queued, [queued], SOON_MS, "stored");
    await texts(this.alice, queued, [queued], SOON_MS);
    await sortedAndUnique(this.bob);
  }

  async removeMember() {
    await this.alice.click("remove-member");
    await this.alice.click("confirm-ok");
    await this.alice.until(
      "bob is no member any more",
      SOON_MS,
      () => document.querySelector("[data-testid=member-item][data-user-id=bob]") === null,
    );
    await this.bob.until(
      "the channel is gone at bob",
      SOON_MS,
      (id) =>
        document.querySelector(`[data-channel-id="${id}"]`) === null && location.hash !== `#${id}`,
      this.channelId,
    );
  }

  async screenshots(directory) {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "desktop-light.png"), await this.bob.screenshot());
    await this.alice.resize(390, 844, "dark");
    await this.alice.until("the narrow layout", SOON_MS, () => innerWidth === 390);
    await writeFile(join(directory, "mobile-dark.png"), await this.alice.screenshot());
    await this.alice.resize(1440, 900, "light");
  }

  async quietConsole() {
    const bad = [this.alice, this.bob].flatMap((tab) =>
      tab.complaints
        .filter(({ text }) => !this.expectedComplaints.some((pattern) => pattern.test(text)))
        .map(({ text, url }) => `${tab.name}: ${text} ${url}`),
    );
    if (bad.length > 0) throw new Error(bad.join("\n  "));
  }

  async call(method, path, token, body) {
    const headers = { "content-type": "application/json" };
    if (token) headers.authorization = `Bearer ${token}`;
    const response = await fetch(this.base + path, { method, headers, body: JSON.stringify(body) });
    if (!response.ok)
      throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** What the pages thought when a check failed. */
  async tellState() {
    for (const tab of [this.alice, this.bob]) {
      if (!tab) continue;
      const state = await tab.evaluate(() => ({
        connection: document.querySelector("[data-testid=connection-state]")?.dataset.state,
        node: document.querySelector("[data-testid=node-id]")?.textContent,
        notice: document.querySelector("[data-testid=notice]")?.textContent.trim(),
        events: [...document.querySelectorAll("[data-testid=event]")]
          .slice(0, 6)
          .map((entry) => entry.textContent),
      }));
      console.log(`  ${tab.name}: ${JSON.stringify(state, null, 2).replaceAll("\n", "\n  ")}`);
      for (const { text, url } of tab.complaints)
        console.log(`  ${tab.name} console: ${text} ${url}`);
    }
  }
}

function live(tab, deadlineMs) {
  return tab.until(
    "the connection is live",
    deadlineMs,
    () => document.querySelector("[data-testid=connection-state]")?.dataset.state === "live",
  );
}

function nodeOf(tab) {
  return tab.evaluate(() => document.querySelector("[data-testid=node-id]").textContent);
}

async function say(tab, text) {
  await tab.type("composer", text);
  await tab.press("Enter");
  await tab.until(
    "the composer is empty again",
    SOON_MS,
    () => document.querySelector("[data-testid=composer]").value === "",
  );
}

/** The shown texts that begin with `prefix` are exactly `expected`, in that order, each once. */
async function texts(tab, prefix, expected, deadlineMs, delivery = null) {
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

function idOf(tab, text) {
  return tab.evaluate(
    (wanted) =>
      [...document.querySelectorAll("[data-testid=message]")].find(
        (node) => node.querySelector("[data-testid=message-text]").textContent === wanted,
      ).dataset.messageId,
    text,
  );
}

async function sortedAndUnique(tab) {
  const ids = await tab.evaluate(() =>
    [...document.querySelectorAll("[data-testid=message]")].map((node) => node.dataset.messageId),
  );
  const sorted = [...new Set(ids)].sort();
  if (JSON.stringify(ids) !== JSON.stringify(sorted))
    throw new Error(`${tab.name}: ids not sorted or not unique: ${ids}`);
}

/** In the page: scrolls near the top, waits for an older page, measures how far a message moved. */
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

await main();
