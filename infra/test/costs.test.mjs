// The cost sheet: the documented tables are what the program prints, and its counts are current.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COUNTED,
  inputsOf,
  listed,
  perArchiveMonth,
  perMillionByContract,
  perMillionCalls,
  perMillionFiles,
  perMillionHours,
  perMillionMessages,
  perMillionReads,
  tables,
} from '../costs.mjs';
import { WATCHED } from '../lib/collector.mjs';
import { resourceOf, resourcesOf, source, templateOf } from './synthesis.mjs';

test('the page on operations holds the tables that the program prints', () => {
  const page = source('docs/operations.md');
  for (const table of tables().split('\n\n')) assert.ok(page.includes(table), table);
});

test('counts are those of the template and of the limits', () => {
  const template = templateOf();
  const { Cpu, Memory } = resourceOf(template, 'AWS::ECS::TaskDefinition', 'Task').Properties;
  const counted = Object.fromEntries(Object.entries(COUNTED).map(([name, [value]]) => [name, value]));
  assert.deepEqual([counted.vcpu * 1024, counted.memoryGb * 1024], [Number(Cpu), Number(Memory)]);
  assert.equal(counted.socketsPerNode, template.Parameters.SocketsPerNode.Default);
  assert.equal(counted.functionMb, template.Parameters.FunctionMemory.Default);
  assert.equal(counted.archiveMb, template.Parameters.ArchiveMemory.Default);
  const { ScheduleExpression } = resourceOf(template, 'AWS::Events::Rule', 'EveryMinute').Properties;
  assert.deepEqual([ScheduleExpression, counted.archiveEvery], ['rate(1 minute)', 60]);
  const delivering = source('shared/model/src/limits/deliver_first.rs');
  assert.match(delivering, new RegExp(`ARCHIVE_RUN: Duration = Duration::from_secs\\(${counted.archiveRun}\\)`));
  const limits = source('shared/model/src/limits.rs');
  assert.match(limits, new RegExp(`TICK: Duration = Duration::from_secs\\(${counted.tickSeconds}\\)`));
  assert.match(limits, new RegExp(`FOLD_EVERY: Duration = Duration::from_secs\\(${counted.foldSeconds}\\)`));
  const batchOf = (mapping) =>
    resourceOf(template, 'AWS::Lambda::EventSourceMapping', mapping).Properties.BatchSize;
  assert.equal(counted.relayBatch, batchOf('RelayMapping'));
  assert.equal(counted.deriveBatch, batchOf('DeriveMapping'));
  // An alarm on an expression is paid for by the metrics in it.
  const metricsOf = ({ Metrics }) => Metrics?.filter(({ MetricStat }) => MetricStat).length ?? 1;
  const alarms = resourcesOf(template, 'AWS::CloudWatch::Alarm').map(([, { Properties }]) => metricsOf(Properties));
  assert.equal(counted.alarmMetrics, alarms.reduce((total, count) => total + count, 0));
  assert.equal(counted.nodeMetrics, WATCHED.length);
});

test('a reader changes inputs and prices, and a wrong name is refused', () => {
  const sum = (lines) => Object.values(lines).reduce((total, value) => total + value, 0);
  const usual = inputsOf();
  const busy = inputsOf({ receivers: 20 });
  const cheap = inputsOf({ egress: 0 });
  assert.ok(sum(perMillionMessages(busy).ours) > sum(perMillionMessages(usual).ours));
  assert.equal(perMillionHours(cheap).ours['bytes out: ticks'], 0);
  const slow = perMillionCalls(inputsOf({ amendMs: 40 }));
  const edit = 'an edit, or a deletion';
  assert.ok(slow[edit].all > perMillionCalls(usual)[edit].all);
  assert.equal(slow[edit].store, perMillionCalls(usual)[edit].store);
  assert.throws(() => inputsOf({ recievers: 1 }), /neither an input nor a price/);
  assert.throws(() => inputsOf({ receivers: Number.NaN }), /not a number/);
});

test('a send costs one write unit and two read units, whatever is mentioned', () => {
  const { values, costs } = inputsOf({ mentioned: 50, mentionRows: 1000 });
  const { ours } = perMillionMessages({ values, costs });
  const million = (units) => Number((units * 1_000_000).toFixed(6));
  assert.equal(million(costs.writeUnits), Number(ours['store: writes'].toFixed(6)));
  assert.equal(million(2 * costs.readUnits), Number(ours['store: reads'].toFixed(6)));
});

