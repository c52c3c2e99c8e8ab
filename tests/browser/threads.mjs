// Users reply to a message: the thread beside its channel, its badge, its address, a narrow screen.

import { goOffline, idOf, live, LIVE_MS, openChannel, say, SOON_MS, texts } from "./page.mjs";

const REPLY_BOX = "[data-testid=thread-composer]";

/** Two users write to each other under one message, and the channel stays as it is. */
export async function reply(run) {
  const [root, first, second] = ["question", "first answer", "second answer"].map(
    (text) => `${text} ${run.tag}`,
  );
  run.thread = { root, first, second };
  await say(run.alice, root);
  await texts(run.bob, root, [root], SOON_MS);
  run.thread.id = await idOf(run.bob, root);
  await run.bob.clickWithin(`${row(run)} [data-testid=reply]`);
  // Without a mouse it is the title: a focus in the box would open a touch screen's keyboard.
  await hasFocus(run.bob, "#thread *");
  await shownRoot(run.bob, root);
  await write(run.bob, first);
  await replies(run.bob, [first], "stored");
  await summary(run.alice, run, "1 reply");
  await run.alice.clickWithin(`${row(run)} [data-testid=replies]`);
  await replies(run.alice, [first]);
  await write(run.alice, second);
  for (const tab of [run.alice, run.bob]) {
    await replies(tab, [first, second], "stored");
    await summary(tab, run, "2 replies");
    const inChannel = await tab.evaluate(
      (wanted) => document.querySelector("#message-list").textContent.includes(wanted),
      first,
    );
    if (inChannel) throw new Error(`${tab.name} shows a reply among the channel's messages`);
  }
}

/** What a message has works for a reply, too. */
export async function changeReplies(run) {
  const { first, second } = run.thread;
  const [edited, removed] = [`edited answer ${run.tag}`, `a slip ${run.tag}`];
  const id = await replyId(run.bob, first);
  await run.bob.clickWithin(`${replyRow(id)} [data-testid=edit]`);
  await run.bob.until(
    "the edit is saved",
    SOON_MS,
    ([selector, text]) => {
      const editor = document.querySelector(`${selector} .editor`);
      if (editor === null) return false;
      editor.querySelector("[data-testid=edit-text]").value = text;
      editor.querySelector("[data-testid=edit-save]").click();
      return true;
    },
    [replyRow(id), edited],
  );
  for (const tab of [run.alice, run.bob]) await replies(tab, [edited, second]);
  await run.alice.focus(`${replyRow(id)} [data-testid=react]`);
  await run.alice.press("Enter");
  await run.alice.click("react-pick", { emoji: "🎉" });
  for (const tab of [run.alice, run.bob])
    await tab.until(
      "the reply has a reaction",
      SOON_MS,
      (selector) =>
        document.querySelector(`${selector} [data-testid=reaction] .count`)?.textContent === "1",
      replyRow(id),
    );
  await run.alice.clickWithin(`${replyRow(id)} [data-testid=pin]`);
  await run.bob.until(
    "the reply is pinned",
    SOON_MS,
    (selector) => !document.querySelector(`${selector} [data-testid=pinned]`).hidden,
    replyRow(id),
  );
  await run.alice.clickWithin(`${replyRow(id)} [data-testid=unpin]`);
  await write(run.alice, removed);
  await replies(run.bob, [edited, second, removed]);
  await summary(run.bob, run, "3 replies");
  const gone = await replyId(run.alice, removed);
  await run.alice.clickWithin(`${replyRow(gone)} [data-testid=delete]`);
  await run.alice.clickWithin("dialog[open] #confirm-ok");
  const left = [edited, second, "This message was deleted."];
  for (const tab of [run.alice, run.bob]) {
    await replies(tab, left);
    await summary(tab, run, "2 replies");
  }
  Object.assign(run.thread, { left });
}

