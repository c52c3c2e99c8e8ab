// Text that a user wrote is not lost, not sent twice, and not sent to another channel.

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

/** Typed and queued text survives a reload, and the page asks before the user leaves it. */
export async function reload(run) {
  const draft = `not sent yet ${run.tag}`;
  const queued = `queued over a reload ${run.tag}`;
  await goOffline(run.bob);
  await say(run.bob, queued);
  await texts(run.bob, queued, [queued], SOON_MS, "queued");
  await run.bob.type("composer", draft);
  const askedBefore = run.bob.leavingAsked;
  await run.bob.evaluate(() => (document.documentElement.dataset.before = "reload"));
  await run.bob.reload();
  await run.bob.until("a new document", SOON_MS, () => !document.documentElement.dataset.before);
  await live(run.bob, LIVE_MS);
  if (run.bob.leavingAsked === askedBefore) throw new Error("the page was left without asking");
  await composerHolds(run.bob, draft);
  await texts(run.bob, queued, [queued], SOON_MS, "stored");
  await texts(run.alice, queued, [queued], SOON_MS);
  await clearComposer(run.bob);
}

/** Two tabs must not both send a queued message: after a newer one, each would mint another id. */
export async function duplicateTab(run) {
  const queued = `queued in two tabs ${run.tag}`;
  const newer = `newer than what is queued ${run.tag}`;
  await goOffline(run.bob);
  await say(run.bob, queued);
  await texts(run.bob, queued, [queued], SOON_MS, "queued");
  await say(run.alice, newer);
  await texts(run.alice, newer, [newer], SOON_MS, "stored");
  const copy = await run.browser.duplicate(run.bob, "copy of bob's tab");
  await live(copy, LIVE_MS);
  await texts(copy, newer, [newer], SOON_MS);
  await run.bob.click("offline-toggle");
  await live(run.bob, LIVE_MS);
  await texts(run.bob, queued, [queued], SOON_MS, "stored");
  // The copy's own message is stored after everything that it could have sent before.
  const last = `from the copy ${run.tag}`;
  await say(copy, last);
  await texts(run.alice, last, [last], SOON_MS);
  await texts(run.alice, queued, [queued], 0);
  run.closed.push(copy);
  await copy.close();
}

/** Storage throws on every access, as in a browser that blocks site data. */
export async function blockedSiteData(run) {
  const tab = await run.browser.openBlank("bob without site data");
  await tab.beforeScripts(() => {
    const refuse = {
      get() {
        throw new DOMException("blocked", "SecurityError");
      },
    };
    Object.defineProperty(window, "localStorage", refuse);
    Object.defineProperty(window, "sessionStorage", refuse);
  });
  await tab.go(`${run.base}/?as=bob#${run.channelId}`);
  await live(tab, LIVE_MS);
  await tab.until("the page says that it keeps nothing", SOON_MS, () =>
    document.querySelector("[data-testid=notice]").textContent.includes("blocks site data"),
  );
  const text = `without site data ${run.tag}`;
  await say(tab, text);
  await texts(run.alice, text, [text], SOON_MS);
  run.closed.push(tab);
  await tab.close();
}

/** In Safari, the Enter that ends an input method's composition differs only by its key code. */
export async function inputMethod(run) {
  const text = `half a word ${run.tag}`;
  await run.bob.type("composer", text);
  const wasTaken = await run.bob.evaluate(() => {
    const key = { key: "Enter", keyCode: 229, bubbles: true, cancelable: true };
    const box = document.querySelector("[data-testid=composer]");
    return !box.dispatchEvent(new KeyboardEvent("keydown", key));
  });
  if (wasTaken) throw new Error("the page handled the Enter of an input method");
  await composerHolds(run.bob, text);
  await clearComposer(run.bob);
}

