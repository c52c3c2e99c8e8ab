// The helpers' behaviour, without AWS.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { change, handlerOf, networkOf, STATES, zoneOf } from '../helpers/names/index.mjs';
import { handler as preflight } from '../helpers/preflight/index.mjs';

const event = (lastStatus, networkInterface = 'eni-1') => ({
  detail: {
    taskArn: 'arn:aws:ecs:eu-west-1:1:task/inkwire/0a1b',
    lastStatus,
    attachments: [
      { type: 'eni', details: [{ name: 'networkInterfaceId', value: networkInterface }] },
    ],
  },
});

/** A fake zone and network that record their calls. */
function world({ address = '203.0.113.7', known = [] } = {}) {
  const records = new Map(known);
  const said = [];
  const handle = handlerOf({
    domain: 'nodes.example.com',
    zone: {
      put: async (name, at) => records.set(name, at),
      remove: async (name) => records.delete(name),
      forgetSoon: async () => said.push('forgets') === 1,
    },
    network: { publicAddress: async () => address },
    log: (line) => said.push(line),
  });
  return { records, said, handle };
}

test('a running task gets a name of its own, a stopped one loses it', async () => {
  const { records, handle } = world();
  await handle(event('RUNNING'));
  assert.deepEqual([...records], [['0a1b.nodes.example.com', '203.0.113.7']]);
  await handle(event('STOPPED'));
  assert.equal(records.size, 0);
});

test('events that come again change nothing', async () => {
  const { records, said, handle } = world();
  for (const status of ['RUNNING', 'RUNNING', 'STOPPED', 'STOPPED']) await handle(event(status));
  assert.equal(records.size, 0);
  assert.deepEqual(said.map((line) => line.found), [undefined, undefined, true, false]);
});

test('a task that has ended before its start is reported gets no name', async () => {
  const { records, handle } = world({ address: null });
  await handle(event('RUNNING'));
  assert.equal(records.size, 0);
});

test('before a task runs, the zone is made to forget soon what it has not, and no name is written', async () => {
  const { records, said, handle } = world();
  await handle(event('PROVISIONING'));
  assert.deepEqual(said, ['forgets', { awaited: '0a1b.nodes.example.com', changed: true }]);
  await handle(event('PENDING'));
  assert.equal(said[3].changed, false);
  assert.equal(records.size, 0);
});

test('states on the way down ask for nothing, all others are let through', () => {
  for (const status of ['ACTIVATING', 'DEACTIVATING', 'STOPPING', 'DEPROVISIONING']) {
    assert.deepEqual(change(event(status), 'd'), {});
  }
  for (const status of STATES) assert.notDeepEqual(change(event(status), 'd'), {}, status);
  assert.deepEqual(change({ detail: { taskArn: 'a/b', lastStatus: 'RUNNING' } }, 'd'), {});
});

/** A fake SDK client that answers by the command's name and records what was sent. */
function sdk(answers) {
  const sent = [];
  const client = {
    send: async ({ name, input }) => {
      sent.push([name, input]);
      return answers[name](input);
    },
  };
  const commands = Object.fromEntries(
    Object.keys(answers).map((name) => [
      `${name}Command`,
      function Command(input) {
        Object.assign(this, { name, input });
      },
    ]),
  );
  return { client, commands, sent };
}

test('a record is deleted as it stands, and only under its own name', async () => {
  const address = { TTL: 60, ResourceRecords: [{ Value: '203.0.113.7' }] };
  const own = { Name: 'a.nodes.example.com.', Type: 'A', ...address };
  const { client, commands, sent } = sdk({
    ListResourceRecordSets: () => ({ ResourceRecordSets: [own] }),
    ChangeResourceRecordSets: () => ({}),
  });
  const zone = zoneOf(client, commands, 'Z1');
  assert.equal(await zone.remove('a.nodes.example.com'), true);
  assert.deepEqual(sent[1][1].ChangeBatch.Changes, [{ Action: 'DELETE', ResourceRecordSet: own }]);
  // A listing starts at the name and continues with later ones.
  assert.equal(await zone.remove('0.nodes.example.com'), false);
  assert.equal(sent.length, 3);
});

/** A zone as Route 53 creates it, and the calls that it received. */
function fresh() {
  const value = (last) => [{ Value: `ns-1.example. hostmaster.example. 1 7200 900 1209600 ${last}` }];
  let soa = { Name: 'nodes.example.com.', Type: 'SOA', TTL: 900, ResourceRecords: value(86400) };
  const { client, commands, sent } = sdk({
    ListResourceRecordSets: () => ({ ResourceRecordSets: [soa] }),
    ChangeResourceRecordSets: ({ ChangeBatch: { Changes: [{ ResourceRecordSet: set }] } }) => {
      if (set.Type === 'SOA') soa = set;
    },
  });
  const zone = () => zoneOf(client, commands, 'Z1', 'nodes.example.com');
  return {
    zone,
    sent,
    names: () => sent.map(([name]) => name),
    lowered: () => assert.deepEqual([soa.TTL, soa.ResourceRecords], [30, value(30)]),
  };
}

test('a zone is made to forget soon before the first name is in it, once', async () => {
  const { zone, names, lowered } = fresh();
  const first = zone();
  assert.equal(await first.forgetSoon(), true);
  lowered();
  assert.deepEqual(names(), ['ListResourceRecordSets', 'ChangeResourceRecordSets']);
  assert.equal(await first.forgetSoon(), false);
  assert.equal(names().length, 2, 'it is looked at once');
  assert.equal(await zone().forgetSoon(), false, 'another environment finds it so');
  assert.equal(names().length, 3);
  await first.put('a.nodes.example.com', '203.0.113.7');
  assert.equal(names().length, 4);
});

test('a name that is not there yet is not remembered as absent for long', async () => {
  const { zone: make, sent, names, lowered } = fresh();
  const zone = make();
  await zone.put('a.nodes.example.com', '203.0.113.7');
  lowered();
  assert.deepEqual(names(), ['ListResourceRecordSets', 'ChangeResourceRecordSets', 'ChangeResourceRecordSets']);
  await zone.put('b.nodes.example.com', '203.0.113.8');
  assert.equal(sent.length, 4, 'it is looked at once');
  sent.length = 0;
  const again = make();
  await again.put('c.nodes.example.com', '203.0.113.9');
  assert.deepEqual(names(), ['ListResourceRecordSets', 'ChangeResourceRecordSets']);
});

test('an interface that is gone has no address; another failure is one', async () => {
  const failing = (name) =>
    sdk({
      DescribeNetworkInterfaces: () => {
        throw Object.assign(new Error(name), { name });
      },
    });
  const gone = failing('InvalidNetworkInterfaceID.NotFound');
  assert.equal(await networkOf(gone.client, gone.commands).publicAddress('eni-1'), undefined);
  const refused = failing('UnauthorizedOperation');
  await assert.rejects(networkOf(refused.client, refused.commands).publicAddress('eni-1'));
});

test('a browser\'s question is answered with yes', async () => {
  assert.deepEqual(await preflight(), { statusCode: 204 });
});
