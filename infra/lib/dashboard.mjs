// The dashboard: one page to look at when an alarm fires.
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { Duration } from 'aws-cdk-lib';
import { ageOf, cacheMetric, depthOf, functionMetric, nodeMetric } from './alarms.mjs';

export function dashboardOf(stack, context, alarms) {
  const { settings } = context;
  const graph = (title, left, right = []) =>
    new cloudwatch.GraphWidget({ title, left, right, width: 8, height: 6, period: Duration.minutes(1) });
  new cloudwatch.Dashboard(stack, 'Dashboard', {
    dashboardName: settings.stackName,
    defaultInterval: Duration.hours(3),
    widgets: [
      [new cloudwatch.AlarmStatusWidget({ title: 'Alarms', alarms, width: 24, height: 4 })],
      [...apiGraphs(graph, context)],
      [...busGraphs(graph, context)],
      [...nodeGraphs(graph, context)],
    ],
  });
}

function apiGraphs(graph, { api, functions, tables }) {
  const of = Object.entries(functions);
  return [
    graph('Calls and failures', [api.metricCount()], [api.metricServerError(), api.metricClientError()]),
    graph(
      'Duration, p99',
      of.map(([label, target]) => target.metricDuration({ label, statistic: 'p99' })),
    ),
    graph(
      'Units written and read',
      Object.entries(tables).flatMap(([name, table]) => [
        table.metricConsumedWriteCapacityUnits({ label: `${name} written` }),
        table.metricConsumedReadCapacityUnits({ label: `${name} read` }),
      ]),
    ),
  ];
}

function busGraphs(graph, context) {
  const { functions, readers } = context;
  const cache = (name, statistic) => [1, 2].map((member) => cacheMetric(context, member, name, statistic));
  return [
    graph(
      'Stored, published, relayed first',
      [
        functionMetric(functions.send, 'stored'),
        functionMetric(functions.send, 'published'),
        functionMetric(functions.relay, 'relay_firsts'),
      ],
      [functionMetric(functions.send, 'publish_failures')],
    ),
    graph(
      'Relay: age, lag, failures',
      [ageOf(functions.relay), functionMetric(functions.relay, 'relay_lag_ms', 'Maximum')],
      [depthOf(readers.relay.queue)],
    ),
    graph(
      'Derive: age; counted anew, up to date, pins, mentions, files, failures',
      [ageOf(functions.derive)],
      [
        functionMetric(functions.derive, 'derive_folded'),
        functionMetric(functions.derive, 'derive_unchanged'),
        functionMetric(functions.derive, 'derive_pins_shown'),
        functionMetric(functions.derive, 'derive_mentioned'),
        functionMetric(functions.derive, 'derive_files_named'),
        functionMetric(functions.derive, 'derive_files_deleted'),
        depthOf(readers.derive.queue),
      ],
    ),
    graph(
      'Archive: lag, age of what waits; stored, failures',
      [
        functionMetric(functions.archive, 'archive_lag_ms', 'Maximum'),
        functionMetric(functions.archive, 'archive_waiting_ms', 'Maximum'),
      ],
      [functionMetric(functions.archive, 'archived'), functionMetric(functions.archive, 'archive_failures')],
    ),
    graph(
      'Archive: bytes in the fullest spool',
      [functionMetric(functions.archive, 'archive_waiting_bytes', 'Maximum')],
      [functionMetric(functions.archive, 'archive_conflicts'), functionMetric(functions.archive, 'archive_unreadable')],
    ),
    graph('Cache: processor, memory', [
      ...cache('EngineCPUUtilization', 'Average'),
      ...cache('DatabaseMemoryUsagePercentage', 'Maximum'),
    ]),
    graph('Connects, no capacity', [
      functionMetric(functions.connect, 'connects'),
      functionMetric(functions.connect, 'no_capacity'),
    ]),
    graph('Cache: evictions, lag', cache('Evictions', 'Sum'), cache('ReplicationLag', 'Maximum')),
  ];
}

function nodeGraphs(graph, context) {
  const { service } = context.fleet;
  return [
    graph(
      'Sockets: a node, the fullest',
      [nodeMetric(context, 'inkwire_sockets', 'Average'), nodeMetric(context, 'inkwire_sockets', 'Maximum')],
      [nodeMetric(context, 'inkwire_handshakes_total', 'Sum')],
    ),
    graph(
      'Delivered; slow consumers, resyncs',
      [nodeMetric(context, 'inkwire_frames_delivered_total', 'Sum')],
      [
        nodeMetric(context, 'inkwire_slow_consumers_total', 'Sum'),
        nodeMetric(context, 'inkwire_resyncs_total', 'Sum'),
      ],
    ),
    graph(
      'Repairs begun; not whole now, on a node',
      [nodeMetric(context, 'inkwire_repairs_total', 'Sum')],
      [nodeMetric(context, 'inkwire_workspaces_stale', 'Maximum')],
    ),
    graph('Nodes: processor, memory', [
      service.metricCpuUtilization(),
      service.metricMemoryUtilization(),
    ]),
  ];
}
