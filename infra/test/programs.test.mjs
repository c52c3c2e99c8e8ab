// Functions and nodes: their environment is what shared/runtime/src/config.rs reads.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WATCHED } from '../lib/collector.mjs';
import { METRICS_PORT, SOCKET_PORT } from '../lib/network.mjs';
import { resourceOf, resourcesOf, source, templateOf, textOf } from './synthesis.mjs';

const template = templateOf();
const FUNCTIONS = ['send', 'scroll', 'membership', 'connect', 'relay'];

/** Names that no function or no task is to be given, and why. */
const NOT_SET = {
  function: {
    AWS_REGION: 'the platform sets it, and lets nobody else',
    AWS_ENDPOINT_URL: 'the tables are at the region\'s own endpoint',
    INKWIRE_REDIS_CA: 'the cache\'s certificate is from an authority that everybody trusts',
    INKWIRE_TOKEN_KEYS: 'tokens are signed with the generated secret (README, "What is missing")',
  },
  node: {
    INKWIRE_REDIS_CA: 'the cache\'s certificate is from an authority that everybody trusts',
    AWS_ENDPOINT_URL: 'the tables are at the region\'s own endpoint',
    ECS_CONTAINER_METADATA_URI_V4: 'the platform sets it in every task',
  },
};

/** All names of the configuration's source. */
const NAMES = [...source('shared/runtime/src/config.rs').matchAll(/pub const \w+: &str = "(\w+)"/g)].map(
  ([, name]) => name,
);

/** Who reads which name: the table in docs/operations.md. */
const READERS = Object.fromEntries(
  [...source('docs/operations.md').matchAll(/^\| `([A-Z]\w+)` \| ([^|]+) \| ([^|]+) \|/gm)].map(
    ([, name, node, functions]) => [name, { node: node.trim(), functions: functions.trim() }],
  ),
);

/** What one of the function's configurations reads, by its struct in the source. */
function readBy(program) {
  const reads = (name) => {
    const { node, functions } = READERS[name];
    if (program === 'node') return node !== 'not read';
    if (functions === 'not read') return false;
    // The relay reads no secret: `RelayConfig` has none.
    return program === 'relay' ? !/TOKEN|TICKET/.test(name) : functions !== '`relay` only';
  };
  const kind = program === 'node' ? 'node' : 'function';
  return NAMES.filter(reads).filter((name) => !(name in NOT_SET[kind]));
}

const functionOf = (name) => resourceOf(template, 'AWS::Lambda::Function', `Function${name}`).Properties;
const task = resourceOf(template, 'AWS::ECS::TaskDefinition', 'Task').Properties;
const containerOf = (name) => task.ContainerDefinitions.find((one) => one.Name === name);

test('the page on operations and the source name the same variables', () => {
  assert.ok(NAMES.length >= 16);
  assert.deepEqual(new Set(Object.keys(READERS)), new Set(NAMES));
});

test('each function gets what it reads, and nothing else', () => {
  for (const name of FUNCTIONS) {
    const given = Object.keys(functionOf(name).Environment.Variables);
    assert.deepEqual(new Set(given), new Set(readBy(name)), name);
  }
});

test('a node gets what it reads, secrets as secrets', () => {
  const { Environment, Secrets } = containerOf('node');
  const open = Environment.map(({ Name }) => Name);
  const secret = Secrets.map(({ Name }) => Name);
  assert.deepEqual(new Set([...open, ...secret]), new Set(readBy('node')));
  assert.deepEqual(secret, [
    'INKWIRE_REDIS_URL',
    'INKWIRE_TICKET_SECRET',
    'INKWIRE_NODE_TLS_CERTIFICATE',
    'INKWIRE_NODE_TLS_KEY',
  ]);
});

test('no function holds a secret as text', () => {
  for (const name of FUNCTIONS) {
    for (const [variable, value] of Object.entries(functionOf(name).Environment.Variables)) {
      if (!/SECRET|REDIS_URL/.test(variable)) continue;
      const reference = /^\{\{resolve:secretsmanager:\$\{\w+\}:SecretString:::\}\}$/;
      assert.match(textOf(value), reference, variable);
    }
  }
});

