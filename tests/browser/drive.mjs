// Drives the page in a real browser: node tests/browser/drive.mjs http://127.0.0.1:8080
//
// Opens windows for alice and bob, polls each claim until a deadline, and prints a line per check.
// Exits with 1 and the reason if a check fails, with 64 on wrong use. INKWIRE_CHROMIUM=<path> names
// another browser, INKWIRE_SCREENSHOTS=<directory> keeps two pictures.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import * as changes from "./changes.mjs";
import { Chromium } from "./chromium.mjs";
import * as deliveries from "./deliveries.mjs";
import * as files from "./files.mjs";
import { history } from "./history.mjs";
import * as kept from "./kept.mjs";
import * as meetings from "./meetings.mjs";
import * as mentions from "./mentions.mjs";
import * as outages from "./outages.mjs";
import { SOON_MS } from "./page.mjs";
import * as pins from "./pins.mjs";
import * as reactions from "./reactions.mjs";
import * as people from "./people.mjs";
import * as presence from "./presence.mjs";
import * as talk from "./talk.mjs";
import * as threads from "./threads.mjs";
import * as typing from "./typing.mjs";
import * as words from "./words.mjs";

/** The browser reports a cut socket on the console, and the page cannot prevent that line. */
const EXPECTED = [/^WebSocket connection to 'wss?:\/\/[^']+' failed/];

const CHECKS = [
  ["both become live", talk.bothBecomeLive],
  ["a new channel appears at its member without a reload", talk.createChannel],
  ["a message appears at the other member, once", talk.deliver],
  ["an edit and a deletion appear at the other member, in their place", changes.editAndDelete],
  ["reactions appear at both members, counted, and each knows their own", reactions.reactToEachOther],
  ["the picker closes with Escape, a click elsewhere and its button", reactions.closeThePicker],
  ["pins appear at both members, in the list of pins too, and go with their removal", pins.pinAndUnpin],
  ["files are attached, uploaded and shown at both members", files.attachAndShow],
  ["a file that cannot be sent says why, and is removed", files.refuseAndRemove],
  ["a public channel is browsed, joined, given a topic and archived", people.publicChannel],
  ["markup is shown as text and creates no element", talk.markup],
  ["a DM is named after the other member and marked unread", talk.directMessage],
  ["who is present is shown in DMs, members and the head, which leads to the members", presence.bothAreHere],
  ["a user without input for 5 min is idle, until they do something", presence.idle],
  ["who leaves is shown as gone, and who comes back as here", presence.leaveAndReturn],
  ["without a connection presence is unknown", presence.unknown],
  ["the head of a DM says whether the other one is there", presence.inDirectMessage],
  ["a mention is completed while it is typed, and shown by name at both members", mentions.complete],
  ["a mention is counted in the sidebar, listed, and opens its channel", mentions.countAndList],
  ["an input method's keys and markup in names do nothing in the list of names", mentions.namesAndKeys],
  ["who types in a channel is shown to the other member until the message is there", typing.inChannel],
  ["who types in a thread is shown there alone, and not for long", typing.inThread],
  ["a channel that delivers first is created and marked, and offers what it has", deliveries.create],
  ["the ticks of a message follow it to the other member and to the archive", deliveries.ticks],
  ["where a message is that was delivered first is shown live, with who has it", deliveries.where],
  ["a message that was queued survives a reload, and is delivered once", deliveries.reload],
  ["messages that were delivered first are shown before the server answers", deliveries.shownAtOnce],
  ["a direct message delivers first, too", deliveries.directMessage],
  ["where a message is that was stored first", deliveries.whereElse],
  ["a meeting is created, and who comes late is told how many messages they missed", meetings.comeLate],
  ["users talk in a meeting, and its drafts are stored nowhere", meetings.talk],
  ["the head of a meeting does not count who is online", presence.inMeeting],
  ["what is said in a meeting is on devices, and nowhere else", deliveries.whereInMeeting],
  ["a meeting catches nothing up, and a reload shows nothing of before", meetings.missAndReload],
  ["a meeting ends for everybody, with a notice", meetings.end],
  ["users reply to a message, and the channel stays as it is", threads.reply],
  ["replies are edited, reacted to, pinned and deleted", threads.changeReplies],
  ["the box for a reply completes mentions and takes files", threads.mentionAndAttach],
  ["a followed thread has a badge, is listed, and opens where its news begin", threads.followed],
  ["another device's mark reaches the thread, and a thread is followed or not", threads.otherDevice],
  ["a reload opens the thread again, with what was typed and queued", threads.reload],
  ["an open thread is caught up", threads.catchUp],
  ["on a narrow screen a thread covers its channel", threads.narrow],
  ["a thread that is lost closes and says why", threads.lostThreads],
  ["a send whose request or response is cut is stored once, under its id", talk.lostSends],
  ["scrolling up loads history to its beginning and keeps the place", history],
  ["after a change of the network the page asks whether its node answers", outages.networkChanges],
  [
    "after its node is killed, a page is live on another one, with nothing lost or duplicated",
    outages.killNode,
  ],
  ["going online shows what was missed, and sends what was queued", outages.offline],
  ["drafts and queued messages survive a reload, and the page asks first", kept.reload],
  ["a duplicated tab does not send a queued message a second time", kept.duplicateTab],
  ["without site data the page works, and says what it cannot keep", kept.blockedSiteData],
  ["the Enter of an input method sends nothing", kept.inputMethod],
  ["a late answer to a closed dialog does not switch the channel while the user types", kept.lateDialog],
  ["an address with an invalid user or an unknown channel is refused with a reason", words.addresses],
  ["the page asks before it uses an unknown user id", words.strangers],
  ["what is read in one tab is read in the other", words.badges],
  ["the title says that the page is disconnected", words.title],
  ["the browser's translation stays", words.translation],
  ["a text's direction and stacked marks do not affect its surroundings", words.isolation],
  ...(process.env.INKWIRE_SCREENSHOTS ? [["two screenshots", screenshots]] : []),
  ["text for a channel that the user is removed from stays, and is sent nowhere", kept.removedWhileTyping],
  ["a member who is added again continues in the same place", kept.addedAgain],
  ["a message queued for a lost channel is shown as failed and kept", kept.queuedForALostChannel],
  ["an own name is shown at the messages", people.ownName],
  ["no console errors, no uncaught exceptions", quietConsole],
];

