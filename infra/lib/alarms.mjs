// Alarms. docs/operations.md describes each one and what to do. A check compares the names.
import { CfnCondition, Duration, Fn } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as sns from 'aws-cdk-lib/aws-sns';
import { METRICS_NAMESPACE } from './collector.mjs';

const ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD;
const MINUTE = Duration.minutes(1);

/** The topic that receives alarms and the cache's own events. */
export function topicOf(stack, { settings, parameters }) {
  const topic = new sns.Topic(stack, 'Alarms', {
    topicName: `${settings.prefix}alarms`,
    displayName: 'Inkwire',
    enforceSSL: true,
  });
  const mail = new sns.CfnSubscription(stack, 'AlarmMail', {
    topicArn: topic.topicArn,
    protocol: 'email',
    endpoint: parameters.AlarmEmail.valueAsString,
  });
  mail.cfnOptions.condition = new CfnCondition(stack, 'HasAlarmEmail', {
    expression: Fn.conditionNot(Fn.conditionEquals(parameters.AlarmEmail.valueAsString, '')),
  });
  return topic;
}

/** Makes all alarms and returns them. */
export function alarmsOf(stack, context) {
  const all = [
    ...functionAlarms(context),
    ...relayAlarms(context),
    ...deriveAlarms(context),
    ...archiveAlarms(context),
    ...namesAlarms(context),
    ...publishAlarms(context),
    ...apiAlarms(context),
    ...tableAlarms(context),
    ...cacheAlarms(context),
    ...nodeAlarms(context),
  ];
  const isMath = ({ metric }) => metric instanceof cloudwatch.MathExpression;
  const made = context.settings.has('alarmsOnMath') ? all : all.filter((alarm) => !isMath(alarm));
  return made.map((chosen) => {
    const { name, metric, says, threshold = 0, of = 1, datapoints = of } = chosen;
    const { compare = ABOVE, missing = cloudwatch.TreatMissingData.NOT_BREACHING } = chosen;
    const alarm = new cloudwatch.Alarm(stack, `Alarm-${name}`, {
      alarmName: context.settings.prefix + name,
      alarmDescription: `${says} (docs/operations.md)`,
      metric,
      threshold,
      evaluationPeriods: of,
      datapointsToAlarm: datapoints,
      comparisonOperator: compare,
      treatMissingData: missing,
    });
    alarm.addAlarmAction(new actions.SnsAction(context.alarms));
    alarm.addOkAction(new actions.SnsAction(context.alarms));
    return alarm;
  });
}

function functionAlarms({ functions }) {
  return Object.entries(functions).flatMap(([name, target]) => [
    {
      name: `${name}-errors`,
      metric: target.metricErrors({ period: MINUTE, statistic: 'Sum' }),
      of: 5,
      datapoints: 2,
      says: `The function ${name} ended in errors`,
    },
    {
      name: `${name}-throttles`,
      metric: target.metricThrottles({ period: MINUTE, statistic: 'Sum' }),
      of: 5,
      datapoints: 2,
      says: `The function ${name} was refused environments`,
    },
  ]);
}

/** A function's own metric, which it writes to its log (EMF). */
export const functionMetric = (target, metricName, statistic = 'Sum') =>
  new cloudwatch.Metric({
    namespace: METRICS_NAMESPACE,
    metricName,
    dimensionsMap: { function: target.functionName },
    statistic,
    period: MINUTE,
  });

function publishAlarms({ functions }) {
  return ['send', 'membership', 'amend'].map((name) => ({
    name: `${name}-publish-failures`,
    metric: functionMetric(functions[name], 'publish_failures'),
    threshold: 5,
    of: 5,
    datapoints: 3,
    says: `What ${name} stores does not get onto the bus by itself`,
  }));
}

/** How old the records are that a reader of the stream is given. */
export const ageOf = (target) =>
  target.metric('IteratorAge', { period: MINUTE, statistic: 'Maximum' });

/** How many entries a queue of failures holds. */
export const depthOf = (queue) =>
  queue.metricApproximateNumberOfMessagesVisible({ period: MINUTE, statistic: 'Maximum' });