/** The box for a reply completes mentions and takes files as the channel's does. */
export async function mentionAndAttach(run) {
  await run.bob.type("thread-composer", "@ali");
  await run.bob.until(
    "alice is suggested",
    SOON_MS,
    () =>
      document.querySelector("#thread-suggestions [aria-selected=true]")?.dataset.mention ===
      "<@alice>",
  );
  await run.bob.press("Enter");
  await boxHolds(run.bob, "<@alice> ");
  await run.bob.evaluate((name) => {
    const chosen = new DataTransfer();
    chosen.items.add(new File(["a text"], name, { type: "text/plain" }));
    const target = document.querySelector("[data-testid=thread-scroll]");
    for (const type of ["dragenter", "dragover", "drop"])
      target.dispatchEvent(
        new DragEvent(type, { dataTransfer: chosen, bubbles: true, cancelable: true }),
      );
  }, `notes-${run.tag}.txt`);
  await run.bob.until(
    "the file is beside the reply alone, and uploaded",
    SOON_MS,
    () =>
      document.querySelector('#thread [data-testid=thread-tray] [data-state="ready"]') !== null &&
      document.querySelector("#main [data-testid=tray-file]") === null,
  );
  await run.bob.send("Input.insertText", { text: "see the notes" });
  await run.bob.press("Enter");
  await run.alice.until(
    "the reply mentions alice and has the file",
    SOON_MS,
    (name) =>
      [...document.querySelectorAll("[data-testid=thread-list] [data-mentioned]")].some(
        (node) => node.querySelector("[data-testid=file] .name")?.textContent === name,
      ),
    `notes-${run.tag}.txt`,
  );
}

/** Who follows a thread sees that it has unread replies, and where they begin. */
export async function followed(run) {
  await run.bob.press("Escape");
  await closed(run.bob);
  await hasFocus(run.bob, `${row(run)} [data-testid=replies]`);
  run.thread.unreadBefore = await unreadThreads(run.bob);
  const [news, more] = [`news in the thread ${run.tag}`, `more of it ${run.tag}`];
  await write(run.alice, news);
  await badge(run, 1);
  await run.bob.until(
    "the line below the message says so",
    SOON_MS,
    (selector) =>
      document.querySelector(`${selector} [data-testid=replies-new]`)?.textContent === "1 new",
    row(run),
  );
  await openChannel(run.bob, run.dmId, await dmName(run.bob, run.dmId));
  await write(run.alice, more);
  await run.bob.click("threads");
  const item = `[data-testid=thread-item][data-message-id="${run.thread.id}"]`;
  await run.bob.until(
    "the thread is the first one listed, with its unread replies",
    SOON_MS,
    (selector) => {
      const first = document.querySelector("[data-testid=thread-item]");
      const isIt = first?.matches(selector);
      return (
        isIt && first.querySelector("[data-testid=thread-item-unread]").textContent === "2 new"
      );
    },
    item,
  );
  await run.bob.clickWithin(item);
  await run.bob.until(
    "the thread is open at its address, below a divider",
    SOON_MS,
    ([address, text]) => {
      const divider = document.querySelector("[data-testid=thread-list] .divider.new");
      const next = divider?.nextElementSibling?.querySelector("[data-testid=message-text]");
      return location.hash === address && next?.textContent === text;
    },
    [`#${run.channelId}.${run.thread.id}`, news],
  );
  await badge(run, 0);
  await hasFocus(run.bob, "#thread *");
}

/** What another device read, or stopped to follow, counts no more. */
export async function otherDevice(run) {
  const { token } = await run.call("POST", "/dev/token", null, {
    workspace_id: "demo",
    user_id: "bob",
  });
  await run.bob.click("close-thread");
  await closed(run.bob);
  const text = `read elsewhere ${run.tag}`;
  await write(run.alice, text);
  await badge(run, 1);
  const up_to = await replyId(run.alice, text);
  const mark = { channel_id: run.channelId, thread: run.thread.id, up_to };
  await run.call("POST", "/read", token, { marks: [mark] });
  await badge(run, 0);
  await run.bob.clickWithin(`${row(run)} [data-testid=replies]`);
  await follows(run.bob, "Unfollow");
  await run.bob.click("thread-follow");
  await follows(run.bob, "Follow");
  await run.bob.click("close-thread");
  await write(run.alice, `to nobody ${run.tag}`);
  await summary(run.bob, run, "7 replies");
  await badge(run, 0);
  await run.bob.clickWithin(`${row(run)} [data-testid=replies]`);
  await run.bob.click("thread-follow");
  await follows(run.bob, "Unfollow");
}