/** Bob types while alice removes him: his text stays, and further keys go to no other channel. */
export async function removedWhileTyping(run) {
  const heading = `# ${run.channelName}`;
  const typed = `for this channel only ${run.tag}`;
  await openChannel(run.bob, run.channelId, heading);
  await run.bob.type("composer", typed);
  await removeBob(run);
  await run.bob.until(
    "bob's list no longer has the channel",
    SOON_MS,
    (id) => document.querySelector(`#channel-list [data-channel-id="${id}"]`) === null,
    run.channelId,
  );
  await run.bob.until("the page says that he is no longer a member", SOON_MS, () =>
    document
      .querySelector("[data-testid=composer-note]")
      .textContent.includes("no longer a member"),
  );
  // He keeps typing without noticing.
  await run.bob.send("Input.insertText", { text: " and more" });
  await run.bob.press("Enter");
  const state = await run.bob.evaluate(() => {
    const box = document.querySelector("[data-testid=composer]");
    return { value: box.value, focused: document.activeElement === box, readOnly: box.readOnly };
  });
  const wanted = { value: typed, focused: true, readOnly: true };
  if (JSON.stringify(state) !== JSON.stringify(wanted))
    throw new Error(`the composer is ${JSON.stringify(state)}`);
  if ((await channelName(run.bob)) !== heading) throw new Error("another channel was opened");

  // The text can be copied, also after a reload, until he deletes it.
  await run.bob.reload();
  await run.bob.until("the text is listed", LIVE_MS, () =>
    document.querySelector("[data-testid=kept-list] [data-testid=channel-item]"),
  );
  await composerHolds(run.bob, typed);
  await run.bob.click("composer-delete");
  await run.bob.until(
    "nothing is listed",
    SOON_MS,
    () => document.querySelector("[data-testid=kept-list] [data-testid=channel-item]") === null,
  );
}

/** A late answer to a closed dialog opens nothing, because the user may be writing elsewhere. */
export async function lateDialog(run) {
  const draft = `typed while a dialog's call was under way ${run.tag}`;
  const { held } = await run.alice.holdNext("/channels");
  const name = { "channel-name-input": `late ${run.tag}` };
  await submitDialog(run.alice, "new-channel", name, "channel-create");
  const goOn = await held;
  await run.alice.press("Escape");
  await run.alice.type("composer", draft);
  const before = await channelName(run.alice);
  await goOn();
  await run.alice.until(
    "the new channel is listed",
    SOON_MS,
    (name) =>
      [...document.querySelectorAll("#channel-list .name")].some((n) => n.textContent === name),
    `late ${run.tag}`,
  );
  await run.alice.until(
    "the call has ended",
    SOON_MS,
    () => document.querySelector("[data-testid=channel-create]").disabled === false,
  );
  if ((await channelName(run.alice)) !== before) throw new Error("another channel was opened");
  await composerHolds(run.alice, draft);
  await clearComposer(run.alice);
}

/** If bob is added again, the channel opens at his current address. */
export async function addedAgain(run) {
  await submitDialog(run.alice, "add-member", { "member-user-input": "bob" }, "member-add-submit");
  await run.bob.until(
    "the composer takes text again",
    SOON_MS,
    () => document.querySelector("[data-testid=composer]").readOnly === false,
  );
  const text = `back in the channel ${run.tag}`;
  await say(run.bob, text);
  await texts(run.alice, text, [text], SOON_MS);
}

/** Text queued for a channel that the user was removed from is shown, and can be copied. */
export async function queuedForALostChannel(run) {
  // The message may be sent before the list of channels is read; the browser logs the refusal.
  run.expectedComplaints.push(/^Failed to load resource: .* status of 404/);
  const text = `queued for a lost channel ${run.tag}`;
  await goOffline(run.bob);
  await say(run.bob, text);
  await texts(run.bob, text, [text], SOON_MS, "queued");
  await removeBob(run);
  await run.bob.click("offline-toggle");
  await live(run.bob, LIVE_MS);
  await texts(run.bob, text, [text], SOON_MS, "failed");
  await run.bob.click("discard");
  await texts(run.bob, text, [], SOON_MS);
}

async function removeBob(run) {
  await run.alice.click("remove-member");
  await run.alice.click("confirm-ok");
  await run.alice.until(
    "bob is no longer a member",
    SOON_MS,
    () => document.querySelector("[data-testid=member-item][data-user-id=bob]") === null,
  );
}

function composerHolds(tab, text) {
  return tab.until(
    `the composer holds ${JSON.stringify(text)}`,
    SOON_MS,
    (wanted) => document.querySelector("[data-testid=composer]").value === wanted,
    text,
  );
}

function clearComposer(tab) {
  return tab.evaluate(() => {
    const box = document.querySelector("[data-testid=composer]");
    box.value = "";
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
