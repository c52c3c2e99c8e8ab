// A public channel is browsed, joined, changed and archived, and users have names.

import { openChannel, say, SOON_MS, submitDialog, texts } from "./page.mjs";

export async function publicChannel(run) {
  const name = `lunch-${run.tag}`;
  await run.alice.click("new-channel");
  await run.alice.type("channel-name-input", name);
  await run.alice.evaluate(() => document.querySelector("input[name=public]").click());
  await run.alice.click("channel-create");
  await heading(run.alice, `# ${name}`);
  await run.bob.click("browse");
  await run.bob.until(
    "bob can join it",
    SOON_MS,
    (wanted) => {
      const rows = [...document.querySelectorAll("[data-testid=public-channel]")];
      const row = rows.find((one) => one.querySelector("b").textContent === `# ${wanted}`);
      row?.querySelector("[data-testid=join]").click();
      return row !== undefined;
    },
    name,
  );
  await heading(run.bob, `# ${name}`);
  const text = `welcome ${run.tag}`;
  await say(run.alice, text);
  await texts(run.bob, text, [text], SOON_MS);
  // His row moves what is below it, also while it is clicked on.
  await run.alice.until("bob is listed as a member", SOON_MS, () =>
    document.querySelector("[data-testid=member-item][data-user-id=bob]") !== null,
  );

  const topic = `noon <b>${run.tag}</b>`;
  await submitDialog(run.alice, "edit-channel", { "details-topic-input": topic }, "details-save");
  await shows(run.bob, "channel-topic", topic);
  await run.alice.click("edit-channel");
  await run.alice.click("details-archived-input");
  await run.alice.click("details-save");
  for (const tab of [run.alice, run.bob])
    await tab.until(
      "nobody can write",
      SOON_MS,
      () => document.querySelector("[data-testid=composer]").readOnly,
    );
  for (const tab of [run.alice, run.bob])
    await openChannel(tab, run.channelId, `# ${run.channelName}`);
}

export async function ownName(run) {
  const name = `Alice ${run.tag}`;
  await run.alice.click("edit-profile");
  await run.alice.click("profile-name-input");
  // It has the name of now, if her page has read that.
  await run.alice.evaluate(() => document.querySelector("[data-testid=profile-name-input]").select());
  await run.alice.send("Input.insertText", { text: name });
  await run.alice.click("profile-save");
  await shows(run.alice, "me", name);
  await run.alice.until(
    "her messages have her name",
    SOON_MS,
    (wanted) => {
      const own = document.querySelector("[data-sender=alice] .sender");
      return own !== null && own.textContent === wanted;
    },
    name,
  );
}

function heading(tab, wanted) {
  return shows(tab, "channel-name", wanted);
}

function shows(tab, testId, wanted) {
  return tab.until(
    `${testId} is ${wanted}`,
    SOON_MS,
    ([id, text]) => document.querySelector(`[data-testid=${id}]`).textContent === text,
    [testId, wanted],
  );
}