/** A reload opens the thread again, with the draft; a queued reply is sent to it. */
export async function reload(run) {
  const [queued, draft] = [`queued reply ${run.tag}`, `half a reply ${run.tag}`];
  await run.bob.click("close-thread");
  await goOffline(run.bob);
  await run.bob.clickWithin(`${row(run)} [data-testid=replies]`);
  await write(run.bob, queued);
  await run.bob.until(
    "it is queued",
    SOON_MS,
    () => document.querySelector("[data-testid=thread-list] [data-delivery=queued]") !== null,
  );
  await run.bob.type("thread-composer", draft);
  await run.bob.evaluate(() => (document.documentElement.dataset.before = "reload"));
  await run.bob.reload();
  await run.bob.until("a new document", SOON_MS, () => !document.documentElement.dataset.before);
  await live(run.bob, LIVE_MS);
  await shownRoot(run.bob, run.thread.root);
  await boxHolds(run.bob, draft);
  for (const tab of [run.bob, run.alice])
    await tab.until(
      "the queued reply is in the thread, once",
      SOON_MS,
      (text) => {
        const all = [...document.querySelectorAll("[data-testid=message][data-delivery=stored]")];
        const found = all.filter((node) => node.textContent.includes(text));
        return found.length === 1 && found[0].closest("[data-testid=thread-list]") !== null;
      },
      queued,
    );
  await run.bob.evaluate((selector) => {
    const box = document.querySelector(selector);
    box.value = "";
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }, REPLY_BOX);
}

/** What happened in an open thread while the page was offline is there afterwards. */
export async function catchUp(run) {
  await run.bob.click("close-thread");
  await goOffline(run.bob);
  await run.bob.clickWithin(`${row(run)} [data-testid=replies]`);
  const text = `missed in the thread ${run.tag}`;
  await write(run.alice, text);
  await summary(run.alice, run, "9 replies");
  await run.bob.click("notice-action");
  await live(run.bob, LIVE_MS);
  await run.bob.until(
    "the missed reply is there",
    SOON_MS,
    (wanted) => document.querySelector("[data-testid=thread-list]").textContent.includes(wanted),
    text,
  );
  await summary(run.bob, run, "9 replies");
}

/** On a narrow screen the thread covers its channel, and gives it back. */
export async function narrow(run) {
  await run.bob.resize(390, 844, "light");
  await run.bob.until("the thread covers the channel", SOON_MS, () => {
    const box = document.querySelector("[data-testid=thread]").getBoundingClientRect();
    const isCovered = getComputedStyle(document.querySelector("#main")).visibility === "hidden";
    return isCovered && box.left === 0 && box.width === innerWidth && box.bottom === innerHeight;
  });
  const wide = await run.bob.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  if (wide) throw new Error("the page is wider than the screen");
  await run.bob.click("close-thread");
  await closed(run.bob);
  await run.bob.until(
    "the channel is there",
    SOON_MS,
    () => getComputedStyle(document.querySelector("#main")).visibility === "visible",
  );
  await run.bob.resize(1440, 900, "light");
}

/** Threads whose message or channel is lost close, and say why. */
export async function lostThreads(run) {
  const text = `soon deleted ${run.tag}`;
  await say(run.alice, text);
  await texts(run.bob, text, [text], SOON_MS);
  const id = await idOf(run.bob, text);
  const message = `#message-list [data-message-id="${id}"]`;
  await run.bob.clickWithin(`${message} [data-testid=reply]`);
  await shownRoot(run.bob, text);
  await run.alice.clickWithin(`${message} [data-testid=delete]`);
  await run.alice.clickWithin("dialog[open] #confirm-ok");
  await closed(run.bob);
  await noticed(run.bob, "its message was deleted");
  await hasFocus(run.bob, "[data-testid=message-scroll]");

  run.expectedComplaints.push(/the server responded with a status of 404/);
  await run.bob.evaluate(
    (channelId) => (location.hash = `#${channelId}.01ARZ3NDEKTSV4RRFFQ69G5FAV`),
    run.channelId,
  );
  await noticed(run.bob, "does not exist");
  await closed(run.bob);

  const { token } = await run.call("POST", "/dev/token", null, {
    workspace_id: "demo",
    user_id: "alice",
  });
  const body = { type: "GROUP_CHANNEL", name: `brief ${run.tag}`, members: ["bob"] };
  const { channel_id: channelId } = await run.call("POST", "/channels", token, body);
  const root = await run.call("POST", "/messages", token, { channel_id: channelId, message: "r" });
  await openChannel(run.bob, channelId, `# ${body.name}`);
  await run.bob.clickWithin(`#message-list [data-message-id="${root.id}"] [data-testid=reply]`);
  await shownRoot(run.bob, "r");
  const path = `/channels/${channelId}/members/bob`;
  await run.call("DELETE", path, token, undefined);
  await closed(run.bob);
  await noticed(run.bob, "you are no longer a member");
  await openChannel(run.bob, run.channelId, `# ${run.channelName}`);
  await run.alice.press("Escape");
  await closed(run.alice);
}

