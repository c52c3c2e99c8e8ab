// Alarms: each exists, goes somewhere, and is explained.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RELAY_HOLDS, RELAY_SKIPS } from '../lib/alarms.mjs';
import { resourcesOf, source, templateOf, textOf } from './synthesis.mjs';

const template = templateOf();
const alarms = resourcesOf(template, 'AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties);
const named = (name) => alarms.find(({ AlarmName }) => AlarmName === `inkwire-${name}`);

test('every alarm is told to the topic, and a gap in its data is no alarm', () => {
  for (const alarm of alarms) {
    assert.match(alarm.AlarmActions.map(textOf).join(), /Alarms/, alarm.AlarmName);
    assert.equal(alarm.TreatMissingData, 'notBreaching', alarm.AlarmName);
  }
});

test('every alarm is on the page on operations, and no other is', () => {
  const page = source('docs/operations.md').split('\n## Alarms\n')[1].split('\n## ')[0];
  const explained = new Set(
    [...page.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell]) =>
      [...cell.matchAll(/`([a-z0-9-]+)`/g)].map(([, name]) => name),
    ),
  );
  const made = new Set(alarms.map(({ AlarmName }) => AlarmName.replace('inkwire-', '')));
  assert.deepEqual(explained, made);
});

test('the relay\'s age is watched at 10 s and at 5 min', () => {
  assert.equal(named('relay-age').Threshold, 10_000);
  assert.equal(named('relay-age-critical').Threshold, 300_000);
  for (const name of ['relay-age', 'relay-age-critical']) {
    assert.equal(named(name).MetricName, 'IteratorAge');
  }
});

test('errors, throttles, failures, losses and evictions are watched', () => {
  for (const name of ['send', 'scroll', 'membership', 'connect', 'relay']) {
    assert.ok(named(`${name}-errors`) && named(`${name}-throttles`), name);
  }
  for (const name of ['messages', 'channels', 'memberships', 'user-channels']) {
    assert.ok(named(`${name}-throttled`), name);
  }
  for (const name of ['relay-failures', 'names-failures', 'nodes-missing']) {
    assert.ok(named(name), name);
  }
  for (const name of ['failover', 'evictions']) assert.ok(named(`cache-${name}`), name);
});

test('the words that are looked for in the relay\'s log are in its source', () => {
  const relay = source('shared/messaging/src/relay.rs');
  for (const words of [...RELAY_SKIPS, ...RELAY_HOLDS]) assert.ok(relay.includes(words), words);
});

test('the fleet is scaled by sockets a node, slowly downwards', () => {
  const policies = resourcesOf(template, 'AWS::ApplicationAutoScaling::ScalingPolicy').map(
    ([, { Properties }]) => Properties.TargetTrackingScalingPolicyConfiguration,
  );
  const sockets = policies.find((one) => one.CustomizedMetricSpecification?.MetricName === 'inkwire_sockets');
  assert.equal(sockets.CustomizedMetricSpecification.Statistic, 'Average');
  assert.deepEqual(sockets.TargetValue, { Ref: 'SocketsPerNode' });
  assert.ok(sockets.ScaleInCooldown > sockets.ScaleOutCooldown);
});
