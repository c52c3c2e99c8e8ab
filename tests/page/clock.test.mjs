// The estimate of the server's time, whatever happens to this computer's clock.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerClock } from "../../localstack/embedded-stack/page/clock.js";

const SERVER = 1_800_000_000_000;

function clockAt(start) {
  const monotonic = { ms: start };
  return { monotonic, clock: new ServerClock(() => monotonic.ms) };
}

test("a jump of the wall clock changes nothing", (t) => {
  const { monotonic, clock } = clockAt(1_000);
  clock.observe(SERVER, 900, 1_100);
  t.mock.timers.enable({ apis: ["Date"], now: SERVER + 86_400_000 });
  monotonic.ms = 6_000;
  assert.equal(clock.now(), SERVER + 5_000);
});

test("of two samples that agree, the one with the shorter round trip is kept", () => {
  const { clock } = clockAt(1_000);
  clock.observe(SERVER, 990, 1_010);
  clock.observe(SERVER + 80, 1_000, 1_200);
  assert.equal(clock.now(), SERVER);
});

test("a sample that contradicts the one before replaces it", () => {
  const { clock } = clockAt(1_000);
  clock.observe(SERVER, 990, 1_010);
  clock.observe(SERVER + 60_000, 900, 1_100);
  assert.equal(clock.now(), SERVER + 60_000);
});

test("a later frame moves the clock on, an older one does not move it back", () => {
  const { monotonic, clock } = clockAt(1_000);
  clock.observe(SERVER, 990, 1_010);
  // The computer slept, and its monotonic clock stopped meanwhile.
  clock.isAtLeast(SERVER + 600_000);
  assert.equal(clock.now(), SERVER + 600_000);
  monotonic.ms += 1_000;
  clock.isAtLeast(SERVER);
  assert.equal(clock.now(), SERVER + 601_000);
});
