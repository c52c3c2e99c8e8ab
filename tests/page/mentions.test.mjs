// Mentions in the page: which a text has, who is mentioned, counts, and completion while typing.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Api } from "../../localstack/embedded-stack/page/api.js";
import { Completion } from "../../localstack/embedded-stack/page/completion.js";
import { lowestIdAt } from "../../localstack/embedded-stack/page/ids.js";
import { Listing } from "../../localstack/embedded-stack/page/listing.js";
import { isMentioned, mentionsIn, partsOf } from "../../localstack/embedded-stack/page/mentions.js";
import { Profiles } from "../../localstack/embedded-stack/page/profiles.js";
import { mentionedWords } from "../../localstack/embedded-stack/page/text.js";
import { GENERAL, storeWith, until } from "./fakes.mjs";
import { FakeServer, start } from "./server.mjs";

const CHANNEL = GENERAL.channel_id;
const ME = { mentions: ["alice"] };

function messageAt(ms, fields = {}) {
  const id = lowestIdAt(ms);
  return { id, rev: id, channel_id: CHANNEL, sender_id: "bob", message: "hi", ...fields };
}

/** A store whose user reads another channel. */
function away() {
  const store = storeWith();
  store.unread.isReading = () => false;
  return store;
}

/** A copy of a later revision. */
function changed(message, ms, fields = {}) {
  const { mentions: _, mentions_all: __, ...rest } = message;
  return { ...rest, rev: lowestIdAt(ms), ...fields };
}

test("a text is shown with its mentions, and everything else as it is", () => {
  const parts = (text) => partsOf(text).map((part) => part.text ?? part);
  assert.deepEqual(parts("hi <@bob>, <!channel>!"), [
    "hi ",
    { userId: "bob" },
    ", ",
    { everybody: true },
    "!",
  ]);
  assert.deepEqual(parts("<@a><@b>"), [{ userId: "a" }, { userId: "b" }]);
  const long = "x".repeat(65);
  for (const text of ["", "<@>", "<@a b>", "<@me>", `<@${long}>`, "<!here>", "<b>@bob</b>", "<@bob"])
    assert.deepEqual(parts(text).join(""), text, "no mention");
  assert.deepEqual(parts("<<@bob>>"), ["<", { userId: "bob" }, ">"]);
});

test("users count once, and everybody does not", () => {
  assert.deepEqual(mentionsIn("<@bob> <@carol> <@bob>"), {
    users: ["bob", "carol"],
    everybody: false,
    count: 2,
  });
  assert.equal(mentionsIn("<!channel> <!channel> <@bob>").count, 1);
  assert.equal(mentionsIn("nobody").count, 0);
});

test("a user is mentioned by others, by name or as one of everybody", () => {
  const is = (fields) => isMentioned(messageAt(1, fields), "alice");
  assert.deepEqual([is({}), is({ mentions: ["bob"] }), is(ME)], [false, false, true]);
  assert.deepEqual([is({ mentions_all: true }), is({ mentions_all: true, sender_id: "alice" })], [
    true,
    false,
  ]);
  assert.equal(is({ ...ME, sender_id: "alice" }), false);
  // Written, but the server does not say so: an edit may have put it into a quoted text.
  assert.equal(is({ message: "<@alice>" }), false);
});

test("unread mentions are counted as they come, change and go", () => {
  const store = away();
  const [first, second] = [messageAt(1, ME), messageAt(2)];
  store.deliver(first, "push");
  store.deliver(second, "push");
  store.deliver(messageAt(3, { mentions_all: true, sender_id: "alice" }), "push");
  assert.deepEqual([store.unread.mentionsOf(CHANNEL), store.unread.of(CHANNEL)], [1, 2]);
  store.deliver(changed(second, 10, ME), "push");
  assert.equal(store.unread.mentionsOf(CHANNEL), 2, "edited to mention her");
  const deleted = { at: "2027-01-15T08:00:00.000Z", by: "bob" };
  store.deliver(changed(first, 11, { message: "", deleted }), "push");
  assert.equal(store.unread.mentionsOf(CHANNEL), 1, "deleted");
  store.deliver(first, "scroll");
  assert.equal(store.unread.mentionsOf(CHANNEL), 1, "an older copy brings nothing back");
  store.unread.markRead(CHANNEL);
  assert.equal(store.unread.mentionsOf(CHANNEL), 0);
});

