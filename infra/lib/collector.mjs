// The collector beside a node: AWS's build of the OpenTelemetry collector. It reads /metrics on the
// node's loopback and writes CloudWatch metrics. A node works without it, but is not monitored.

/**
 * The default image: a version, by a tag that its owner can move. Deployers should look up its
 * digest and use that (README, "Choosing").
 */
export const COLLECTOR_IMAGE = 'public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3';

/** The image's user, `aoc`, as a number, so that no version can change it. */
export const COLLECTOR_USER = '4317:4317';

/** The CloudWatch namespace of metrics of nodes and functions. */
export const METRICS_NAMESPACE = 'Inkwire';

/** Its configuration: JSON, which is valid YAML. Each metric costs money, so it exports few. */
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

/** The metrics for alarms, scaling and the dashboard. A check finds each in the node's source. */
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
