// Functions and nodes: their environment holds what shared/service/src/config.rs reads.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STATES } from '../helpers/names/index.mjs';
import { COLLECTOR_USER, WATCHED } from '../lib/collector.mjs';
import { METRICS_PORT, SOCKET_PORT } from '../lib/network.mjs';
import { resourceOf, resourcesOf, source, templateOf, textOf } from './synthesis.mjs';

const template = templateOf();
const FUNCTIONS = ['send', 'scroll', 'membership', 'amend', 'files', 'connect', 'archive', 'relay', 'derive'];

/** Variables that functions or tasks must not have, and why. */
const NOT_SET = {
  function: {
    AWS_REGION: 'the platform sets it, and lets nobody else',
    AWS_ENDPOINT_URL: 'the tables are at the region\'s own endpoint',
    AWS_ENDPOINT_URL_S3: 'the files are at the region\'s own endpoint',
    INKWIRE_REDIS_CA: 'the cache\'s certificate is from an authority that everybody trusts',
    INKWIRE_SOCKET_SECONDS_MAX: 'a day is right for the stack',
  },
  node: {
    AWS_ENDPOINT_URL: 'the tables are at the region\'s own endpoint',
    AWS_ENDPOINT_URL_ELASTICACHE: 'that API is at the region\'s own endpoint',
    ECS_CONTAINER_METADATA_URI_V4: 'the platform sets it in every task',
    INKWIRE_REDIS_CA: 'the cache\'s certificate is from an authority that everybody trusts',
    INKWIRE_REDIS_URL: 'it is given the group instead, whose address it looks up',
  },
};

/** All variable names in the configuration's source. */
const NAMES = [...source('shared/service/src/config.rs').matchAll(/pub const \w+: &str = "(\w+)"/g)].map(
  ([, name]) => name,
);

/** Which program reads which variable, by the table in docs/operations.md. */
const READERS = Object.fromEntries(
  [...source('docs/operations.md').matchAll(/^\| `([A-Z]\w+)` \| ([^|]+) \| ([^|]+) \|/gm)].map(
    ([, name, node, functions]) => [name, { node: node.trim(), functions: functions.trim() }],
  ),
);

/** The variables that a program reads, by cells such as `required, not \`scroll\`, \`derive\``. */
function readBy(program) {
  const reads = (name) => {
    const { node, functions } = READERS[name];
    if (program === 'node') return node !== 'not read';
    const [, only] = functions.match(/^`(\w+)` only$/) ?? [];
    const [, not = ''] = functions.match(/, not (`.+`)$/) ?? [];
    return functions !== 'not read' && (only ?? program) === program && !not.includes(`\`${program}\``);
  };
  const kind = program === 'node' ? 'node' : 'function';
  return NAMES.filter(reads).filter((name) => !(name in NOT_SET[kind]));
}

/** The variables that a deployment with these parameters gives a function. */
function variablesOf(name, parameters) {
  const { Variables } = functionOf(name).Environment;
  const chosen = Object.entries(Variables).map(([variable, value]) => {
    const [condition, made, given] = value['Fn::If'] ?? ['none', value];
    if (condition === 'none') return [variable, value];
    const [{ Ref: parameter }, wanted] = template.Conditions[condition]['Fn::Equals'];
    return [variable, (parameters[parameter] ?? '') === wanted ? made : given];
  });
  return Object.fromEntries(chosen.filter(([, { Ref }]) => Ref !== 'AWS::NoValue'));
}

/** The issuer of tokens: one with public keys, or one that has the secret. */
const ISSUERS = [{ TokenKeys: '{"keys":[]}' }, {}];

const functionOf = (name) => resourceOf(template, 'AWS::Lambda::Function', `Function${name}`).Properties;
const task = resourceOf(template, 'AWS::ECS::TaskDefinition', 'Task').Properties;
const containerOf = (name) => task.ContainerDefinitions.find((one) => one.Name === name);

test('the page on operations and the source name the same variables', () => {
  assert.ok(NAMES.length >= 16);
  assert.deepEqual(new Set(Object.keys(READERS)), new Set(NAMES));
});