test("a change that leaves its text out keeps the text and takes the mentions it has", () => {
  const store = away();
  const sent = messageAt(1, ME);
  store.deliver(sent, "push");
  const { message: _, ...bare } = changed(sent, 10, { ...ME, text_rev: sent.id });
  store.deliver(bare, "push");
  assert.equal(store.unread.mentionsOf(CHANNEL), 1);
  assert.equal(store.timeline(CHANNEL).messages.get(sent.id).message, "hi");
});

test("the server's count of mentions follows what comes after it, and goes with the mark", () => {
  const store = away();
  const sent = messageAt(1);
  store.deliver(sent, "push");
  const counts = { channel_id: CHANNEL, epoch: 0, up_to: lowestIdAt(0), unread: 40, mentions: 7 };
  store.unread.takeMark(CHANNEL, 0, counts.up_to);
  store.unread.takeCounts(counts);
  assert.equal(store.unread.mentionsOf(CHANNEL), 7);
  store.deliver(messageAt(2, ME), "push");
  store.deliver(messageAt(3), "push");
  assert.equal(store.unread.mentionsOf(CHANNEL), 8);
  store.deliver(changed(sent, 10, ME), "push");
  store.deliver(changed(sent, 11), "push");
  assert.equal(store.unread.mentionsOf(CHANNEL), 8, "one more, and one less");
  store.unread.takeCounts({ ...counts, unread: "99+", mentions: "99+" });
  assert.equal(store.unread.mentionsOf(CHANNEL), 100);
  store.unread.markRead(CHANNEL);
  assert.equal(store.unread.mentionsOf(CHANNEL), 0);
  store.unread.takeCounts(counts);
  assert.equal(store.unread.mentionsOf(CHANNEL), 0, "counted before the mark here moved");
});

test("a server without mentions counts none", () => {
  const store = away();
  store.unread.takeCounts({ channel_id: CHANNEL, epoch: 0, up_to: lowestIdAt(0), unread: 3 });
  assert.deepEqual([store.unread.mentionsOf(CHANNEL), store.unread.of(CHANNEL)], [0, 3]);
});

test("a pushed mention is counted in a channel that is not open, and not where she reads", async (t) => {
  const server = new FakeServer(["open", "other"]);
  const [open, other] = [server.idOf("open"), server.idOf("other")];
  const core = start(t);
  await until("live", () => core.connection.phase === "live" && core.store.channelsKnown);
  core.store.unread.isReading = (channelId) => channelId === open;
  for (const channel_id of [open, other])
    server.push({ type: "message", cursor: "c2", message: messageAt(Date.now(), { channel_id, ...ME }) });
  assert.deepEqual([core.store.unread.mentionsOf(open), core.store.unread.mentionsOf(other)], [0, 1]);
  server.push({ type: "read", channel_id: other, epoch: 0, up_to: lowestIdAt(Date.now() + 1_000) });
  assert.equal(core.store.unread.mentionsOf(other), 0, "read on another device");
});

test("mentioned users are known by name, but are no proof that they exist", async () => {
  const store = away();
  store.deliver(messageAt(1, { mentions: ["erin"] }), "push");
  let asked;
  const api = { offline: false, profiles: async (ids) => ((asked = ids), { users: [] }) };
  await new Profiles(api, store).read();
  assert.ok(asked.includes("erin"));
  assert.ok(!store.people().has("erin"));
});

test("the list of mentions follows edits, and its offset is encoded", async () => {
  const store = storeWith({ channels: [] });
  const [one, two] = [messageAt(1, ME), messageAt(2, ME)];
  const listing = new Listing(store);
  await listing.open(async () => ({ messages: [two, one], next_offset: null }));
  const shown = () => listing.shown((message) => isMentioned(message, "alice")).map(({ id }) => id);
  assert.deepEqual(shown(), [two.id, one.id]);
  store.deliver(changed(two, 10), "push");
  assert.deepEqual(shown(), [one.id]);
  const paths = [];
  const api = new Api("demo", "alice");
  api.request = async (_, path) => paths.push(path);
  await api.mentions();
  await api.mentions("1:a/b c");
  assert.deepEqual(paths, ["/mentions?limit=20", "/mentions?limit=20&offset=1%3Aa%2Fb+c"]);
});

const PEOPLE = [
  { id: "alice", name: "Alice" },
  { id: "bob", name: "Bob" },
  { id: "u7", name: "Bo <b>Derek</b>" },
  { id: "u8", name: "Éva Bodnár" },
  { id: "u9", name: "Bob" },
];