test('each contract costs what was counted of it, and its deliveries are left out', () => {
  const inputs = inputsOf({ receivers: 1000 });
  const { lines, kept } = perMillionByContract(inputs);
  const { writeUnits, readUnits } = inputs.costs;
  const million = (units) => Number((units * 1_000_000).toFixed(6));
  const rounded = (line) => line.map((value) => Number(value.toFixed(6)));
  // tests/e2e/cost.rs and tests/e2e/deliver_first.rs count these. A meeting is in the cache only.
  assert.deepEqual(rounded(lines['store: writes']), [million(writeUnits), million(writeUnits), 0]);
  assert.deepEqual(rounded(lines['store: reads']), [million(2 * readUnits), 0, 0]);
  const counts = source('tests/e2e/deliver_first.rs');
  assert.ok(counts.includes('assert_eq!((spent.read_units, spent.write_units), (0.0, 1.0)'));
  // Only `POST` calls the API. The relay sees every row, whoever stored it.
  assert.deepEqual(lines['API calls'].map((value) => value > 0), [true, false, false]);
  assert.deepEqual(lines['function `send`'].map((value) => value > 0), [true, false, false]);
  const [relayed, again, said] = lines['function `relay`, its stream reads free'];
  assert.deepEqual([again, said], [relayed, 0]);
  assert.deepEqual(kept.map((value) => value > 0), [true, true, false]);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const { 'bytes out: deliveries': deliveries, ...rest } = perMillionMessages(inputs).ours;
  assert.ok(deliveries > 0);
  const [persisted, delivered, discarded] = [0, 1, 2].map((of) => sum(Object.values(lines).map((line) => line[of])));
  assert.equal(persisted.toFixed(6), sum(Object.values(rest)).toFixed(6));
  assert.ok(discarded < delivered && delivered < persisted);
});

test('archive costs five dollars a month while it is used, and a cent while it is not', () => {
  const { used, unused } = perArchiveMonth(inputsOf());
  assert.ok(Math.abs(used - 5.1) < 0.1, `${used}`);
  assert.equal(unused.toFixed(2), '0.01');
  // Its memory is its price.
  assert.ok(perArchiveMonth(inputsOf({ archiveMb: 512 })).used > 3.9 * used);
});

test('pins, mentions and their counts cost these units', () => {
  const storeOf = (chosen, beginning) => {
    const calls = Object.entries(perMillionCalls(inputsOf(chosen)));
    return calls.find(([name]) => name.startsWith(beginning))[1].store;
  };
  const { writeUnits, readUnits } = inputsOf().costs;
  const costs = (actual, writes, reads) =>
    assert.equal(actual.toFixed(6), ((writes * writeUnits + reads * readUnits) * 1_000_000).toFixed(6));
  // Its row, the change log and the message; standing, message, pins, and two of `derive`.
  costs(storeOf({}, 'a pin'), 3, 2 + 1 + 1 + 2);
  // A row a member; the channel, and whether each of them is a member.
  costs(storeOf({}, 'listing the mentions'), 1, 2);
  costs(storeOf({ mentioned: 50 }, 'listing the mentions'), 50, 51);
  // One query, eventual; standing in each channel; each message.
  costs(storeOf({}, 'a page of 20 mentions'), 0, 0.5 + 2 * 5 + 20);
  // 100 bytes a row, a unit for 4 KB, half price; never more than the limit.
  const [, limit] = source('shared/model/src/limits.rs').match(/MENTION_ROWS_MAX: u32 = ([\d_]+)/) ?? [];
  assert.equal(limit?.replace('_', ''), String(COUNTED.mentionRowsMax[0]));
  const mentions = (mentionRows) => perMillionReads(inputsOf({ mentionRows })).counts['store: mentions'];
  for (const [rows, reads] of [[0, 0.5], [40, 0.5], [100, 1.5], [1000, 12.5], [9999, 12.5]]) {
    costs(mentions(rows), 0, reads);
  }
});

test('a file costs what its calls were counted to cost, and its bytes the most', () => {
  const inputs = inputsOf();
  const { files } = perMillionFiles(inputs);
  const { writeUnits, readUnits } = inputs.costs;
  const store = (2 * writeUnits + (2 + 1) * readUnits) * 1_000_000;
  assert.equal(files['store: rows, and giving them to messages'].toFixed(6), store.toFixed(6));
  const { 'reads: bytes out': bytes, ...rest } = files;
  assert.ok(bytes > 5 * Object.values(rest).reduce((total, value) => total + value, 0));
});

test('every price has a page of its vendor and says whether it was verified', () => {
  const text = listed();
  const prices = text.split('\n').filter((line) => /USD per /.test(line)).length;
  assert.equal((text.match(/^ {6}https:\/\/(aws\.amazon|ably)\.com\//gm) ?? []).length, prices);
  assert.equal((text.match(/not verified here|quoted by/g) ?? []).length, prices);
});
