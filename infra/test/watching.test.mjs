// Alarms: each one exists, has a target, and is documented.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resourcesOf, source, templateOf, textOf } from './synthesis.mjs';

const template = templateOf();
const alarms = resourcesOf(template, 'AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties);
/** Alarms on metrics that the functions write themselves. */
const ownMetrics = alarms.filter(
  ({ Namespace, Dimensions }) => Namespace === 'Inkwire' && Dimensions[0].Name === 'function',
);
const named = (name) => alarms.find(({ AlarmName }) => AlarmName === `inkwire-${name}`);

test('every alarm notifies the topic, and a gap in its data is no alarm', () => {
  for (const alarm of alarms) {
    assert.match(alarm.AlarmActions.map(textOf).join(), /Alarms/, alarm.AlarmName);
    // But for one whose data must come every minute.
    const treated = alarm === named('archive-missing') ? 'breaching' : 'notBreaching';
    assert.equal(alarm.TreatMissingData, treated, alarm.AlarmName);
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

test('derive may be later than it waits, but not by much', () => {
  const limits = source('shared/model/src/limits.rs');
  const [, wait_s] = limits.match(/FOLD_EVERY_MAX: Duration = Duration::from_secs\((\d+)\)/);
  const { MetricName, Threshold, Dimensions } = named('derive-age');
  assert.equal(MetricName, 'IteratorAge');
  assert.match(textOf(Dimensions[0].Value), /Functionderive/);
  assert.ok(Threshold >= 2 * wait_s * 1000 && Threshold <= 60_000, `${Threshold}`);
  // Long before rows of files that messages name can expire.
  const critical = named('derive-age-critical');
  assert.deepEqual([critical.MetricName, critical.Threshold], ['IteratorAge', 3_600_000]);
});

test('archive is watched by how late it stores, by what waits, and by whether it runs', () => {
  const is = (name, metric, threshold, statistic = 'Maximum') => {
    const { MetricName, Threshold, Statistic, Dimensions } = named(name);
    assert.deepEqual([MetricName, Threshold, Statistic], [metric, threshold, statistic], name);
    assert.match(textOf(Dimensions[0].Value), /Functionarchive/);
  };
  // A run measures the latest message that it stored: its maximum is the only value of a minute.
  is('archive-lag', 'archive_lag_ms', 10_000);
  is('archive-lag-critical', 'archive_lag_ms', 60_000);
  // What is not stored has no lag.
  is('archive-waiting', 'archive_waiting_ms', 90_000);
  const limits = source('shared/model/src/limits/deliver_first.rs');
  const [, most_mib] = limits.match(/SPOOL_BYTES_MAX: usize = (\d+) \* 1024 \* 1024;/);
  is('archive-spool', 'archive_waiting_bytes', (Number(most_mib) / 2) * 1024 * 1024);
  is('archive-missing', 'Invocations', 1, 'Sum');
  assert.equal(named('archive-missing').ComparisonOperator, 'LessThanThreshold');
  for (const name of ['failures', 'conflicts', 'unreadable']) is(`archive-${name}`, `archive_${name}`, 0, 'Sum');
});

test('errors, throttles, failures, losses and evictions are watched', () => {
  for (const name of ['send', 'scroll', 'membership', 'amend', 'files', 'connect', 'archive', 'relay', 'derive']) {
    assert.ok(named(`${name}-errors`) && named(`${name}-throttles`), name);
  }
  for (const name of ['messages', 'channels', 'memberships', 'user-channels']) {
    assert.ok(named(`${name}-throttled`), name);
  }
  for (const name of ['relay-failures', 'derive-failures', 'names-failures', 'nodes-missing', 'nodes-fills']) {
    assert.ok(named(name), name);
  }
  for (const name of ['failover', 'evictions']) assert.ok(named(`cache-${name}`), name);
});

test('publishing, relaying, storing and counting are watched by the functions\' own metrics', () => {
  assert.deepEqual(
    ownMetrics.map(({ AlarmName, MetricName }) => [AlarmName, MetricName]).sort(),
    [
      ['inkwire-amend-publish-failures', 'publish_failures'],
      ['inkwire-archive-conflicts', 'archive_conflicts'],
      ['inkwire-archive-failures', 'archive_failures'],
      ['inkwire-archive-lag', 'archive_lag_ms'],
      ['inkwire-archive-lag-critical', 'archive_lag_ms'],
      ['inkwire-archive-spool', 'archive_waiting_bytes'],
      ['inkwire-archive-unreadable', 'archive_unreadable'],
      ['inkwire-archive-waiting', 'archive_waiting_ms'],
      ['inkwire-derive-held', 'derive_held'],
      ['inkwire-derive-skipped', 'derive_skipped'],
      ['inkwire-membership-publish-failures', 'publish_failures'],
      ['inkwire-relay-skipped', 'relay_skipped'],
      ['inkwire-relay-unsafe', 'relay_held'],
      ['inkwire-send-publish-failures', 'publish_failures'],
    ],
  );
  const [send] = ownMetrics.filter(({ AlarmName }) => AlarmName === 'inkwire-send-publish-failures');
  assert.match(textOf(send.Dimensions[0].Value), /Functionsend/);
});

test('every metric of the functions that is looked at is in their source, under one name space', () => {
  const programs = ['messaging/src/counters.rs', 'service/src/lambda.rs', 'service/src/http/access_log.rs'];
  const text = programs.map((file) => source(`shared/${file}`)).join('');
  const page = source('docs/operations.md');
  const { DashboardBody } = resourcesOf(template, 'AWS::CloudWatch::Dashboard')[0][1].Properties;
  const shown = [...textOf(DashboardBody).matchAll(/"Inkwire","([a-z_]+)","function"/g)];
  const looked = shown.map(([, name]) => name);
  const alarmed = ownMetrics.map(({ MetricName }) => MetricName);
  assert.ok(looked.includes('stored') && looked.includes('relay_lag_ms'), looked.join());
  for (const name of [...looked, ...alarmed]) {
    assert.ok(text.includes(`"${name}"`), `${name} is in no program`);
    assert.ok(page.includes(`\`${name}\``), `${name} is not explained`);
  }
  assert.match(source('shared/service/src/metrics.rs'), /NAMESPACE: &str = "Inkwire"/);
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