function relayAlarms({ functions: { relay }, readers }) {
  return [
    {
      name: 'relay-age',
      metric: ageOf(relay),
      threshold: 10_000,
      of: 3,
      says: 'Messages are relayed over 10 s late',
    },
    {
      name: 'relay-age-critical',
      metric: ageOf(relay),
      threshold: 300_000,
      says: 'Messages are relayed over 5 min late; at 9 min late marks begin',
    },
    { name: 'relay-failures', metric: depthOf(readers.relay.queue), says: 'The relay gave records up' },
    {
      name: 'relay-skipped',
      metric: functionMetric(relay, 'relay_skipped'),
      says: 'The relay skipped a record that it cannot read: a defect',
    },
    {
      name: 'relay-unsafe',
      metric: functionMetric(relay, 'relay_held'),
      of: 5,
      datapoints: 2,
      says: 'Batches are held: the cache, its replica or the tables do not take them',
    },
  ];
}

/**
 * `derive` may be later than the relay: it waits up to `limits::FOLD_EVERY_MAX` inside a batch,
 * and the next batch waits for that one.
 */
function deriveAlarms({ functions: { derive }, readers }) {
  return [
    {
      name: 'derive-age',
      metric: ageOf(derive),
      threshold: 60_000,
      of: 3,
      says: 'Reactions are counted and mentions are listed over 1 min late',
    },
    {
      name: 'derive-age-critical',
      metric: ageOf(derive),
      threshold: 3_600_000,
      says: 'Files are given to their messages over 1 h late; a day later they begin to be lost',
    },
    {
      name: 'derive-failures',
      metric: depthOf(readers.derive.queue),
      says: 'Records were given up: reactions are not counted, mentions not listed, and files will be lost',
    },
    {
      name: 'derive-skipped',
      metric: functionMetric(derive, 'derive_skipped'),
      says: 'A record for derive cannot be read and was skipped: a defect',
    },
    {
      name: 'derive-held',
      metric: functionMetric(derive, 'derive_held'),
      of: 5,
      datapoints: 2,
      says: 'Batches are held: the tables or the files do not answer, or a message changes too often',
    },
  ];
}

/**
 * A run writes its metrics when it ends: the longest time until a message was stored, and what waits in
 * the cache then. There is one run a minute, so percentiles would be the same.
 */
function archiveAlarms({ functions: { archive } }) {
  const worst = (name) => functionMetric(archive, name, 'Maximum');
  return [
    {
      name: 'archive-lag',
      metric: worst('archive_lag_ms'),
      threshold: 10_000,
      of: 3,
      says: 'Delivered messages are stored over 10 s late',
    },
    {
      name: 'archive-lag-critical',
      metric: worst('archive_lag_ms'),
      threshold: 60_000,
      says: 'Delivered messages are stored over 1 min late: only the cache had them meanwhile',
    },
    {
      name: 'archive-waiting',
      metric: worst('archive_waiting_ms'),
      // Channels of `keep: acked` let a message wait for 45 s, and it is taken within 10 s then.
      threshold: 90_000,
      of: 2,
      says: 'A delivered message is not stored: only the cache has it',
    },
    {
      name: 'archive-spool',
      metric: worst('archive_waiting_bytes'),
      // Half of `limits::SPOOL_BYTES_MAX`.
      threshold: 32 * 1024 * 1024,
      says: 'A workspace has half of what may wait to be stored; when it is full, sends are refused',
    },
    {
      name: 'archive-failures',
      metric: functionMetric(archive, 'archive_failures'),
      of: 5,
      datapoints: 2,
      says: 'The table does not take delivered messages; they are tried again',
    },
    {
      name: 'archive-conflicts',
      metric: functionMetric(archive, 'archive_conflicts'),
      says: 'A delivered message can never be stored, because another one has its id: a defect',
    },
    {
      name: 'archive-unreadable',
      metric: functionMetric(archive, 'archive_unreadable'),
      says: 'This version of archive cannot read a delivered message, and keeps it',
    },
    {
      name: 'archive-missing',
      metric: archive.metricInvocations({ period: MINUTE, statistic: 'Sum' }),
      threshold: 1,
      compare: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
      of: 5,
      missing: cloudwatch.TreatMissingData.BREACHING,
      says: 'Nothing starts archive, which stores delivered messages',
    },
  ];
}

function namesAlarms({ names }) {
  return [
    { name: 'names-failures', metric: depthOf(names.queue), says: 'A node has no name, or a dead one has' },
  ];
}

function apiAlarms({ api }) {
  return [
    {
      name: 'api-5xx',
      metric: api.metricServerError({ period: MINUTE, statistic: 'Sum' }),
      threshold: 5,
      of: 5,
      datapoints: 3,
      says: 'The API answers 5xx',
    },
  ];
}