test('each function gets what it reads, and nothing else', () => {
  for (const issuer of ISSUERS) {
    const other = issuer.TokenKeys ? 'INKWIRE_TOKEN_SECRET' : 'INKWIRE_TOKEN_KEYS';
    for (const name of FUNCTIONS) {
      const given = Object.keys(variablesOf(name, issuer));
      const read = readBy(name).filter((variable) => variable !== other);
      assert.deepEqual(new Set(given), new Set(read), name);
    }
  }
});

test('with an issuer\'s public keys nobody holds a secret that signs tokens, and none is made', () => {
  const { Default, AllowedPattern } = template.Parameters.TokenKeys;
  assert.equal(Default, '');
  const [[id, secret]] = resourcesOf(template, 'AWS::SecretsManager::Secret').filter(([id]) =>
    id.startsWith('TokenSecret'),
  );
  assert.deepEqual(template.Conditions[secret.Condition], {
    'Fn::Equals': [{ Ref: 'TokenKeys' }, ''],
  });
  assert.equal(template.Outputs.TokenSecretArn.Condition, secret.Condition);
  for (const name of FUNCTIONS) {
    const [withKeys, without] = ISSUERS.map((issuer) => variablesOf(name, issuer));
    assert.doesNotMatch(JSON.stringify(withKeys), new RegExp(id), name);
    if (['archive', 'relay', 'derive'].includes(name)) continue;
    assert.deepEqual(withKeys.INKWIRE_TOKEN_KEYS, { Ref: 'TokenKeys' });
    assert.match(textOf(without.INKWIRE_TOKEN_SECRET), new RegExp(id));
  }
  // All other uses of the secret have the same condition.
  const { Outputs, Resources } = template;
  const named = [...Object.entries(Outputs), ...Object.entries(Resources)]
    .filter(([other, value]) => other !== id && JSON.stringify(value).includes(id))
    .map(([other]) => other.replace(/[0-9A-F]{8}$/, ''));
  assert.deepEqual(named.sort(), [
    'Functionamend',
    'Functionconnect',
    'Functionfiles',
    'Functionmembership',
    'Functionscroll',
    'Functionsend',
    'TokenSecretArn',
  ]);
  const form = new RegExp(AllowedPattern);
  const key = '{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}';
  for (const good of ['', `{"keys":[${key}]}`, `{ "keys" : [${key},${key}] }`]) assert.match(good, form);
  const [, names] = source('shared/auth/src/public_keys.rs').match(/const PRIVATE: .* = \[(.*)\];/);
  for (const name of JSON.parse(`[${names}]`)) {
    assert.doesNotMatch(`{"keys":[${key},{"${name}" : "AAAA"}]}`, form, name);
  }
  for (const wrong of [key, '[]', 'https://login.example.com/jwks']) assert.doesNotMatch(wrong, form);
});

test('a node gets what it reads, secrets as secrets', () => {
  const { Environment, Secrets } = containerOf('node');
  const open = Environment.map(({ Name }) => Name);
  const secret = Secrets.map(({ Name }) => Name);
  assert.deepEqual(new Set([...open, ...secret]), new Set(readBy('node')));
  assert.deepEqual(secret, [
    'INKWIRE_REDIS_TOKEN',
    'INKWIRE_TICKET_SECRET',
    'INKWIRE_NODE_TLS_CERTIFICATE',
    'INKWIRE_NODE_TLS_KEY',
  ]);
});

test('a node looks its cache up; in the emulator it gets the address', () => {
  const groupOf = (node) =>
    node.Environment.find(({ Name }) => Name === 'INKWIRE_REDIS_GROUP')?.Value;
  assert.match(textOf(groupOf(containerOf('node'))), /^\$\{Cache\}$/);
  const { Properties } = resourceOf(templateOf({ local: '1' }), 'AWS::ECS::TaskDefinition', 'Task');
  const local = Properties.ContainerDefinitions.find(({ Name }) => Name === 'node');
  assert.equal(groupOf(local), undefined);
  assert.ok(local.Secrets.some(({ Name }) => Name === 'INKWIRE_REDIS_URL'));
});