test('every function has a timeout, memory, a log group and a role of its own', () => {
  const roles = new Set();
  const all = resourcesOf(template, 'AWS::Lambda::Function');
  for (const [id, { Properties }] of all) {
    assert.ok(Properties.Timeout >= 10 && Properties.Timeout <= 60, id);
    assert.ok(Properties.MemorySize, id);
    const group = template.Resources[Properties.LoggingConfig.LogGroup.Ref];
    assert.equal(group.Properties.LogGroupName, `/aws/lambda/${Properties.FunctionName}`, id);
    roles.add(textOf(Properties.Role));
  }
  assert.equal(roles.size, all.length);
});

test('functions are prebuilt programs for the processor that was chosen', () => {
  for (const [arch, expected] of [['arm64', 'arm64'], ['x86_64', 'x86_64']]) {
    for (const name of FUNCTIONS) {
      const id = `Function${name}`;
      const { Properties } = resourceOf(templateOf({ arch }), 'AWS::Lambda::Function', id);
      assert.equal(Properties.Runtime, 'provided.al2023');
      assert.deepEqual(Properties.Architectures, [expected]);
    }
    const { Properties } = resourceOf(templateOf({ arch }), 'AWS::ECS::TaskDefinition', 'Task');
    assert.equal(Properties.RuntimePlatform.CpuArchitecture, arch.toUpperCase());
  }
});

test('without programs a deployment says what to run', () => {
  assert.throws(() => templateOf({ assets: 'built', programs: 'target/none', arch: 'x86_64' }), {
    message: /^target\/none\/x86_64\/send\/bootstrap is missing; run: infra\/deploy functions$/,
  });
});

test('a setting that is not known is refused', () => {
  for (const context of [{ arch: 'mips' }, { tables: 'drop' }, { prefix: 'UPPER-' }, { local: 'yes' }]) {
    assert.throws(() => templateOf(context), /SettingsError|Error: -c/);
  }
});

test('the relay reads the stream from its oldest record, and gives up before the stream does', () => {
  const { Properties } = resourceOf(template, 'AWS::Lambda::EventSourceMapping', 'RelayMapping');
  assert.equal(Properties.StartingPosition, 'TRIM_HORIZON');
  assert.deepEqual(Properties.FunctionResponseTypes, ['ReportBatchItemFailures']);
  assert.equal(Properties.BisectBatchOnFunctionError, true);
  assert.ok(Properties.MaximumRecordAgeInSeconds < 24 * 3600);
  assert.match(textOf(Properties.DestinationConfig.OnFailure.Destination), /RelayFailures/);
  assert.equal(functionOf('relay').Timeout, 60);
});

const routes = resourcesOf(template, 'AWS::ApiGatewayV2::Route').map(
  ([, { Properties }]) => Properties.RouteKey,
);

test('no route takes any method: a browser\'s OPTIONS must not reach a function of ours', () => {
  assert.ok(routes.includes('$default'));
  assert.ok(routes.includes('OPTIONS /{proxy+}'));
  for (const route of routes) assert.doesNotMatch(route, /^ANY/);
});

test('routes are those of the protocol', () => {
  const paths = [...source('shared/protocol/src/routes.rs').matchAll(/\/\/\/ `([A-Z]+) (\/\S*)`$/gm)]
    .map(([, method, path]) => `${method} ${path.replace(/\/\{.*$/, '/{proxy+}')}`);
  const ours = routes.filter((route) => route !== '$default' && !route.startsWith('OPTIONS'));
  assert.deepEqual(new Set(paths), new Set(ours));
});

test('CORS names origins, and allows no cookies', () => {
  const { Properties } = resourceOf(template, 'AWS::ApiGatewayV2::Api', 'Api');
  assert.deepEqual(Properties.CorsConfiguration.AllowOrigins, { Ref: 'AllowedOrigins' });
  assert.equal(Properties.CorsConfiguration.AllowCredentials, false);
  assert.equal(template.Parameters.AllowedOrigins.Default, undefined);
  assert.doesNotMatch('https://*', new RegExp(template.Parameters.AllowedOrigins.AllowedPattern));
});