async function main() {
  const base = process.argv[2]?.replace(/\/+$/, "");
  if (!base || !/^https?:\/\//.test(base)) {
    console.error("usage: node drive.mjs <base URL of the page>");
    process.exit(64);
  }
  const run = new Run(base, await Chromium.launch());
  let failed = false;
  try {
    for (const [name, action] of CHECKS) await run.check(name, action);
    console.log("all checks passed");
  } catch (error) {
    failed = true;
    console.log(`FAILED ${run.current}: ${error.message}`);
    await run.printState().catch(() => {});
  } finally {
    await run.browser.close();
  }
  process.exit(failed ? 1 : 0);
}

/** The state that the checks share. */
class Run {
  current = "start";
  /** Distinguishes this run's texts from those already in the workspace. */
  tag = Math.random().toString(36).slice(2, 8);
  expectedComplaints = [...EXPECTED];
  /** Closed tabs, whose console messages still count. */
  closed = [];
  alice = null;
  bob = null;
  channelId = null;
  dmId = null;
  meetingId = null;
  meetingName = null;
  fastId = null;
  fastName = null;
  fastText = null;

  constructor(base, browser) {
    this.base = base;
    this.browser = browser;
    // Markup in a name must be shown as text.
    this.channelName = `browser <i>${this.tag}</i>`;
  }

  async check(name, action) {
    this.current = name;
    const startedAt = Date.now();
    await action(this);
    console.log(`ok ${name} (${Date.now() - startedAt} ms)`);
  }

  async call(method, path, token, body) {
    const headers = { "content-type": "application/json" };
    if (token) headers.authorization = `Bearer ${token}`;
    const response = await fetch(this.base + path, { method, headers, body: JSON.stringify(body) });
    if (!response.ok)
      throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Prints the state of the pages after a failed check. */
  async printState() {
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

async function screenshots(run) {
  const directory = process.env.INKWIRE_SCREENSHOTS;
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "desktop-light.png"), await run.bob.screenshot());
  await run.alice.resize(390, 844, "dark");
  await run.alice.until("the narrow layout", SOON_MS, () => innerWidth === 390);
  await writeFile(join(directory, "mobile-dark.png"), await run.alice.screenshot());
  await run.alice.resize(1440, 900, "light");
}

async function quietConsole(run) {
  const bad = [run.alice, run.bob, ...run.closed].flatMap((tab) =>
    tab.complaints
      .filter(({ text }) => !run.expectedComplaints.some((pattern) => pattern.test(text)))
      .map(({ text, url }) => `${tab.name}: ${text} ${url}`),
  );
  if (bad.length > 0) throw new Error(bad.join("\n  "));
}

await main();
