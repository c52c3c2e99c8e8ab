// The parameters of the template, which each deployment chooses. Those that decide where data goes
// or who has access have no default.
import { CfnParameter } from 'aws-cdk-lib';
import { COLLECTOR_IMAGE } from './collector.mjs';

const RETENTION_DAYS = [1, 3, 5, 7, 14, 30, 60, 90, 120, 180, 365, 400, 545, 731, 1827, 3653];

const DEFINITIONS = {
  Domain: {
    description: 'Nodes get names under nodes.<Domain>; such as chat.example.com',
    allowedPattern: '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$',
  },
  ParentZoneId: {
    description: 'Public hosted zone to delegate nodes.<Domain> from; empty: delegate by hand',
    default: '',
    allowedPattern: '^(Z[A-Z0-9]{1,31})?$',
  },
  AllowedOrigins: {
    type: 'CommaDelimitedList',
    description: 'Origins of browsers, for CORS and sockets; such as https://chat.example.com',
    allowedPattern: '^https?://[^/,*]+$',
  },
  TokenIssuer: { description: 'The only iss that is taken from bearer tokens', minLength: 1 },
  TokenAudience: { description: 'The aud that a bearer token must name', minLength: 1 },
  TokenKeys: {
    description:
      'Public keys of TokenIssuer, a JWK set in one line: {"keys":[…]}; empty: a secret is made that signs (HS256)',
    default: '',
    // Anyone who may view the stack could read a private key in it.
    allowedPattern: '^(\\{(?!.*"(d|p|q|dp|dq|qi|oth|k)"\\s*:).*"keys"\\s*:.*\\})?$',
    // Lambda limits all variables of a function together to 4 KB.
    maxLength: 3000,
  },
  NodesCertificate: {
    description:
      'ARN of the secret that holds certificate and key of *.nodes.<Domain>, {"certificate", "key"} in PEM',
    allowedPattern:
      '^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}$',
  },
  NodeImageTag: {
    description: 'Tag of the node image in the repository of the images stack',
    allowedPattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$',
  },
  NodesMin: {
    type: 'Number',
    description: 'Nodes at least; two survive the loss of one',
    default: 2,
    minValue: 1,
  },
  NodesMax: { type: 'Number', description: 'Nodes at most', default: 20, minValue: 1 },
  SocketsPerNode: {
    type: 'Number',
    description: 'Open sockets a node that the fleet is scaled towards; a node takes 60000',
    default: 20000,
    minValue: 100,
    maxValue: 60000,
  },
  HandshakesPerSecond: {
    type: 'Number',
    description: 'Handshakes a second that a node takes',
    default: 2000,
    minValue: 1,
    maxValue: 100000,
  },
  CacheNodeType: {
    description: 'ElastiCache node type',
    default: 'cache.t4g.small',
    allowedPattern: '^cache\\.[a-z0-9]+\\.[a-z0-9]+$',
  },
  CacheReplicas: {
    type: 'Number',
    description: 'Replicas of the cache; the relay waits for one of them',
    default: 1,
    minValue: 1,
    maxValue: 5,
  },
  FunctionMemory: {
    type: 'Number',
    description: 'MiB of each function; its share of a CPU follows',
    default: 512,
    minValue: 128,
    maxValue: 3008,
  },
  ArchiveMemory: {
    type: 'Number',
    description: 'MiB of the function archive, which runs all the time while channels deliver first',
    default: 128,
    minValue: 128,
    maxValue: 3008,
  },
  ApiRateLimit: {
    type: 'Number',
    description: 'Calls a second that the API takes',
    default: 2000,
    minValue: 1,
  },
  ApiBurstLimit: {
    type: 'Number',
    description: 'Calls at once above that',
    default: 1000,
    minValue: 1,
  },
  LogRetentionDays: {
    type: 'Number',
    description: 'Days that logs are kept',
    default: '30',
    allowedValues: RETENTION_DAYS.map(String),
  },
  LogFilter: { description: 'tracing directives of functions and nodes', default: 'info', minLength: 1 },
  SecretsGeneration: {
    type: 'Number',
    description: 'Raise it after a change of a secret: functions read them at deployment',
    default: 1,
    minValue: 1,
  },
  CollectorImage: {
    description: 'Image of the collector beside each node; by its digest, or whoever owns the tag decides',
    default: COLLECTOR_IMAGE,
    allowedPattern: '^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_.-]+)?(@sha256:[0-9a-f]{64})?$',
  },
  AlarmEmail: {
    description: 'Who gets alarms by mail; empty: subscribe to the topic by hand',
    default: '',
    allowedPattern: '^([^@ ]+@[^@ ]+)?$',
  },
};

/** Parameters that only scaling reads. A stack without scaling does not have them. */
const OF_SCALING = ['NodesMin', 'NodesMax', 'SocketsPerNode'];

/** Adds the parameters to a stack, by name. */
export function parametersOf(stack, { settings }) {
  const isRead = ([name]) =>
    (settings.has('scaling') || !OF_SCALING.includes(name)) &&
    (settings.has('nodeCertificate') || name !== 'NodesCertificate');
  return Object.fromEntries(
    Object.entries(DEFINITIONS).filter(isRead).map(([name, definition]) => [
      name,
      new CfnParameter(stack, name, { type: 'String', ...definition }),
    ]),
  );
}