function tableAlarms({ tables }) {
  return Object.entries(tables).map(([name, table]) => {
    const throttled = (metricName) => table.metric(metricName, { period: MINUTE, statistic: 'Sum' });
    return {
      name: `${name.replace('_', '-')}-throttled`,
      metric: new cloudwatch.MathExpression({
        expression: 'FILL(reads, 0) + FILL(writes, 0)',
        usingMetrics: {
          reads: throttled('ReadThrottleEvents'),
          writes: throttled('WriteThrottleEvents'),
        },
        period: MINUTE,
      }),
      of: 5,
      datapoints: 2,
      says: `Calls to the table ${name} are throttled`,
    };
  });
}

/** The metric of one cache node. Members of the group are numbered from 001. */
export const cacheMetric = ({ redis }, member, metricName, statistic) =>
  new cloudwatch.Metric({
    namespace: 'AWS/ElastiCache',
    metricName,
    dimensionsMap: { CacheClusterId: `${redis.group.ref}-00${member}` },
    statistic,
    period: MINUTE,
  });

function cacheAlarms(context) {
  const both = (metricName, statistic, join) =>
    new cloudwatch.MathExpression({
      expression: `${join}([one, two])`,
      usingMetrics: {
        one: cacheMetric(context, 1, metricName, statistic),
        two: cacheMetric(context, 2, metricName, statistic),
      },
      period: MINUTE,
    });
  return [
    {
      name: 'cache-failover',
      // The first member became the primary, or is no longer the primary.
      metric: new cloudwatch.MathExpression({
        expression: 'ABS(DIFF(primary))',
        usingMetrics: { primary: cacheMetric(context, 1, 'IsMaster', 'Maximum') },
        period: MINUTE,
      }),
      says: 'Another member of the cache became the primary',
    },
    { name: 'cache-evictions', metric: both('Evictions', 'Sum', 'SUM'), says: 'The cache throws keys out' },
    {
      name: 'cache-memory',
      metric: both('DatabaseMemoryUsagePercentage', 'Maximum', 'MAX'),
      threshold: 75,
      of: 5,
      says: 'The cache is nearly full',
    },
    {
      name: 'cache-cpu',
      metric: both('EngineCPUUtilization', 'Average', 'MAX'),
      threshold: 70,
      of: 5,
      says: 'The cache has little time left: it runs on one core',
    },
  ];
}

/** A node's own metric, aggregated over the fleet. */
export const nodeMetric = ({ settings }, metricName, statistic) =>
  new cloudwatch.Metric({
    namespace: METRICS_NAMESPACE,
    metricName,
    dimensionsMap: { fleet: settings.stackName },
    statistic,
    period: MINUTE,
  });

function nodeAlarms(context) {
  const { settings } = context;
  const tasks = (metricName) =>
    new cloudwatch.Metric({
      namespace: 'ECS/ContainerInsights',
      metricName,
      dimensionsMap: { ClusterName: settings.stackName, ServiceName: `${settings.prefix}nodes` },
      statistic: 'Minimum',
      period: MINUTE,
    });
  return [
    {
      name: 'nodes-missing',
      metric: new cloudwatch.MathExpression({
        expression: 'wanted - running',
        usingMetrics: { wanted: tasks('DesiredTaskCount'), running: tasks('RunningTaskCount') },
        period: MINUTE,
      }),
      of: 3,
      says: 'Fewer nodes run than should',
    },
    {
      name: 'nodes-heartbeats',
      metric: nodeMetric(context, 'inkwire_heartbeats_missed_total', 'Sum'),
      threshold: 2,
      of: 3,
      says: 'Nodes cannot renew their leases',
    },
    {
      name: 'nodes-fills',
      metric: nodeMetric(context, 'inkwire_repairs_total', 'Sum'),
      threshold: 60,
      of: 5,
      datapoints: 3,
      says: 'Nodes keep filling holes: pushes get lost',
    },
    {
      name: 'nodes-stale',
      metric: nodeMetric(context, 'inkwire_workspaces_stale', 'Maximum'),
      of: 5,
      says: 'Ticks say fresh:false: nodes receive nothing from the bus',
    },
    {
      name: 'nodes-resyncs',
      metric: nodeMetric(context, 'inkwire_resyncs_total', 'Sum'),
      says: 'Clients were told to read again',
    },
    {
      name: 'nodes-panics',
      metric: nodeMetric(context, 'inkwire_panics_total', 'Sum'),
      says: 'A task of a node panicked: a defect',
    },
    {
      name: 'nodes-certificate',
      metric: nodeMetric(context, 'inkwire_certificate_seconds', 'Minimum'),
      threshold: 21 * 24 * 3600,
      compare: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
      says: 'A node shows a certificate that ends within 21 days',
    },
  ];
}
