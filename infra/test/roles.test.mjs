// Which role may do what: every permission names its resource.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACCESS, FILES, FILE_CALLS, SHAPES } from '../lib/access.mjs';
import { WILDCARDS } from '../lib/suppressions.mjs';
import { resourceOf, resourcesOf, source, templateOf, textOf } from './synthesis.mjs';

const template = templateOf();
const list = (value) => (Array.isArray(value) ? value : [value]);

/** Every statement of every role, inline or in a policy of its own. */
function statements() {
  const inline = resourcesOf(template, 'AWS::IAM::Role').flatMap(([id, { Properties }]) =>
    (Properties.Policies ?? []).map((policy) => [id, policy.PolicyDocument]),
  );
  const apart = resourcesOf(template, 'AWS::IAM::Policy').map(([, { Properties }]) => [
    Properties.Roles.map(textOf).join(),
    Properties.PolicyDocument,
  ]);
  return [...inline, ...apart].flatMap(([role, document]) =>
    list(document.Statement).map((statement) => ({ role, ...statement })),
  );
}

const tableStatements = (beginning) =>
  Object.fromEntries(
    statements()
      .filter(({ role, Sid }) => role.startsWith(beginning) && Sid?.startsWith('Table'))
      .map(({ Action, Resource }) => [textOf(Resource), list(Action)]),
  );

test('no role has a managed policy', () => {
  for (const [id, { Properties }] of resourcesOf(template, 'AWS::IAM::Role')) {
    assert.equal(Properties.ManagedPolicyArns, undefined, id);
  }
});

test('no permission has a wildcard but those that the platform takes no other way', () => {
  const listed = new Set(WILDCARDS.map(({ actions }) => actions.join()));
  const met = new Set();
  for (const { role, Effect, Action, Resource, NotAction, NotResource } of statements()) {
    assert.ok(!NotAction && !NotResource, `${role}: what is not named is not known`);
    const actions = list(Action);
    assert.ok(!actions.some((action) => action.includes('*')), `${role}: ${actions}`);
    const isWide = list(Resource).some((resource) => textOf(resource).includes('*'));
    if (Effect === 'Deny' || !isWide) continue;
    assert.ok(listed.has(actions.join()), `${role}: ${actions} on ${textOf(Resource)}`);
    met.add(actions.join());
  }
  assert.deepEqual(met, listed, 'a wildcard that is not needed is not listed');
});

test('a function may not use what the platform does with its role in the network', () => {
  for (const name of ['send', 'scroll', 'membership', 'amend', 'files', 'connect', 'archive', 'relay', 'derive']) {
    const own = statements().filter(({ role }) => role.startsWith(`Role${name}`));
    const allowed = own.find(({ Sid }) => Sid === 'Interfaces');
    const denied = own.find(({ Effect }) => Effect === 'Deny');
    assert.deepEqual(denied.Action, allowed.Action);
    const caller = textOf(denied.Condition.ArnEquals['lambda:SourceFunctionArn']);
    assert.ok(caller.endsWith(`:function:inkwire-${name}`), caller);
  }
});

test('each program has exactly the calls of its use cases, on their tables', () => {
  const tableOf = (name) => {
    const [id] = resourcesOf(template, 'AWS::DynamoDB::Table').find(
      ([, { Properties }]) => Properties.TableName === `inkwire-${name}`,
    );
    return `\${${id}.Arn}`;
  };
  for (const [program, tables] of Object.entries(ACCESS)) {
    const beginning = program === 'node' ? '${Rolenode' : `Role${program}`;
    const expected = Object.entries(tables).map(([table, calls]) => [
      tableOf(table),
      calls.map((call) => `dynamodb:${call}`),
    ]);
    assert.deepEqual(tableStatements(beginning), Object.fromEntries(expected), program);
  }
});

