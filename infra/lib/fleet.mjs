// The nodes. Each task has a public address, and `GET /connect` replaces a load balancer.
import { Aws, Duration, Fn } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as iam from 'aws-cdk-lib/aws-iam';
import { nodeStatementsOf, statementsOf } from './access.mjs';
import { COLLECTOR_USER, collectorConfig, METRICS_NAMESPACE } from './collector.mjs';
import { repositoryName } from './images.mjs';
import { logGroupOf } from './logs.mjs';
import { zoneNameOf } from './names.mjs';
import { METRICS_PORT, SOCKET_PORT } from './network.mjs';

const ARCHITECTURES = { arm64: ecs.CpuArchitecture.ARM64, x86_64: ecs.CpuArchitecture.X86_64 };

/** The cluster. It is made before the service, because names of nodes follow from its events. */
export function clusterOf(stack, { settings, parameters, network }) {
  const clusterName = settings.stackName;
  // Otherwise ECS would create this group itself, without a retention period.
  const insights = logGroupOf(stack, 'InsightsLogs', {
    parameters,
    name: `/aws/ecs/containerinsights/${clusterName}/performance`,
  });
  const cluster = new ecs.Cluster(stack, 'Cluster', {
    clusterName,
    vpc: network.vpc,
    containerInsightsV2: ecs.ContainerInsights.ENABLED,
  });
  cluster.node.addDependency(insights);
  return cluster;
}

export function fleetOf(stack, context) {
  const { settings, parameters, network, cluster, names, functions, schedule } = context;
  const task = taskOf(stack, context);
  const service = new ecs.FargateService(stack, 'Nodes', {
    serviceName: `${settings.prefix}nodes`,
    cluster,
    taskDefinition: task,
    // No count here: a deployment would reset what scaling has chosen. Scaling has a minimum.
    assignPublicIp: true,
    vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC },
    securityGroups: [network.nodesGroup],
    // A rolling deployment starts new nodes first. An old node then gets SIGTERM, withdraws its
    // lease and closes its sockets within 20 s; its clients reconnect to the new nodes.
    minHealthyPercent: 100,
    maxHealthyPercent: 150,
    circuitBreaker: { enable: true, rollback: true },
    availabilityZoneRebalancing: ecs.AvailabilityZoneRebalancing.ENABLED,
    enableExecuteCommand: false,
    propagateTags: ecs.PropagatedTagSource.SERVICE,
  });
  // The rule comes first: a task whose start it missed would wait for its name in vain.
  service.node.addDependency(names.rule, names.helper);
  // Nodes spool what `archive` must be able to read.
  service.node.addDependency(schedule, functions.archive);
  if (settings.has('scaling')) scaleOf(settings, parameters, service);
  return { service, task };
}

function taskOf(stack, context) {
  const { settings } = context;
  const [taskRole, executionRole] = rolesOf(stack, context);
  const task = new ecs.FargateTaskDefinition(stack, 'Task', {
    family: `${settings.prefix}node`,
    ...settings.nodeSize,
    taskRole,
    executionRole,
    runtimePlatform: {
      cpuArchitecture: ARCHITECTURES[settings.arch],
      operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
    },
  });
  nodeContainer(stack, task, context);
  collectorContainer(stack, task, context);
  return task;
}

function nodeContainer(stack, task, { settings, parameters, redis, secrets }) {
  const repository = ecr.Repository.fromRepositoryName(stack, 'Images', repositoryName(settings));
  const logGroup = logGroupOf(stack, 'NodeLogs', { parameters, name: `/${settings.stackName}/nodes` });
  const container = task.addContainer('node', {
    image: ecs.ContainerImage.fromEcrRepository(repository, parameters.NodeImageTag.valueAsString),
    essential: true,
    user: '65532:65532',
    readonlyRootFilesystem: true,
    linuxParameters: withoutRights(stack, 'NodeLinux'),
    // SIGTERM, 20 s of draining (`limits::DRAIN_MAX`), and time to write the last log lines.
    stopTimeout: Duration.seconds(40),
    portMappings: [{ containerPort: SOCKET_PORT, protocol: ecs.Protocol.TCP }],
    logging: ecs.LogDriver.awsLogs({
      logGroup,
      streamPrefix: 'node',
      mode: ecs.AwsLogDriverMode.NON_BLOCKING,
    }),
    environment: environmentOf(settings, parameters, redis),
    secrets: {
      ...(settings.has('cacheTls')
        ? { INKWIRE_REDIS_TOKEN: ecs.Secret.fromSecretsManager(redis.token) }
        : { INKWIRE_REDIS_URL: ecs.Secret.fromSecretsManager(redis.url) }),
      INKWIRE_TICKET_SECRET: ecs.Secret.fromSecretsManager(secrets.ticket),
      ...certificateOf(secrets),
    },
    // The image has no shell, so the program checks itself. A node is not healthy before its name
    // resolves: otherwise a deployment would end old nodes while clients cannot find new ones.
    healthCheck: {
      command: ['CMD', '/inkwire-node', '--health'],
      startPeriod: Duration.minutes(5),
      interval: Duration.seconds(10),
      timeout: Duration.seconds(5),
      retries: 6,
    },
  });
  // 60000 sockets (`limits::SOCKETS_MAX`), plus all other files.
  container.addUlimits({ name: ecs.UlimitName.NOFILE, softLimit: 131072, hardLimit: 131072 });
}

