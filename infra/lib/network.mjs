// Two availability zones. Nodes are in public subnets, everything else in isolated subnets. No NAT.
//
// The rules of security groups are inline, and those towards the cache name its subnets. Groups
// that name each other would need separate rule resources, which the emulator does not support.
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { AnyPrincipal, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Aws } from 'aws-cdk-lib';
import { ALL_CALLS, FILE_CALLS } from './access.mjs';
import { logGroupOf } from './logs.mjs';

/** The port of nodes' sockets, the only one that is open to the internet. */
export const SOCKET_PORT = 8443;
/** The port of a node's metrics, on its loopback, for the collector. */
export const METRICS_PORT = 9464;
/** The cache's port. */
export const CACHE_PORT = 6379;

export function networkOf(stack, { settings, parameters, tables, files }) {
  const vpc = new ec2.Vpc(stack, 'Vpc', {
    ipAddresses: ec2.IpAddresses.cidr(settings.cidr),
    maxAzs: 2,
    natGateways: 0,
    subnetConfiguration: [
      // Only the service assigns public addresses; nothing else that starts here gets one.
      { name: 'nodes', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 20, mapPublicIpOnLaunch: false },
      { name: 'inside', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 20 },
    ],
  });
  tableEndpoint(stack, vpc, tables);
  fileEndpoint(vpc, files);
  if (settings.has('flowLogs')) {
    const group = logGroupOf(stack, 'FlowLogGroup', { parameters, name: `/${settings.stackName}/network` });
    // Only refused packets: logging the accepted ones of a busy node would cost more than the node.
    vpc.addFlowLog('Refused', {
      destination: ec2.FlowLogDestination.toCloudWatchLogs(group),
      trafficType: ec2.FlowLogTrafficType.REJECT,
    });
  }
  return { vpc, ...groupsOf(stack, vpc) };
}

/** Lets the network reach our tables, and nothing else of DynamoDB. */
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

/**
 * Lets functions reach our files, and nothing else of S3. Not nodes: their image comes from S3, too, from
 * buckets that are not ours.
 */
function fileEndpoint(vpc, files) {
  const endpoint = vpc.addGatewayEndpoint('FileEndpoint', {
    service: ec2.GatewayVpcEndpointAwsService.S3,
    subnets: [{ subnetType: ec2.SubnetType.PRIVATE_ISOLATED }],
  });
  endpoint.addToPolicy(
    new PolicyStatement({
      principals: [new AnyPrincipal()],
      actions: FILE_CALLS,
      resources: [files.bucketArn, files.arnForObjects('*')],
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
      // The subnets lead only to the endpoints of tables and files, whose addresses are not constant.
      { cidrIp: '0.0.0.0/0', ...tcp(443), description: 'tables and files, through gateway endpoints' },
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
    // The cache only answers. Without an egress rule, a group allows all outgoing traffic.
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

/** An immutable reference to a group: constructs cannot add rules to it. */
const existing = (stack, id, group) =>
  ec2.SecurityGroup.fromSecurityGroupId(stack, id, group.attrGroupId, { mutable: false });