test('amend and scroll have the calls that pins and mentions make', () => {
  const standing = { channels: ['BatchGetItem'], memberships: ['BatchGetItem'] };
  const made = {
    // A pin: its row, the change log, the message. The list: a query, the messages.
    amend: { messages: ['BatchGetItem', 'GetItem', 'PutItem', 'Query', 'UpdateItem'], ...standing },
    // Mentions: the user's rows, the messages, and the user's standing in their channels.
    scroll: { messages: ['BatchGetItem'], user_channels: ['Query'], ...standing },
  };
  for (const [program, tables] of Object.entries(made)) {
    for (const [table, calls] of Object.entries(tables)) {
      for (const call of calls) assert.ok(ACCESS[program][table].includes(call), `${program}: ${table} ${call}`);
    }
  }
});

test('nobody scans or deletes a message, and only amend and derive change one', () => {
  for (const [program, tables] of Object.entries(ACCESS)) {
    const calls = Object.values(tables).flat();
    assert.ok(!calls.includes('Scan'), program);
    for (const call of ['UpdateItem', 'DeleteItem', 'BatchWriteItem']) {
      if (['amend', 'derive'].includes(program) && call === 'UpdateItem') continue;
      assert.ok(!(tables.messages ?? []).includes(call), `${program}: ${call}`);
    }
  }
});

test('on files, each function has exactly the calls that it makes or signs', () => {
  const [[id]] = resourcesOf(template, 'AWS::S3::Bucket');
  const onFiles = statements().filter(({ Action }) => list(Action).some((action) => action.startsWith('s3:')));
  const found = onFiles.map(({ role, Action, Resource }) => [role, textOf(Resource), list(Action)]);
  const expected = Object.entries(FILES).flatMap(([name, { files, bucket }]) => [
    [name, `\${${id}.Arn}/*`, files],
    ...(bucket.length === 0 ? [] : [[name, `\${${id}.Arn}`, bucket]]),
  ]);
  assert.equal(found.length, expected.length);
  for (const [name, resource, calls] of expected) {
    const actions = calls.map((call) => `s3:${call}`);
    const own = found.filter(([role, of]) => role.startsWith(`Role${name}`) && of === resource);
    assert.deepEqual(own.map(([, , action]) => action), [actions], name);
  }
  // `send` may not write files, and `derive` may not read them.
  assert.deepEqual(FILES.send.files, ['GetObject']);
  assert.deepEqual(FILES.derive, { files: ['DeleteObject'], bucket: [] });
});

test('the network lets through to S3 what functions call, and our bucket only', () => {
  const endpoint = resourceOf(template, 'AWS::EC2::VPCEndpoint', 'VpcFile');
  const [statement] = endpoint.Properties.PolicyDocument.Statement;
  assert.deepEqual(statement.Action, FILE_CALLS);
  for (const resource of list(statement.Resource)) assert.match(textOf(resource), /^\$\{Files\w+\.Arn\}(\/\*)?$/);
});