function withoutRights(stack, id) {
  const linuxParameters = new ecs.LinuxParameters(stack, id, { initProcessEnabled: false });
  linuxParameters.dropCapabilities(ecs.Capability.ALL);
  return linuxParameters;
}

/** One secret holds certificate and key, so that they always match. */
const certificateOf = ({ certificate }) =>
  certificate && {
    INKWIRE_NODE_TLS_CERTIFICATE: ecs.Secret.fromSecretsManager(certificate, 'certificate'),
    INKWIRE_NODE_TLS_KEY: ecs.Secret.fromSecretsManager(certificate, 'key'),
  };

/** The names come from shared/service/src/config.rs; a check compares them. */
function environmentOf(settings, parameters, redis) {
  return {
    // Nodes find the cache by its id, at start and after it was replaced. Its token is a secret.
    ...(settings.has('cacheTls') ? { INKWIRE_REDIS_GROUP: redis.group.ref } : {}),
    INKWIRE_TABLE_PREFIX: settings.prefix,
    AWS_REGION: Aws.REGION,
    INKWIRE_NODE_LISTEN: `0.0.0.0:${SOCKET_PORT}`,
    // On loopback: only the collector in the same task can reach it.
    INKWIRE_NODE_ADMIN_LISTEN: `127.0.0.1:${METRICS_PORT}`,
    // The node replaces `{task_id}`, from its task's metadata.
    INKWIRE_NODE_URL: `wss://{task_id}.${zoneNameOf(parameters)}:${SOCKET_PORT}/socket`,
    INKWIRE_NODE_HANDSHAKES_PER_SECOND: parameters.HandshakesPerSecond.valueAsString,
    INKWIRE_ALLOWED_ORIGINS: originsOf(parameters),
    INKWIRE_LOG: parameters.LogFilter.valueAsString,
    INKWIRE_LOG_FORMAT: 'json',
  };
}

const originsOf = (parameters) => Fn.join(',', parameters.AllowedOrigins.valueAsList);

/**
 * The collector passes the node's metrics to CloudWatch, for scaling and alarms. This third-party
 * program has the node's role, because ECS has only one role for a task.
 */
function collectorContainer(stack, task, { settings, parameters }) {
  const group = logGroupOf(stack, 'MetricLogs', {
    parameters,
    name: `/${settings.stackName}/node-metrics`,
  });
  group.grantWrite(task.taskRole);
  task.addContainer('collector', {
    image: ecs.ContainerImage.fromRegistry(parameters.CollectorImage.valueAsString),
    // A node serves without it, but is not monitored.
    essential: false,
    user: COLLECTOR_USER,
    linuxParameters: withoutRights(stack, 'CollectorLinux'),
    readonlyRootFilesystem: true,
    memoryLimitMiB: 256,
    environment: {
      AOT_CONFIG_CONTENT: collectorConfig({
        port: METRICS_PORT,
        region: Aws.REGION,
        logGroup: group.logGroupName,
        fleet: settings.stackName,
      }),
    },
    logging: ecs.LogDriver.awsLogs({
      logGroup: logGroupOf(stack, 'CollectorLogs', {
        parameters,
        name: `/${settings.stackName}/collector`,
      }),
      streamPrefix: 'collector',
      mode: ecs.AwsLogDriverMode.NON_BLOCKING,
    }),
  });
}

function rolesOf(stack, { tables, redis }) {
  const assumedBy = new iam.ServicePrincipal('ecs-tasks.amazonaws.com', {
    conditions: { StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID } },
  });
  const taskRole = new iam.Role(stack, 'Role-node', { description: 'Inkwire: a node', assumedBy });
  for (const statement of [...statementsOf('node', tables), ...nodeStatementsOf(tables, redis)]) {
    taskRole.addToPolicy(statement);
  }
  const executionRole = new iam.Role(stack, 'Role-node-start', {
    description: 'Inkwire: what starts a node: its image, its secrets, its logs',
    assumedBy,
  });
  return [taskRole, executionRole];
}

/** Scales with open sockets; slowly down, because clients of a leaving node must reconnect. */
function scaleOf(settings, parameters, service) {
  const target = service.autoScaleTaskCount({
    minCapacity: parameters.NodesMin.valueAsNumber,
    maxCapacity: parameters.NodesMax.valueAsNumber,
  });
  target.scaleToTrackCustomMetric('Sockets', {
    metric: new cloudwatch.Metric({
      namespace: METRICS_NAMESPACE,
      metricName: 'inkwire_sockets',
      // All nodes write the same metric, so its average is sockets per node.
      dimensionsMap: { fleet: settings.stackName },
      statistic: 'Average',
      period: Duration.minutes(1),
    }),
    targetValue: parameters.SocketsPerNode.valueAsNumber,
    scaleOutCooldown: Duration.minutes(1),
    scaleInCooldown: Duration.minutes(15),
  });
  // Scale with processor time as well: a few sockets may be very busy.
  target.scaleOnCpuUtilization('Cpu', {
    targetUtilizationPercent: 60,
    scaleOutCooldown: Duration.minutes(1),
    scaleInCooldown: Duration.minutes(15),
  });
}
