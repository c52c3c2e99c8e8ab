// A channel that keeps nothing: two users talk in it, one comes late, a reload shows nothing of
// before, and it ends.

import { goOffline, live, LIVE_MS, openChannel, say, SOON_MS, texts } from "./page.mjs";

/** Of its sender's own page: nothing of a meeting is stored. */
const SAID = "said";

export async function comeLate(run) {
  const name = `stand-up-${run.tag}`;
  run.meetingName = name;
  await run.alice.click("new-channel");
  await run.alice.type("channel-name-input", name);
  await run.alice.click("channel-meeting-input");
  await run.alice.evaluate(() => document.querySelector("input[value=bob]").click());
  await run.alice.click("channel-create");
  await heading(run.alice, name);
  run.meetingId = await run.alice.evaluate(() => location.hash.slice(1));
  await inMeeting(run.alice);
  for (const text of [`one ${run.tag}`, `two ${run.tag}`]) {
    await say(run.alice, text);
    await texts(run.alice, text, [text], SOON_MS, SAID);
  }
  await openChannel(run.bob, run.meetingId, name);
  await inMeeting(run.bob);
  await notes(run.bob, ["You missed 2 messages"]);
  await texts(run.bob, "", [], SOON_MS);
  await run.alice.until(
    "the header says that nothing is kept, and files are hidden",
    SOON_MS,
    () =>
      document.querySelector("#channel-meta").textContent.includes("nothing is kept") &&
      document.querySelector("[data-testid=attach]").hidden &&
      document.querySelector("[data-testid=pins]").hidden,
  );
}

export async function talk(run) {
  const [hi, hello] = [`hi ${run.tag}`, `hello ${run.tag}`];
  await say(run.bob, hi);
  await texts(run.alice, hi, [hi], SOON_MS);
  await say(run.alice, hello);
  await texts(run.bob, hello, [hello], SOON_MS);
  await texts(run.bob, "", [hi, hello], SOON_MS, SAID);
  await notes(run.alice, []);
  await run.alice.type("composer", "typ");
  await typeUntilShown(run.alice, run.bob);
  await run.alice.evaluate(() => document.querySelector("[data-testid=composer]").select());
  await run.alice.send("Input.insertText", { text: "é".repeat(2_049) });
  await run.alice.until(
    "a text over 4 KiB is refused before it is sent",
    SOON_MS,
    () =>
      document.querySelector("[data-part=hint]").dataset.over?.startsWith("2 bytes too long") &&
      document.querySelector("[data-testid=send]").disabled,
  );
  await run.alice.evaluate(() => document.querySelector("[data-testid=composer]").select());
  await run.alice.send("Input.insertText", { text: "half a sentence" });
  // It stays with its channel while another one is open.
  await openChannel(run.alice, run.channelId, `# ${run.channelName}`);
  await openChannel(run.alice, run.meetingId, run.meetingName);
  await run.alice.until(
    "the text is back, and stored nowhere",
    SOON_MS,
    () =>
      document.querySelector("[data-testid=composer]").value === "half a sentence" &&
      !JSON.stringify([{ ...localStorage }, { ...sessionStorage }]).includes("half a sentence"),
  );
  await run.alice.evaluate(() => document.querySelector("[data-testid=composer]").select());
  await run.alice.press("Backspace");
}

export async function missAndReload(run) {
  await goOffline(run.bob);
  const lost = `not sent ${run.tag}`;
  await say(run.bob, lost);
  await texts(run.bob, lost, [lost], SOON_MS, "failed");
  const missed = `missed ${run.tag}`;
  await say(run.alice, missed);
  await texts(run.alice, missed, [missed], SOON_MS, SAID);
  await run.bob.click("offline-toggle");
  await live(run.bob, LIVE_MS);
  await notes(run.bob, ["You missed 2 messages", "You missed 1 message"]);
  await texts(run.bob, missed, [], SOON_MS);
  await run.bob.clickWithin("[data-testid=message] [data-testid=retry]");
  await texts(run.alice, lost, [lost], SOON_MS);
  await texts(run.bob, lost, [lost], SOON_MS, SAID);
  await run.bob.reload();
  await live(run.bob, LIVE_MS);
  await heading(run.bob, run.meetingName);
  await inMeeting(run.bob);
  // Two before he came, two of the talk, the missed one, and his own.
  await notes(run.bob, ["You missed 6 messages"]);
  await texts(run.bob, "", [], SOON_MS);
  const kept = await run.bob.evaluate(
    (tag) => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]).includes(`hi ${tag}`),
    run.tag,
  );
  if (kept) throw new Error("a text of the meeting is in the browser's storage");
}

export async function end(run) {
  const isBobs = await run.bob.evaluate(
    () => !document.querySelector("[data-testid=end-meeting]").hidden,
  );
  if (isBobs) throw new Error("bob, who does not own it, can end the meeting");
  await run.alice.click("end-meeting");
  await run.alice.click("confirm-ok");
  for (const tab of [run.alice, run.bob]) {
    await tab.until(
      "the meeting is closed, with a notice",
      SOON_MS,
      (id) =>
        document.querySelector("[data-testid=meeting-over]") !== null &&
        document.querySelector("[data-testid=notice]").textContent.includes("has ended") &&
        document.querySelector(`.channel-item[data-channel-id="${id}"]`) === null &&
        document.querySelector("[data-testid=composer]").readOnly,
      run.meetingId,
    );
    await texts(tab, "", [], SOON_MS);
    await openChannel(tab, run.channelId, `# ${run.channelName}`);
  }
}

export function inMeeting(tab) {
  return tab.until(
    "the page is in the meeting",
    SOON_MS,
    () => document.querySelector("[data-testid=meeting-state]")?.textContent === "You are in the meeting.",
  );
}

function heading(tab, wanted) {
  return tab.until(
    `${wanted} is open`,
    SOON_MS,
    (name) => document.querySelector("[data-testid=channel-name]").textContent === name,
    wanted,
  );
}

/** Waits until the notes between the messages are exactly these. */
function notes(tab, wanted) {
  return tab.until(
    `the notes are ${JSON.stringify(wanted)}`,
    SOON_MS,
    (expected) => {
      const shown = [...document.querySelectorAll("[data-testid=divider-lost]")];
      return JSON.stringify(shown.map((node) => node.textContent)) === JSON.stringify(expected);
    },
    wanted,
  );
}

async function typeUntilShown(typist, tab) {
  const end = Date.now() + SOON_MS;
  const isShown = () => !document.querySelector("[data-testid=typing]").hidden;
  while (!(await tab.evaluate(isShown))) {
    if (Date.now() >= end) throw new Error(`${tab.name} is not told who types`);
    await typist.send("Input.insertText", { text: "." });
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
