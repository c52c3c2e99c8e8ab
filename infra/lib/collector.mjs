// The collector beside a node: AWS's build of the OpenTelemetry collector. It reads /metrics on the
// node's loopback and writes them as CloudWatch metrics. Not needed by a node, only by its watchers.

/** Pinned: a new version is a deliberate change. */
export const COLLECTOR_IMAGE = 'public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3';

/** Where a node's metrics are in CloudWatch. */
export const METRICS_NAMESPACE = 'Inkwire';

/** Its configuration: JSON, which is YAML. Each metric costs money, so few of them are named. */
export function collectorConfig({ port, region, logGroup, fleet }) {
  return JSON.stringify({
    receivers: {
      prometheus: {
        config: {
          scrape_configs: [
            {
              job_name: 'node',
              scrape_interval: '30s',
              static_configs: [{ targets: [`127.0.0.1:${port}`], labels: { fleet } }],
            },
          ],
        },
      },
    },
    exporters: {
      awsemf: {
        region,
        namespace: METRICS_NAMESPACE,
        log_group_name: logGroup,
        log_stream_name: '{TaskId}',
        dimension_rollup_option: 'NoDimensionRollup',
        metric_declarations: [
          {
            dimensions: [['fleet']],
            metric_name_selectors: WATCHED.map((name) => `^${name}$`),
          },
        ],
      },
    },
    service: { pipelines: { metrics: { receivers: ['prometheus'], exporters: ['awsemf'] } } },
  });
}

/** What alarms, scaling and the dashboard look at; a check finds each in the node's source. */
export const WATCHED = [
  'inkwire_sockets',
  'inkwire_handshakes_total',
  'inkwire_frames_delivered_total',
  'inkwire_repairs_total',
  'inkwire_workspaces_stale',
  'inkwire_resyncs_total',
  'inkwire_slow_consumers_total',
  'inkwire_heartbeats_missed_total',
  'inkwire_panics_total',
  'inkwire_certificate_seconds',
];
