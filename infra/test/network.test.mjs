// Which parts can be reached from where.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CACHE_PORT, SOCKET_PORT } from '../lib/network.mjs';
import { resourceOf, resourcesOf, templateOf, textOf } from './synthesis.mjs';

const template = templateOf();
const groupOf = (name) => resourceOf(template, 'AWS::EC2::SecurityGroup', name).Properties;
const isWorld = ({ CidrIp, CidrIpv6 }) => CidrIp === '0.0.0.0/0' || CidrIpv6 === '::/0';

test('the world reaches the port for sockets and nothing else', () => {
  const open = resourcesOf(template, 'AWS::EC2::SecurityGroup').flatMap(([id, { Properties }]) =>
    (Properties.SecurityGroupIngress ?? []).filter(isWorld).map((rule) => ({ id, ...rule })),
  );
  assert.equal(open.length, 1);
  assert.equal(open[0].id, 'NodesGroup');
  const { IpProtocol, FromPort, ToPort } = open[0];
  assert.deepEqual([IpProtocol, FromPort, ToPort], ['tcp', SOCKET_PORT, SOCKET_PORT]);
  assert.deepEqual(resourcesOf(template, 'AWS::EC2::SecurityGroupIngress'), []);
  for (const [id, { Properties }] of resourcesOf(template, 'AWS::ECS::TaskDefinition')) {
    const ports = Properties.ContainerDefinitions.flatMap((one) => one.PortMappings ?? []);
    assert.deepEqual(ports.map((one) => one.ContainerPort), [SOCKET_PORT], id);
  }
});

test('the cache is reached by functions and nodes, on its port', () => {
  const rules = groupOf('CacheGroup').SecurityGroupIngress;
  const sources = rules.map((rule) => textOf(rule.SourceSecurityGroupId));
  assert.deepEqual(sources, ['${FunctionsGroup.GroupId}', '${NodesGroup.GroupId}']);
  for (const rule of rules) {
    assert.equal(rule.CidrIp, undefined);
    assert.deepEqual([rule.FromPort, rule.ToPort], [CACHE_PORT, CACHE_PORT]);
  }
});

/** Subnets whose route table leads to the internet. */
function publicSubnets() {
  const open = resourcesOf(template, 'AWS::EC2::Route')
    .filter(([, { Properties }]) => Properties.GatewayId ?? Properties.NatGatewayId)
    .map(([, { Properties }]) => textOf(Properties.RouteTableId));
  return resourcesOf(template, 'AWS::EC2::SubnetRouteTableAssociation')
    .filter(([, { Properties }]) => open.includes(textOf(Properties.RouteTableId)))
    .map(([, { Properties }]) => textOf(Properties.SubnetId));
}

test('cache and functions are in subnets without a way out, nodes in the others', () => {
  const open = publicSubnets();
  assert.equal(open.length, 2);
  const { Properties: subnets } = resourceOf(template, 'AWS::ElastiCache::SubnetGroup', 'CacheSubnets');
  assert.equal(subnets.SubnetIds.length, 2);
  const inside = [
    subnets.SubnetIds,
    ...['send', 'scroll', 'membership', 'amend', 'files', 'connect', 'archive', 'relay', 'derive'].map(
      (name) =>
        resourceOf(template, 'AWS::Lambda::Function', `Function${name}`).Properties.VpcConfig
          .SubnetIds,
    ),
  ].flat();
  for (const subnet of inside) assert.ok(!open.includes(textOf(subnet)), textOf(subnet));
  const { Properties: service } = resourceOf(template, 'AWS::ECS::Service', 'Nodes');
  const { Subnets, AssignPublicIp } = service.NetworkConfiguration.AwsvpcConfiguration;
  assert.deepEqual(Subnets.map(textOf), open);
  assert.equal(AssignPublicIp, 'ENABLED');
});

test('there is no NAT, and no balancer before the nodes', () => {
  const types = new Set(Object.values(template.Resources).map(({ Type }) => Type));
  for (const type of types) assert.doesNotMatch(type, /NatGateway|ElasticLoadBalancing/);
});

test('functions inside reach the files through an endpoint that nodes do not use', () => {
  const { Properties } = resourceOf(template, 'AWS::EC2::VPCEndpoint', 'VpcFile');
  assert.equal(Properties.VpcEndpointType, 'Gateway');
  assert.match(textOf(Properties.ServiceName), /\.s3$/);
  const tables = Properties.RouteTableIds.map(textOf);
  assert.equal(tables.length, 2);
  for (const table of tables) assert.match(table, /VpcinsideSubnet/);
});

test('functions inside reach the tables through the gateway endpoint', () => {
  const { Properties } = resourceOf(template, 'AWS::EC2::VPCEndpoint', 'VpcTable');
  assert.equal(Properties.VpcEndpointType, 'Gateway');
  assert.match(textOf(Properties.ServiceName), /\.dynamodb$/);
  assert.equal(Properties.RouteTableIds.length, 4);
});