test('derive may read its stream, messages and members, write what is in a user\'s list, delete files, and nothing else', () => {
  const own = statements().filter(({ role }) => role.replace('${', '').startsWith('Rolederive'));
  const sids = own.map(({ Sid }) => Sid).sort();
  assert.deepEqual(sids, [
    'Failures',
    'Files',
    'Interfaces',
    'ListStreams',
    'Logs',
    'NotFromItsCode',
    'Stream',
    'TableChannels',
    'TableMemberships',
    'TableMessages',
    'TableUserChannels',
  ]);
  const callsOn = (sid) => list(own.find(({ Sid }) => Sid === sid).Action);
  assert.deepEqual(callsOn('TableChannels'), ['dynamodb:BatchGetItem']);
  assert.deepEqual(callsOn('TableMemberships'), ['dynamodb:BatchGetItem']);
  // It reads nothing in there: neither profiles nor read marks.
  assert.deepEqual(callsOn('TableUserChannels'), ['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem']);
  const resources = own.filter(({ Sid }) => /^(Stream|ListStreams|TableMessages)$/.test(Sid));
  for (const { Sid, Resource } of resources) assert.match(textOf(Resource), /Tablemessages/, Sid);
  const failures = own.find(({ Sid }) => Sid === 'Failures');
  assert.match(textOf(failures.Resource), /^\$\{DeriveFailures/);
});

test('archive may put messages, and read who must have one before nobody keeps it', () => {
  const own = statements().filter(({ role }) => role.startsWith('Rolearchive'));
  const sids = own.map(({ Sid }) => Sid).sort();
  const tables = { TableMemberships: 'Query', TableMessages: 'PutItem', TableUserChannels: 'BatchGetItem' };
  assert.deepEqual(sids, ['Interfaces', 'Logs', 'NotFromItsCode', ...Object.keys(tables)]);
  for (const [sid, call] of Object.entries(tables)) {
    const { Action, Resource } = own.find(({ Sid }) => Sid === sid);
    assert.deepEqual(list(Action), [`dynamodb:${call}`], sid);
    assert.match(textOf(Resource), new RegExp(`^\\$\\{${sid}\\w+\\.Arn\\}$`, 'i'));
  }
});

test('the calls are those that the store\'s adapter makes', () => {
  const adapter = ['call', 'messages', 'channels', 'members', 'revocations', 'store']
    .map((name) => source(`shared/dynamo/src/${name}.rs`))
    .join();
  const calls = /client\s*\.((?:put|update|delete|get|batch_get|batch_write)_item|query|scan)\(\)/g;
  const made = [...adapter.matchAll(calls)];
  const camel = (name) => name.replace(/(^|_)(.)/g, (_, __, first) => first.toUpperCase());
  const allowed = new Set(Object.values(ACCESS).flatMap((tables) => Object.values(tables).flat()));
  assert.deepEqual(new Set(made.map(([, name]) => camel(name))), allowed);
});

test('the network lets through to the tables what programs call, and our tables only', () => {
  const endpoint = resourceOf(template, 'AWS::EC2::VPCEndpoint', 'VpcTable');
  const [statement] = endpoint.Properties.PolicyDocument.Statement;
  const all = Object.values(ACCESS).flatMap((tables) => Object.values(tables).flat());
  const calls = [...all, ...SHAPES];
  assert.deepEqual(new Set(statement.Action), new Set(calls.map((call) => `dynamodb:${call}`)));
  assert.equal(statement.Resource.length, 4);
});

test('who starts a node reads the node\'s secrets and nobody else\'s', () => {
  const read = statements().filter(({ Action }) => list(Action).includes('secretsmanager:GetSecretValue'));
  const secrets = read.map(({ Resource }) => textOf(Resource)).join();
  assert.ok(read.every(({ role }) => role.startsWith('${Rolenodestart')));
  assert.match(secrets, /CacheToken/);
  assert.match(secrets, /TicketSecret/);
  // Named by its whole ARN, which the deployment provides.
  assert.match(secrets, /\$\{NodesCertificate\}(,|$)/);
  assert.doesNotMatch(secrets, /TokenSecret|CacheUrl/);
});

test('a node alone looks up its cache, and the shapes of its tables', () => {
  const own = statements().filter(({ Action }) =>
    list(Action).some((action) => /^elasticache:|^dynamodb:Describe(Table|TimeToLive)$/.test(action)),
  );
  assert.ok(own.every(({ role }) => /^\$\{Rolenode[^s]/.test(role)), own.map(({ role }) => role).join());
  const [group] = own.filter(({ Sid }) => Sid === 'CacheGroup');
  assert.deepEqual(list(group.Action), ['elasticache:DescribeReplicationGroups']);
  assert.match(textOf(group.Resource), /:elasticache:\$\{AWS::Region\}:\$\{AWS::AccountId\}:replicationgroup:\$\{Cache\}$/);
  const [shapes] = own.filter(({ Sid }) => Sid === 'Shapes');
  assert.deepEqual(list(shapes.Action), SHAPES.map((call) => `dynamodb:${call}`));
  assert.equal(list(shapes.Resource).length, 4);
});
