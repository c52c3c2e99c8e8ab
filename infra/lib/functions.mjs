// The nine functions: prebuilt programs, one role each.
import { ArnFormat, Duration, Fn, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { filesStatementsOf, statementsOf } from './access.mjs';
import { logGroupOf } from './logs.mjs';
import { resolved } from './secrets.mjs';

/**
 * The API waits at most 30 s. The programs have shorter deadlines of their own:
 * `limits::SEND_DEADLINE`, `CALL_DEADLINE` and `MEMBERSHIP_DEADLINE`. The stream's readers wait inside
 * a batch: `relay` for a replica, `derive` up to `limits::FOLD_EVERY_MAX` before it counts again.
 */
const TIMEOUT_S = {
  send: 10,
  scroll: 10,
  membership: 29,
  amend: 10,
  files: 10,
  connect: 10,
  // It ends after `limits::ARCHIVE_RUN`, 70 s, and the batch that it then has in hand.
  archive: 105,
  relay: 60,
  derive: 60,
};
const ARCHITECTURES = { arm64: lambda.Architecture.ARM_64, x86_64: lambda.Architecture.X86_64 };

/** Makes the functions and returns them by name. */
export function functionsOf(stack, context) {
  return Object.fromEntries(
    Object.keys(TIMEOUT_S).map((name) => [name, functionOf(stack, name, context)]),
  );
}

function functionOf(stack, name, context) {
  const { settings, parameters, network } = context;
  const functionName = settings.prefix + name;
  const logGroup = logGroupOf(stack, `Logs-${name}`, {
    parameters,
    name: `/aws/lambda/${functionName}`,
  });
  return new lambda.Function(stack, `Function-${name}`, {
    functionName,
    // Secrets are read at deployment. A new generation changes this text and so reads them again.
    description: Fn.join('', [`Inkwire ${name}, secrets `, parameters.SecretsGeneration.valueAsString]),
    runtime: lambda.Runtime.PROVIDED_AL2023,
    architecture: ARCHITECTURES[settings.arch],
    handler: 'bootstrap',
    code: lambda.Code.fromAsset(settings.bootstrapOf(name)),
    role: roleOf(stack, name, functionName, logGroup, context),
    logGroup,
    timeout: Duration.seconds(TIMEOUT_S[name]),
    memorySize: memoryOf(name, parameters).valueAsNumber,
    environment: environmentOf(name, context),
    vpc: network.vpc,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
    securityGroups: [network.functionsGroup],
  });
}

/** `archive` runs all the time where channels deliver first, so its memory is a price for each second. */
const memoryOf = (name, { FunctionMemory, ArchiveMemory }) =>
  name === 'archive' ? ArchiveMemory : FunctionMemory;

/** What each function gets in its environment beside tables and logs: only what it uses. */
const NEEDS = {
  send: ['cache', 'tokens', 'files'],
  // What is delivered and not stored yet is in the cache only.
  scroll: ['cache', 'tokens'],
  membership: ['cache', 'tokens'],
  amend: ['cache', 'tokens'],
  files: ['tokens', 'files'],
  connect: ['cache', 'tokens', 'tickets'],
  archive: ['cache'],
  relay: ['cache', 'replicas'],
  derive: ['files'],
};

/** The names come from shared/service/src/config.rs; a check compares them. */
function environmentOf(name, { settings, parameters, redis, secrets, files }) {
  const parts = {
    cache: { INKWIRE_REDIS_URL: resolved(redis.url) },
    replicas: { INKWIRE_REDIS_REPLICAS: redis.replicas },
    tokens: {
      ...secrets.token.environment,
      INKWIRE_TOKEN_ISSUER: parameters.TokenIssuer.valueAsString,
      INKWIRE_TOKEN_AUDIENCE: parameters.TokenAudience.valueAsString,
    },
    files: { INKWIRE_FILES_BUCKET: files.bucketName },
    tickets: { INKWIRE_TICKET_SECRET: resolved(secrets.ticket) },
  };
  return Object.assign(
    {
      INKWIRE_TABLE_PREFIX: settings.prefix,
      INKWIRE_LOG: parameters.LogFilter.valueAsString,
      INKWIRE_LOG_FORMAT: 'json',
    },
    ...NEEDS[name].map((part) => parts[part]),
  );
}

function roleOf(stack, name, functionName, logGroup, { tables, files }) {
  const statements = [
    ...statementsOf(name, tables),
    ...filesStatementsOf(name, files),
    new iam.PolicyStatement({
      sid: 'Logs',
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [logGroup.logGroupArn],
    }),
    ...interfaceStatements(stack, functionName),
  ];
  return new iam.Role(stack, `Role-${name}`, {
    description: `Inkwire: the function ${name}`,
    assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
    inlinePolicies: { access: new iam.PolicyDocument({ statements }) },
  });
}

/**
 * Calls that Lambda makes with the function's role to attach it to the network. They cannot be
 * limited to a resource, so a second statement denies them to the function's own code.
 */
function interfaceStatements(stack, functionName) {
  const actions = [
    'ec2:AssignPrivateIpAddresses',
    'ec2:CreateNetworkInterface',
    'ec2:DeleteNetworkInterface',
    'ec2:DescribeNetworkInterfaces',
    'ec2:DescribeSubnets',
    'ec2:UnassignPrivateIpAddresses',
  ];
  const self = Stack.of(stack).formatArn({
    service: 'lambda',
    resource: 'function',
    resourceName: functionName,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });
  return [
    new iam.PolicyStatement({ sid: 'Interfaces', actions, resources: ['*'] }),
    new iam.PolicyStatement({
      sid: 'NotFromItsCode',
      effect: iam.Effect.DENY,
      actions,
      resources: ['*'],
      conditions: { ArnEquals: { 'lambda:SourceFunctionArn': self } },
    }),
  ];
}
