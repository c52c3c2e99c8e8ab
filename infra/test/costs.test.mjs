// The cost sheet: the documented tables are what the program prints, and its counts are current.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COUNTED,
  inputsOf,
  listed,
  perMillionCalls,
  perMillionHours,
  perMillionMessages,
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

test('every price has a page of its vendor and says whether it was verified', () => {
  const text = listed();
  const prices = text.split('\n').filter((line) => /USD per /.test(line)).length;
  assert.equal((text.match(/^ {6}https:\/\/(aws\.amazon|ably)\.com\//gm) ?? []).length, prices);
  assert.equal((text.match(/not verified here|quoted by/g) ?? []).length, prices);
});
