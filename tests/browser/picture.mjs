// Makes the picture for the README, from a stack with a fresh data directory:
//
//   node tests/browser/picture.mjs http://127.0.0.1:8080 docs/page.png
//
// Three users write messages; alice's node is killed while the others continue.

import { writeFile } from "node:fs/promises";

import { Chromium } from "./chromium.mjs";
import { live, LIVE_MS, RECONNECT_MS, say, SOON_MS, texts } from "./page.mjs";

const [WIDTH, HEIGHT] = [1280, 800];
const BEFORE = [
  ["alice", "Morning! The release candidate is on staging."],
  ["bob", "Looking at it now. Search feels fast today."],
  ["carol", "Release notes are ready, one line is missing: what happens when a node dies?"],
  ["alice", "Good question. I kill mine while you two keep writing, then we know."],
];
const MEANWHILE = [
  ["bob", "Is she still there?"],
  ["carol", "If so, the line is: nothing is lost."],
];
const AFTER = [["alice", "I am on the other node, and your two messages are here."]];

const [base, file] = process.argv.slice(2);
if (!/^https?:\/\//.test(base ?? "") || !file) {
  console.error("usage: node picture.mjs <base URL of the page> <file.png>");
  process.exit(64);
}
const browser = await Chromium.launch();
try {
  await writeFile(file, await picture());
  console.log(`wrote ${file}`);
} finally {
  await browser.close();
}

async function picture() {
  const people = {};
  const channelId = await makeChannel();
  const tokens = { bob: await token("bob"), carol: await token("carol") };
  for (const name of ["alice", "bob", "carol"]) {
    people[name] = await browser.open(name, `${base}/?as=${name}#${channelId}`);
    await live(people[name], LIVE_MS);
  }
  const talk = async (lines) => {
    for (const [name, text] of lines) {
      await say(people[name], text);
      await texts(people[name], text, [text], SOON_MS, "stored");
    }
  };
  const { alice } = people;
  await talk(BEFORE);
  await alice.until("all messages are shown", SOON_MS, count, BEFORE.length);
  // A reconnect is faster than typing, so hold it back for two messages.
  const { held } = await alice.holdNext("/connect?failed=*");
  await alice.click("kill-node");
  const goOn = await held;
  for (const [name, message] of MEANWHILE)
    await call("/messages", { channel_id: channelId, message }, tokens[name]);
  await goOn();
  await live(alice, RECONNECT_MS);
  await alice.until("the missed messages are shown", SOON_MS, count, BEFORE.length + MEANWHILE.length);
  await talk(AFTER);
  await alice.resize(WIDTH, HEIGHT, "light");
  await alice.until("the new size", SOON_MS, (width) => innerWidth === width, WIDTH);
  return alice.screenshot();
}

/** Runs in the page: whether this many messages are shown. */
function count(wanted) {
  return document.querySelectorAll("[data-testid=message]").length === wanted;
}

async function makeChannel() {
  const body = { type: "GROUP_CHANNEL", name: "release", members: ["bob", "carol"] };
  return (await call("/channels", body, await token("alice"))).channel_id;
}

async function token(userId) {
  return (await call("/dev/token", { workspace_id: "demo", user_id: userId })).token;
}

async function call(path, body, bearer) {
  const authorization = bearer ? { authorization: `Bearer ${bearer}` } : {};
  const headers = { "content-type": "application/json", ...authorization };
  const response = await fetch(base + path, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}