/** What is offered for a text with a caret at `|`. */
function completionOf(marked, people = PEOPLE) {
  const completion = new Completion();
  const caret = marked.indexOf("|");
  const text = marked.replace("|", "");
  completion.update(text, caret, people);
  const offered = () => completion.options.map(({ mention }) => mention);
  const chosen = () => completion.options[completion.at].mention;
  const insert = () => {
    const { from, to, insert: inserted } = completion.edit(text, completion.options[completion.at]);
    return `${text.slice(0, from)}${inserted}|${text.slice(to)}`;
  };
  return { completion, text, caret, offered, chosen, insert };
}

test("an @ and letters offer the members whose name or id fits, the best first", () => {
  assert.deepEqual(completionOf("@bo|").offered(), ["<@u7>", "<@bob>", "<@u9>", "<@u8>"]);
  assert.deepEqual(completionOf("@U9|").offered(), ["<@u9>"]);
  assert.deepEqual(completionOf("@év|").offered(), ["<@u8>"]);
  assert.deepEqual(completionOf("@chan|").offered(), ["<!channel>"]);
  assert.deepEqual(completionOf("@chan|", []).offered(), ["<!channel>"]);
  const many = Array.from({ length: 50 }, (_, at) => ({ id: `c${at}`, name: `Cleo ${at}` }));
  const { offered } = completionOf("@c|", many);
  assert.deepEqual([offered().length, offered().at(-1)], [8, "<!channel>"]);
});

test("nothing is offered inside a word, an address or a mention, or for nobody", () => {
  for (const text of ["@|", "a@bo|", "x@bo.com|", "<@bo|", "@bo |", "bo|", "@ bo|", "@zzz|"])
    assert.deepEqual(completionOf(text).offered(), [], text);
  for (const text of ["(@bo|", "hi @bo|", "hi\n@bo|", "@bo|b"])
    assert.notDeepEqual(completionOf(text).offered(), [], text);
  assert.deepEqual(completionOf(`${"x".repeat(300)} @bo|`).offered().length, 4);
  assert.deepEqual(completionOf(`@${"b".repeat(300)}|`).offered(), []);
});

test("what is inserted is the id of the chosen member, with one space after it", () => {
  const { completion, insert, chosen } = completionOf("hi @bo| and you");
  completion.move(1);
  assert.equal(chosen(), "<@bob>");
  assert.equal(insert(), "hi <@bob>| and you");
  completion.move(1);
  assert.equal(insert(), "hi <@u9>| and you", "two have one name: their ids differ");
  assert.equal(completionOf("@alice|").insert(), "<@alice> |");
});

test("the choice goes around, and stays when members arrive meanwhile", () => {
  const { completion, text, caret, chosen } = completionOf("@bo|", PEOPLE.slice(1, 2));
  completion.move(1);
  assert.equal(chosen(), "<@bob>");
  completion.update(text, caret, PEOPLE);
  assert.equal(chosen(), "<@bob>", "the one that was marked, not the one in its place");
  completion.move(-1);
  assert.equal(chosen(), "<@u7>");
  completion.move(-1);
  assert.equal(chosen(), "<@u8>");
  completion.update(text, caret, PEOPLE.slice(0, 2));
  assert.equal(chosen(), "<@bob>", "the chosen one left");
  completion.update("@al", 3, PEOPLE);
  assert.equal(chosen(), "<@alice>");
});

test("a list that was closed stays closed until another mention begins", () => {
  const { completion, offered } = completionOf("@bo|");
  completion.dismiss();
  completion.update("@bob", 4, PEOPLE);
  assert.deepEqual(offered(), []);
  completion.update("@bob @al", 8, PEOPLE);
  assert.deepEqual(offered(), ["<@alice>"]);
});

test("an option of a text that is gone inserts nothing", () => {
  const { completion } = completionOf("@bo|");
  const [option] = completion.options;
  completion.reset();
  assert.equal(completion.edit("", option), null);
  completion.update("another text", 7, PEOPLE);
  assert.equal(completion.edit("another text", option), null);
});

test("the composer says whom a text mentions, and no name reverses the sentence", () => {
  assert.equal(mentionedWords([], false), null);
  assert.equal(mentionedWords(["Bob\u202e"], true), "Mentions \u2068Bob\u2069, everybody in this channel.");
  const many = Array.from({ length: 7 }, (_, at) => `u${at}`);
  assert.match(mentionedWords(many, false), /u4\u2069, 2 others\.$/);
});