function row(run) {
  return `#message-list [data-message-id="${run.thread.id}"]`;
}

function replyRow(id) {
  return `[data-testid=thread-list] [data-message-id="${id}"]`;
}

async function write(tab, text) {
  await tab.type("thread-composer", text);
  await tab.press("Enter");
  await boxHolds(tab, "");
}

function boxHolds(tab, text) {
  return tab.until(
    `the box for a reply holds ${JSON.stringify(text)}`,
    SOON_MS,
    ([selector, wanted]) => document.querySelector(selector).value === wanted,
    [REPLY_BOX, text],
  );
}

function shownRoot(tab, text) {
  return tab.until(
    "the thread's message is on top",
    SOON_MS,
    (wanted) =>
      document.querySelector("[data-testid=thread-root] [data-testid=message-text]")
        ?.textContent === wanted,
    text,
  );
}

/** Waits until the open thread has exactly these replies, in this order. */
function replies(tab, wanted, delivery = null) {
  return tab.until(
    `the replies are ${JSON.stringify(wanted)}`,
    SOON_MS,
    ([expected, state]) => {
      const rows = [
        ...document.querySelectorAll("[data-testid=thread-list] [data-testid=message]"),
      ];
      const shown = rows.map(
        (node) => node.querySelector("[data-testid=message-text]").textContent,
      );
      const isStored = rows.every((node) => state === null || node.dataset.delivery === state);
      return isStored && JSON.stringify(shown) === JSON.stringify(expected);
    },
    [wanted, delivery],
  );
}

function replyId(tab, text) {
  return tab.until(
    `${text} is stored`,
    SOON_MS,
    (wanted) =>
      [...document.querySelectorAll("[data-testid=thread-list] [data-delivery=stored]")].find(
        (node) => node.querySelector("[data-testid=message-text]").textContent === wanted,
      )?.dataset.messageId,
    text,
  );
}

function summary(tab, run, words) {
  return tab.until(
    `the line below the message says ${words}`,
    SOON_MS,
    ([selector, wanted]) =>
      document.querySelector(`${selector} .replies-count`)?.textContent === wanted,
    [row(run), words],
  );
}

/** Waits until the badge counts so many more threads than those of earlier runs. */
function badge(run, more) {
  return run.bob.until(
    `the badge counts ${more} more`,
    SOON_MS,
    (wanted) => {
      const node = document.querySelector("[data-testid=threads-unread]");
      return (node.hidden ? 0 : Number(node.textContent)) === wanted;
    },
    run.thread.unreadBefore + more,
  );
}

function unreadThreads(tab) {
  return tab.evaluate(() => {
    const node = document.querySelector("[data-testid=threads-unread]");
    return node.hidden ? 0 : Number(node.textContent);
  });
}

function follows(tab, words) {
  return tab.until(
    `the button says ${words}`,
    SOON_MS,
    (wanted) => document.querySelector("[data-testid=thread-follow]").textContent === wanted,
    words,
  );
}

function closed(tab) {
  return tab.until(
    "the thread is closed",
    SOON_MS,
    () => document.querySelector("[data-testid=thread]").hidden && !location.hash.includes("."),
  );
}

function noticed(tab, words) {
  return tab.until(
    `the notice says ${words}`,
    SOON_MS,
    (wanted) => {
      const notice = document.querySelector("[data-testid=notice]");
      return !notice.hidden && notice.textContent.includes(wanted);
    },
    words,
  );
}

function hasFocus(tab, selector) {
  return tab.until(
    `${selector} has the focus`,
    SOON_MS,
    (wanted) => document.activeElement?.matches(wanted),
    selector,
  );
}

function dmName(tab, id) {
  return tab.evaluate(
    (wanted) => document.querySelector(`[data-channel-id="${wanted}"] .name`).textContent,
    id,
  );
}