test('no function holds a secret as text', () => {
  for (const name of FUNCTIONS) {
    for (const [variable, value] of Object.entries(variablesOf(name, {}))) {
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
    // `archive` runs for more than a minute.
    assert.ok(Properties.Timeout >= 10 && Properties.Timeout <= (id.startsWith('Functionarchive') ? 105 : 60), id);
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

const mappingOf = (reader) =>
  resourceOf(template, 'AWS::Lambda::EventSourceMapping', `${reader}Mapping`).Properties;

test('readers of the stream begin at its oldest record, and give up before the stream does', () => {
  assert.equal(resourcesOf(template, 'AWS::Lambda::EventSourceMapping').length, 2, 'a shard serves two');
  for (const [reader, name] of [['Relay', 'relay'], ['Derive', 'derive']]) {
    const mapping = mappingOf(reader);
    assert.match(textOf(mapping.FunctionName), new RegExp(`Function${name}`));
    assert.match(textOf(mapping.EventSourceArn), /Tablemessages\w+\.StreamArn/);
    assert.equal(mapping.StartingPosition, 'TRIM_HORIZON');
    assert.deepEqual(mapping.FunctionResponseTypes, ['ReportBatchItemFailures']);
    assert.equal(mapping.BisectBatchOnFunctionError, true);
    assert.equal(mapping.MaximumRetryAttempts, -1);
    assert.ok(mapping.MaximumRecordAgeInSeconds < 24 * 3600);
    assert.match(textOf(mapping.DestinationConfig.OnFailure.Destination), new RegExp(`${reader}Failures`));
    assert.equal(functionOf(name).Timeout, 60);
  }
  const limits = source('shared/model/src/limits.rs');
  const [, wait_s] = limits.match(/FOLD_EVERY_MAX: Duration = Duration::from_secs\((\d+)\)/);
  assert.ok(functionOf('derive').Timeout >= 10 * Number(wait_s), 'waits for messages fit into a batch');
});

/** A mapping's filters. A record passes if any of them matches. */
const filtersOf = (reader) =>
  mappingOf(reader).FilterCriteria.Filters.map(({ Pattern }) => JSON.parse(Pattern));

/** Whether a mapping passes a record on: the part of the platform's rules that our filters use. */
function passes(reader, record) {
  const fits = (one, value) => {
    if (typeof one === 'string') return one === value;
    // Only values exist for the platform, not what has parts.
    if ('exists' in one) return one.exists === (value !== undefined && typeof value !== 'object');
    return typeof value === 'string' && value.startsWith(one.prefix);
  };
  const matches = (pattern, value) =>
    Array.isArray(pattern)
      ? pattern.some((one) => fits(one, value))
      : Object.entries(pattern).every(([key, inner]) => matches(inner, value?.[key]));
  return filtersOf(reader).some((pattern) => matches(pattern, record));
}

/** A record of the stream. A removed row has no image. */
const record = (eventName, sortKey, attributes = { s: { S: 'ada' } }) => {
  const Keys = { channel_id: { S: 'C01' }, created_at: { S: sortKey } };
  const image = eventName === 'REMOVE' ? {} : { NewImage: { ...Keys, ...attributes } };
  return { eventName, dynamodb: { Keys, ...image } };
};

const ULID = `01${'Z'.repeat(24)}`;
const WRITES = ['INSERT', 'MODIFY'];

test('the relay gets all rows of messages, and no row beside them', () => {
  for (const first of '01234567') {
    for (const event of WRITES) {
      assert.ok(passes('Relay', record(event, `${first}${'Z'.repeat(25)}`)), `${event} ${first}`);
    }
  }
  // The prefixes of all rows beside messages, in the source and reserved.
  const own = [...source('shared/dynamo/src/keys.rs').matchAll(/const \w+: &str = "(\w#)";/g)];
  const prefixes = own.map(([, prefix]) => prefix);
  assert.deepEqual(prefixes.sort(), ['c#', 'f#', 'p#', 'r#']);
  for (const prefix of prefixes) {
    assert.ok(!passes('Relay', record('INSERT', `${prefix}01JZ`)), prefix);
  }
});

test('derive gets reactions and pins that were made or withdrawn, and no row beside them', () => {
  assert.match(source('shared/dynamo/src/keys.rs'), /const REACTION: &str = "r#";/);
  for (const row of [`r#${ULID}#ada#👍`, `p#${ULID}`]) {
    for (const event of WRITES) assert.ok(passes('Derive', record(event, row)), `${event} ${row}`);
    assert.ok(!passes('Derive', record('REMOVE', row)), row);
  }
  for (const key of [`c#${ULID}`, `f#${ULID}`, 'R#01', 'P#01', 'r', 'p']) {
    assert.ok(!passes('Derive', record('INSERT', key)), key);
  }
});

test('derive gets messages that mention somebody, and deletions, and no other message', () => {
  assert.ok(/const MENTION\w*: &str = "m";/.test(source('shared/dynamo/src/item.rs')), 'the attribute is m');
  const mentions = { s: { S: 'ada' }, m: { S: 'bob' } };
  for (const first of '01234567') {
    const id = `${first}${'Z'.repeat(25)}`;
    for (const event of WRITES) {
      assert.ok(passes('Derive', record(event, id, mentions)), `${event} ${first}`);
      assert.ok(!passes('Derive', record(event, id)), `${event} ${first}`);
    }
    assert.ok(!passes('Derive', record('REMOVE', id, mentions)));
  }
  for (const event of WRITES) {
    assert.ok(passes('Derive', record(event, ULID, { k: { S: 'deleted' }, g: { S: 'ada' } })), event);
  }
  // A reply has the attribute whether it mentions somebody or not.
  assert.ok(passes('Derive', record('INSERT', ULID, { s: { S: 'ada' }, m: { S: '' } })));
  assert.match(source('shared/dynamo/src/item.rs'), /const DELETED_BY: &str = "g";/);
  // An attribute of that name in another row, or of another type, is something else.
  assert.ok(!passes('Derive', record('INSERT', `c#${ULID}`, mentions)));
  assert.ok(!passes('Derive', record('INSERT', ULID, { m: { N: '1' } })));
});

test('derive gets messages with files, and files that lapsed', () => {
  const attributes = source('shared/dynamo/src/item/attachments.rs');
  assert.match(attributes, /const FILES: &str = "f";/);
  assert.match(source('shared/dynamo/src/keys.rs'), /const FILE: &str = "f#";/);
  const withFiles = { s: { S: 'ada' }, f: { S: ULID } };
  for (const event of WRITES) {
    assert.ok(passes('Derive', record(event, ULID, withFiles)), event);
    assert.ok(passes('Derive', record(event, ULID, { ...withFiles, k: { S: 'deleted' } })), event);
    assert.ok(!passes('Derive', record(event, `f#${ULID}`, { f: { S: 'x' } })), event);
  }
  assert.ok(passes('Derive', record('REMOVE', `f#${ULID}`)));
  assert.ok(!passes('Derive', record('REMOVE', ULID)));
});

test('a mapping has filters as the platform takes them', () => {
  for (const reader of ['Relay', 'Derive']) {
    const { Filters } = mappingOf(reader).FilterCriteria;
    assert.ok(Filters.length >= 1 && Filters.length <= 5, reader);
    for (const { Pattern } of Filters) {
      assert.ok(Pattern.length <= 4096, reader);
      assert.deepEqual(Object.keys(JSON.parse(Pattern)), ['dynamodb'], 'the platform filters by nothing else');
    }
  }
});

test('functions under cargo lambda watch are fed what the mappings pass on', () => {
  // KEY=PREFIX,…[:ATTRIBUTE], or [:-] for removed rows, as localstack/stream.py takes it.
  const argument = ({ dynamodb: { Keys, NewImage = {} } }) => {
    const [[key, { S }]] = Object.entries(Keys);
    // Every row that was written has its keys.
    const isRemoved = NewImage.channel_id?.S[0].exists === false;
    const attributes = isRemoved ? ['-'] : Object.keys(NewImage).filter((name) => name !== 'channel_id');
    return `${key}=${S.map(({ prefix }) => prefix)}${attributes.map((name) => `:${name}`).join('')}`;
  };
  for (const [reader, name] of [['Relay', 'relay'], ['Derive', 'derive']]) {
    const filters = filtersOf(reader).map(argument).join(' ');
    // Long commands go on in a next line.
    const unwrapped = (file) => source(file).replace(/ \\\n +/g, ' ');
    assert.ok(unwrapped('tests/cloud').includes(`\n  feed ${name} ${filters}\n`), `feed ${name} ${filters}`);
    const page = unwrapped('localstack/README.md');
    assert.ok(page.includes(`/${name}/invocations ${filters}\n`), `${name}/invocations ${filters}`);
  }
});

test('archive is started every minute, and nothing repeats a start that failed', () => {
  const [[id, { Properties: rule }], ...more] = resourcesOf(template, 'AWS::Events::Rule').filter(
    ([, { Properties }]) => Properties.ScheduleExpression,
  );
  assert.deepEqual(more, []);
  assert.equal(rule.ScheduleExpression, 'rate(1 minute)');
  assert.equal(rule.State, 'ENABLED');
  const [target, ...others] = rule.Targets;
  assert.deepEqual(others, []);
  assert.match(textOf(target.Arn), /^\$\{Functionarchive/);
  // The next minute starts it anyway, and an event has nothing in it that could be lost.
  const once = { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 };
  assert.deepEqual(target.RetryPolicy, once);
  assert.equal(target.DeadLetterConfig, undefined);
  const { FunctionName, Qualifier, ...how } = resourceOf(
    template,
    'AWS::Lambda::EventInvokeConfig',
    'Functionarchive',
  ).Properties;
  assert.match(textOf(FunctionName), /^\$\{Functionarchive/);
  assert.equal(Qualifier, '$LATEST');
  assert.deepEqual(how, once);
  const allowed = resourcesOf(template, 'AWS::Lambda::Permission').filter(([, { Properties }]) =>
    textOf(Properties.FunctionName).includes('Functionarchive'),
  );
  assert.deepEqual(
    allowed.map(([, { Properties }]) => [Properties.Principal, textOf(Properties.SourceArn)]),
    [['events.amazonaws.com', `\${${id}.Arn}`]],
  );
});

test('a run of archive has time to end, and the next one has begun by then', () => {
  const { Timeout, MemorySize, ReservedConcurrentExecutions } = functionOf('archive');
  const limits = source('shared/model/src/limits/deliver_first.rs');
  const [, run_s] = limits.match(/ARCHIVE_RUN: Duration = Duration::from_secs\((\d+)\)/);
  assert.ok(Number(run_s) >= 65 && Number(run_s) < 90, 'the next one is started after a minute');
  assert.ok(Timeout >= Number(run_s) + 30, `${Timeout}`);
  assert.equal(ReservedConcurrentExecutions, undefined, 'runs may overlap');
  // It is paid for by the second while it is used: as little as there is.
  assert.deepEqual(MemorySize, { Ref: 'ArchiveMemory' });
  assert.equal(template.Parameters.ArchiveMemory.Default, 128);
});

test('no node delivers first before somebody stores', () => {
  const { DependsOn } = resourceOf(template, 'AWS::ECS::Service', 'Nodes');
  const [[rule]] = resourcesOf(template, 'AWS::Events::Rule').filter(
    ([, { Properties }]) => Properties.ScheduleExpression,
  );
  const [[archive]] = resourcesOf(template, 'AWS::Lambda::Function').filter(([id]) =>
    id.startsWith('Functionarchive'),
  );
  for (const id of [rule, archive]) assert.ok(DependsOn.includes(id), `${id}: ${DependsOn}`);
});

test('archive runs under cargo lambda watch, too', () => {
  assert.match(source('tests/cloud'), /^ {2}every 1 archive$/m);
  assert.match(source('localstack/README.md'), /schedule\.py \$functions\/archive\/invocations 1$/m);
});

test('functions that store rows are deployed after the filters that pass those rows on', () => {
  const mappings = resourcesOf(template, 'AWS::Lambda::EventSourceMapping').map(([id]) => id);
  for (const name of ['send', 'amend', 'archive']) {
    const { DependsOn = [] } = resourceOf(template, 'AWS::Lambda::Function', `Function${name}`);
    for (const mapping of mappings) assert.ok(DependsOn.includes(mapping), `${name}: ${mapping}`);
  }
});

const routes = resourcesOf(template, 'AWS::ApiGatewayV2::Route').map(
  ([, { Properties }]) => Properties.RouteKey,
);

test('no route takes any method: a browser\'s OPTIONS must not reach a function of ours', () => {
  assert.ok(routes.includes('$default'));
  assert.ok(routes.includes('OPTIONS /{proxy+}'));
  for (const route of routes) assert.doesNotMatch(route, /^ANY/);
});

/** The protocol's calls, `METHOD /path`, and which function serves each one, by the source. */
function servedRoutes() {
  const text = ['routes.rs', 'routes/files.rs'].map((file) => source(`shared/protocol/src/${file}`)).join('\n');
  const bodies = Object.fromEntries(
    [...text.matchAll(/pub enum (\w+) \{\n(.*?)\n\}/gs)].map(([, name, body]) => [name, body]),
  );
  return [...text.matchAll(/Self::(\w+)(?:\(_\))? => Function::(\w+)/g)].flatMap(([, variant, name]) => {
    // A function with several calls has an enum of its own; one with one call is a variant of `Route`.
    const own = bodies[`${variant}Route`] ?? bodies.Route.match(new RegExp(`.*\n {4}${variant},`))[0];
    const calls = [...own.matchAll(/\/\/\/ `([A-Z]+ \/\S*)`/g)];
    return calls.map(([, call]) => ({ call, name: name.toLowerCase() }));
  });
}

/** The route that the API chooses for a call: the call itself, or else the longest beginning of it. */
function chosen(call) {
  if (routes.includes(call)) return call;
  const greedy = '{proxy+}';
  const fits = routes.filter((route) => route.endsWith(greedy) && call.startsWith(route.slice(0, -greedy.length)));
  return fits.sort((a, b) => b.length - a.length)[0];
}

/** The function behind a route. */
function behind(routeKey) {
  const [[, { Properties }]] = resourcesOf(template, 'AWS::ApiGatewayV2::Route').filter(
    ([, route]) => route.Properties.RouteKey === routeKey,
  );
  const [, id] = textOf(Properties.Target).match(/\$\{(\w+)\}/);
  const [, name] = textOf(template.Resources[id].Properties.IntegrationUri).match(/\$\{Function([a-z]+)/);
  return name;
}

test('routes are those of the protocol, each to the function that serves it', () => {
  const served = servedRoutes();
  assert.ok(served.length >= 17 && served.some(({ name }) => name === 'amend'), JSON.stringify(served));
  const used = served.map(({ call, name }) => {
    const route = chosen(call);
    assert.ok(route, `${call} has no route`);
    assert.equal(behind(route), name, `${call} by ${route}`);
    return route;
  });
  const ours = routes.filter((route) => route !== '$default' && !route.startsWith('OPTIONS'));
  assert.deepEqual(new Set(used), new Set(ours));
});

test('cargo lambda watch hands each of the protocol\'s calls to the function that serves it', () => {
  const [, table] = source('Cargo.toml').match(/\[workspace\.metadata\.lambda\.watch\.router\]\n(.*?)\n(\n|$)/s);
  const patterns = [...table.matchAll(/^"(.*)" = "(\w+)"$/gm)].map(([, path, name]) => ({ path, name }));
  /** Segments as the router ranks them: its own word before any word, and that before all the rest. */
  const rank = (path) => path.split('/').map((part) => (part.startsWith('{*') ? 2 : part.startsWith('{') ? 1 : 0));
  const fits = (path, call) =>
    new RegExp(`^${path.replace(/\{\*\w+\}/, '.+').replace(/\{\w+\}/g, '[^/]+')}$`).test(call);
  for (const { call, name } of servedRoutes()) {
    const path = call.split(' ')[1].replace(/\{(\w+)\}/g, '$1');
    const found = patterns.filter((pattern) => fits(pattern.path, path));
    found.sort((a, b) => (rank(a.path).join() < rank(b.path).join() ? -1 : 1));
    assert.equal(found[0]?.name, name, call);
  }
});

test('browsers may use every method of the protocol', () => {
  const { Properties } = resourceOf(template, 'AWS::ApiGatewayV2::Api', 'Api');
  const methods = new Set(servedRoutes().map(({ call }) => call.split(' ')[0]));
  assert.deepEqual(new Set(Properties.CorsConfiguration.AllowMethods), methods);
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

test('the collector is somebody else\'s: it has no rights either, and a deployer pins it', () => {
  const collector = containerOf('collector');
  assert.equal(collector.User, COLLECTOR_USER);
  assert.equal(collector.ReadonlyRootFilesystem, true);
  assert.deepEqual(collector.LinuxParameters.Capabilities, { Drop: ['ALL'] });
  assert.equal(collector.Secrets, undefined);
  assert.deepEqual(collector.Image, { Ref: 'CollectorImage' });
  const { Default, AllowedPattern } = template.Parameters.CollectorImage;
  const digest = `@sha256:${'0a'.repeat(32)}`;
  for (const image of [Default, Default + digest, Default.replace(/:[^:]*$/, digest)]) {
    assert.match(image, new RegExp(AllowedPattern));
  }
  assert.doesNotMatch(`${Default}@sha256:0a`, new RegExp(AllowedPattern));
});

test('certificate and key come from one secret, which the deployment names', () => {
  const fromOf = (name) => textOf(containerOf('node').Secrets.find(({ Name }) => Name === name).ValueFrom);
  assert.equal(fromOf('INKWIRE_NODE_TLS_CERTIFICATE'), '${NodesCertificate}:certificate::');
  assert.equal(fromOf('INKWIRE_NODE_TLS_KEY'), '${NodesCertificate}:key::');
  const { Default, AllowedPattern } = template.Parameters.NodesCertificate;
  assert.equal(Default, undefined);
  const arn = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:nodes-certificate';
  assert.match(`${arn}-a1B2c3`, new RegExp(AllowedPattern));
  // Without its random ending it is only a name, and the permission would need a wildcard.
  assert.doesNotMatch(arn.slice(0, -12), new RegExp(AllowedPattern));
});

test('a node is known by the name of its task, and asked by itself how it is', () => {
  const { Environment, HealthCheck } = containerOf('node');
  const url = textOf(Environment.find(({ Name }) => Name === 'INKWIRE_NODE_URL').Value);
  const [, taskId] = source('shared/service/src/config.rs').match(/TASK_ID: &str = "(.*)"/);
  assert.equal(url, `wss://${taskId}.nodes.\${Domain}:${SOCKET_PORT}/socket`);
  assert.deepEqual(HealthCheck.Command, ['CMD', '/inkwire-node', '--health']);
  assert.match(source('wss-fleet/node/src/main.rs'), /"--health"/);
  const [, entry] = source('infra/node.Dockerfile').match(/^ENTRYPOINT \["(.*)"\]$/m);
  assert.equal(entry, HealthCheck.Command[1]);
  // ECS must not end a node before the node gives up waiting for its name.
  const limits = source('shared/model/src/limits.rs');
  const [, wait_s] = limits.match(/NAME_WAIT_MAX: Duration = Duration::from_secs\((\d+)\)/);
  assert.ok(HealthCheck.StartPeriod >= Number(wait_s));
});

test('no task starts before somebody listens who names it', () => {
  const [[rule, { Properties }]] = resourcesOf(template, 'AWS::Events::Rule').filter(([id]) =>
    id.startsWith('TaskChanges'),
  );
  // They include the states before it runs: negative caching is shortened before the first query.
  assert.deepEqual(Properties.EventPattern.detail.lastStatus, STATES);
  const { DependsOn } = resourceOf(template, 'AWS::ECS::Service', 'Nodes');
  const allowed = resourcesOf(template, 'AWS::Lambda::Permission')
    .filter(([, permission]) => textOf(permission.Properties.SourceArn).includes(rule))
    .map(([id]) => id);
  assert.equal(allowed.length, 1);
  for (const id of [rule, ...allowed]) assert.ok(DependsOn.includes(id), `${id}: ${DependsOn}`);
});

test('a rolling deployment starts new nodes before it ends old ones, and takes itself back', () => {
  const { Properties } = resourceOf(template, 'AWS::ECS::Service', 'Nodes');
  const { MinimumHealthyPercent, MaximumPercent, DeploymentCircuitBreaker } =
    Properties.DeploymentConfiguration;
  assert.equal(MinimumHealthyPercent, 100);
  assert.ok(MaximumPercent > 100);
  assert.deepEqual(DeploymentCircuitBreaker, { Enable: true, Rollback: true });
  // With a count in the template, a deployment would end nodes that scaling has added.
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
