// The local variant is the same stack without the parts in its list.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOT_LOCAL } from '../lib/settings.mjs';
import { templateOf } from './synthesis.mjs';

const whole = templateOf();
const local = templateOf({ local: '1' });
const typesOf = (template) => new Set(Object.values(template.Resources).map(({ Type }) => Type));

test('what is left out is on the list, with a reason', () => {
  const gone = [...typesOf(whole)].filter((type) => !typesOf(local).has(type)).sort();
  assert.deepEqual(gone, [
    'AWS::ApplicationAutoScaling::ScalableTarget',
    'AWS::ApplicationAutoScaling::ScalingPolicy',
    'AWS::EC2::FlowLog',
  ]);
  for (const [part, reason] of Object.entries(NOT_LOCAL)) assert.ok(reason.length > 20, part);
});

test('no parameter is asked for that nobody reads', () => {
  const gone = Object.keys(whole.Parameters).filter((name) => !(name in local.Parameters));
  assert.deepEqual(gone, ['NodesCertificate', 'NodesMin', 'NodesMax', 'SocketsPerNode']);
});

test('nothing is added for it', () => {
  for (const id of Object.keys(local.Resources)) assert.ok(id in whole.Resources, id);
});

test('tables, roles, routes and functions are the same', () => {
  const kinds = /^AWS::(DynamoDB|IAM::Role$|ApiGatewayV2|Lambda::(Function|EventSourceMapping))/;
  for (const [id, resource] of Object.entries(whole.Resources)) {
    // The flow log is left out together with its role.
    if (!kinds.test(resource.Type) || id.startsWith('VpcRefused')) continue;
    assert.deepEqual(local.Resources[id], resource, id);
  }
});
