// Names and user ids in the page's sentences, and when a socket counts as silent.

import assert from "node:assert/strict";
import { test } from "node:test";

import { closePolicy } from "../../localstack/embedded-stack/page/closes.js";
import { Pace } from "../../localstack/embedded-stack/page/pace.js";
import { strangersWarning, userIdsError } from "../../localstack/embedded-stack/page/people.js";
import { Silence, SILENT, SLEPT } from "../../localstack/embedded-stack/page/silence.js";
import { charactersOver, isolate } from "../../localstack/embedded-stack/page/text.js";
import { until } from "./fakes.mjs";

test("a name cannot reverse the text around it", () => {
  assert.equal(isolate("evil\u202e\u2069 name"), "\u2068evil name\u2069");
});

test("characters are counted as the server counts them", () => {
  assert.equal(charactersOver("😀".repeat(40_000)), 0);
  assert.equal(charactersOver("😀".repeat(40_001)), 1);
});

test("a malformed user id is refused by name", () => {
  assert.equal(userIdsError(["bob", "b-o_b9"]), null);
  for (const id of ["al ice", "", "x".repeat(65), "bøb"])
    assert.ok(userIdsError(["bob", id]).includes(`“${id}”`), id);
});

test("the page asks about an unknown user id and suggests one that differs only in case", () => {
  const known = new Set(["alice", "bob"]);
  assert.equal(strangersWarning(["bob"], known), null);
  assert.match(strangersWarning(["Bob"], known), /Did you mean “bob”\?/);
  assert.match(strangersWarning(["bob", "dave"], known), /^Nobody called “dave”/);
});

function silence() {
  const clock = { ms: 0 };
  const watch = new Silence(() => clock.ms);
  const pass = (seconds) => {
    let verdict = null;
    for (let second = 0; second < seconds && verdict === null; second += 1) {
      clock.ms += 1_000;
      verdict = watch.verdict();
    }
    return verdict;
  };
  return { clock, watch, pass };
}

test("a socket that is silent for 25 s, or one and a half ticks, is dead", () => {
  const short = silence();
  assert.equal(short.pass(25), null);
  assert.equal(short.pass(1), SILENT);
  const long = silence();
  long.watch.expect(60_000);
  assert.equal(long.pass(90), null);
  assert.equal(long.pass(1), SILENT);
});

test("after a sleep a socket may be read first, and its node is not reported", () => {
  const woken = silence();
  woken.clock.ms += 3_600_000;
  assert.equal(woken.watch.verdict(), null);
  woken.watch.heard();
  assert.equal(woken.pass(25), null);
  const dead = silence();
  dead.clock.ms += 3_600_000;
  assert.equal(dead.watch.verdict(), null);
  assert.equal(dead.pass(10), SLEPT);
  assert.equal(closePolicy(SLEPT).next, "resume");
  assert.equal(closePolicy(SILENT).next, "elsewhere");
});

test("a hidden tab whose timers run once a minute still finds a dead socket", () => {
  const { clock, watch } = silence();
  const verdicts = [1, 2, 3].map(() => {
    clock.ms += 60_000;
    return watch.verdict();
  });
  assert.deepEqual(verdicts, [null, SLEPT, SLEPT]);
});

test("waiting reads continue when the network is back", { timeout: 5_000 }, async () => {
  const pace = new Pace();
  let calls = 0;
  const read = async () => {
    calls += 1;
    if (calls > 1) return "answered";
    throw Object.assign(new Error("away"), { retryable: true, retryAfterMs: 60_000 });
  };
  const answer = pace.untilAnswered(read, undefined, () => false);
  await until("the first attempt failed", () => calls === 1);
  // The wait starts in the same turn of the event loop.
  await new Promise(setImmediate);
  pace.retryNow();
  assert.equal(await answer, "answered");
});