test('a node has no rights on its machine, and time to leave', () => {
  const node = containerOf('node');
  assert.equal(node.User, '65532:65532');
  assert.equal(node.ReadonlyRootFilesystem, true);
  assert.deepEqual(node.LinuxParameters.Capabilities, { Drop: ['ALL'] });
  const limits = source('shared/model/src/limits.rs');
  const [, drain_s] = limits.match(/DRAIN_MAX: Duration = Duration::from_secs\((\d+)\)/);
  assert.ok(node.StopTimeout >= Number(drain_s) + 10);
  const [, sockets] = limits.match(/SOCKETS_MAX: usize = ([\d_]+)/);
  const files = node.Ulimits.find(({ Name }) => Name === 'nofile').SoftLimit;
  assert.ok(files > Number(sockets.replaceAll('_', '')) * 1.5);
});

test('certificate and key come from one secret, which the deployment names', () => {
  const fromOf = (name) => textOf(containerOf('node').Secrets.find(({ Name }) => Name === name).ValueFrom);
  assert.equal(fromOf('INKWIRE_NODE_TLS_CERTIFICATE'), '${NodesCertificate}:certificate::');
  assert.equal(fromOf('INKWIRE_NODE_TLS_KEY'), '${NodesCertificate}:key::');
  const { Default, AllowedPattern } = template.Parameters.NodesCertificate;
  assert.equal(Default, undefined);
  const arn = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:nodes-certificate';
  assert.match(`${arn}-a1B2c3`, new RegExp(AllowedPattern));
  // Without its ending it is a name, and the permission would need a wildcard.
  assert.doesNotMatch(arn.slice(0, -12), new RegExp(AllowedPattern));
});

test('a node is known by the name of its task, and asked by itself how it is', () => {
  const { Environment, HealthCheck } = containerOf('node');
  const url = textOf(Environment.find(({ Name }) => Name === 'INKWIRE_NODE_URL').Value);
  const [, taskId] = source('shared/runtime/src/config.rs').match(/TASK_ID: &str = "(.*)"/);
  assert.equal(url, `wss://${taskId}.nodes.\${Domain}:${SOCKET_PORT}/socket`);
  assert.deepEqual(HealthCheck.Command, ['CMD', '/node', '--health']);
  assert.match(source('wss-fleet/node/src/main.rs'), /"--health"/);
  const [, entry] = source('infra/node.Dockerfile').match(/^ENTRYPOINT \["(.*)"\]$/m);
  assert.equal(entry, HealthCheck.Command[1]);
  // Nobody ends it before it has given up waiting for its name.
  const limits = source('shared/model/src/limits.rs');
  const [, wait_s] = limits.match(/NAME_WAIT_MAX: Duration = Duration::from_secs\((\d+)\)/);
  assert.ok(HealthCheck.StartPeriod >= Number(wait_s));
});

test('a rolling deployment starts new nodes before it ends old ones, and takes itself back', () => {
  const { Properties } = resourceOf(template, 'AWS::ECS::Service', 'Nodes');
  const { MinimumHealthyPercent, MaximumPercent, DeploymentCircuitBreaker } =
    Properties.DeploymentConfiguration;
  assert.equal(MinimumHealthyPercent, 100);
  assert.ok(MaximumPercent > 100);
  assert.deepEqual(DeploymentCircuitBreaker, { Enable: true, Rollback: true });
  // A count in the template would end the nodes that scaling has added.
  assert.equal(Properties.DesiredCount, undefined);
});

test('what is watched of a node is what a node counts', () => {
  const metrics = source('wss-fleet/node/src/metrics.rs');
  for (const name of WATCHED) assert.ok(metrics.includes(`"${name}"`), name);
  const [{ Value }] = containerOf('collector').Environment;
  assert.match(textOf(Value), new RegExp(`127.0.0.1:${METRICS_PORT}`));
});

test('the image\'s port is the template\'s', () => {
  assert.match(source('infra/node.Dockerfile'), new RegExp(`^EXPOSE ${SOCKET_PORT}$`, 'm'));
});
