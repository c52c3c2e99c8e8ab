// Two zones; nodes in public subnets, everything else in subnets without a way out. No NAT.
//
// Rules between security groups stand inline, and towards the cache they name its subnets: groups
// that name each other need resources of their own, which the emulator does not know.
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { AnyPrincipal, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Aws } from 'aws-cdk-lib';
import { ALL_CALLS } from './access.mjs';
import { logGroupOf } from './logs.mjs';

/** Where nodes take sockets: the one port that is open to the world. */
export const SOCKET_PORT = 8443;
/** Where a node shows metrics: on its loopback, for the collector beside it. */
export const METRICS_PORT = 9464;
/** Where the cache listens. */
export const CACHE_PORT = 6379;

export function networkOf(stack, { settings, parameters, tables }) {
  const vpc = new ec2.Vpc(stack, 'Vpc', {
    ipAddresses: ec2.IpAddresses.cidr(settings.cidr),
    maxAzs: 2,
    natGateways: 0,
    subnetConfiguration: [
      // Addresses are given to tasks by the service, not to whatever starts here.
      { name: 'nodes', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 20, mapPublicIpOnLaunch: false },
      { name: 'inside', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 20 },
    ],
  });
  tableEndpoint(stack, vpc, tables);
  if (settings.has('flowLogs')) {
    const group = logGroupOf(stack, 'FlowLogGroup', { parameters, name: `/${settings.stackName}/network` });
    // Refused packets only: accepted ones of a busy node would cost more than the node.
    vpc.addFlowLog('Refused', {
      destination: ec2.FlowLogDestination.toCloudWatchLogs(group),
      trafficType: ec2.FlowLogTrafficType.REJECT,
    });
  }
  return { vpc, ...groupsOf(stack, vpc) };
}

/** The tables, reached from inside the network, and nothing else of that service. */
function tableEndpoint(stack, vpc, tables) {
  const endpoint = vpc.addGatewayEndpoint('TableEndpoint', {
    service: ec2.GatewayVpcEndpointAwsService.DYNAMODB,
  });
  endpoint.addToPolicy(
    new PolicyStatement({
      principals: [new AnyPrincipal()],
      actions: ALL_CALLS,
      resources: Object.values(tables).map((table) => table.tableArn),
      conditions: { StringEquals: { 'aws:PrincipalAccount': Aws.ACCOUNT_ID } },
    }),
  );
}

function groupsOf(stack, vpc) {
  const toCache = vpc.isolatedSubnets.map((subnet) => ({
    cidrIp: subnet.ipv4CidrBlock,
    ...tcp(CACHE_PORT),
    description: 'the cache',
  }));
  const functions = new ec2.CfnSecurityGroup(stack, 'FunctionsGroup', {
    groupDescription: 'Inkwire functions',
    vpcId: vpc.vpcId,
    securityGroupEgress: [
      ...toCache,
      // Their subnets have one way out, the endpoint of the tables; its addresses are no constant.
      { cidrIp: '0.0.0.0/0', ...tcp(443), description: 'the tables, through the gateway endpoint' },
    ],
  });
  const nodes = new ec2.CfnSecurityGroup(stack, 'NodesGroup', {
    groupDescription: 'Inkwire nodes',
    vpcId: vpc.vpcId,
    securityGroupIngress: [{ cidrIp: '0.0.0.0/0', ...tcp(SOCKET_PORT), description: 'sockets' }],
    securityGroupEgress: [
      ...toCache,
      { cidrIp: '0.0.0.0/0', ...tcp(443), description: 'tables, image, secrets, logs' },
    ],
  });
  const cache = new ec2.CfnSecurityGroup(stack, 'CacheGroup', {
    groupDescription: 'Inkwire cache',
    vpcId: vpc.vpcId,
    securityGroupIngress: [
      { sourceSecurityGroupId: functions.attrGroupId, ...tcp(CACHE_PORT), description: 'functions' },
      { sourceSecurityGroupId: nodes.attrGroupId, ...tcp(CACHE_PORT), description: 'nodes' },
    ],
    // It answers and never calls; without a rule of its own a group may send anything anywhere.
    securityGroupEgress: [
      { cidrIp: '127.0.0.1/32', ipProtocol: '-1', description: 'nothing' },
    ],
  });
  return {
    functionsGroup: existing(stack, 'FunctionsGroupRef', functions),
    nodesGroup: existing(stack, 'NodesGroupRef', nodes),
    cacheGroup: cache,
  };
}

const tcp = (port) => ({ ipProtocol: 'tcp', fromPort: port, toPort: port });

/** The group for constructs that would otherwise add rules to it. */
const existing = (stack, id, group) =>
  ec2.SecurityGroup.fromSecurityGroupId(stack, id, group.attrGroupId, { mutable: false });
