// DNS names of nodes: a hosted zone, and a helper that keeps an address record for each running
// task (ADR 0014).
import { CfnCondition, CfnOutput, Fn } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as route53 from 'aws-cdk-lib/aws-route53';
import { STATES } from '../helpers/names/index.mjs';
import { helperOf } from './helpers.mjs';
import { queueOf } from './stream.mjs';

/** `nodes.<Domain>`, the parent domain of all nodes' names. */
export const zoneNameOf = (parameters) => `nodes.${parameters.Domain.valueAsString}`;

export function namesOf(stack, { settings, parameters, cluster }) {
  const zoneName = zoneNameOf(parameters);
  const zone = new route53.CfnHostedZone(stack, 'NodesZone', {
    name: zoneName,
    hostedZoneConfig: { comment: 'Inkwire nodes: one name a running task' },
  });
  delegation(stack, parameters, zoneName, zone);
  const helper = helperOf(stack, 'names', {
    settings,
    parameters,
    handler: 'main.handler',
    environment: { ZONE_ID: zone.attrId, ZONE_NAME: zoneName },
    statements: statementsOf(stack, zone),
  });
  const queue = queueOf(stack, 'NamesFailures', `${settings.prefix}names-failures`);
  const rule = new events.Rule(stack, 'TaskChanges', {
    description: 'Inkwire: nodes that start and stop',
    eventPattern: {
      source: ['aws.ecs'],
      detailType: ['ECS Task State Change'],
      detail: {
        clusterArn: [cluster.clusterArn],
        group: [`service:${settings.prefix}nodes`],
        lastStatus: STATES,
      },
    },
    targets: [new targets.LambdaFunction(helper, { deadLetterQueue: queue, retryAttempts: 24 })],
  });
  return { zone, helper, queue, rule };
}

function delegation(stack, parameters, zoneName, zone) {
  const isGiven = new CfnCondition(stack, 'HasParentZone', {
    expression: Fn.conditionNot(Fn.conditionEquals(parameters.ParentZoneId.valueAsString, '')),
  });
  const record = new route53.CfnRecordSet(stack, 'Delegation', {
    hostedZoneId: parameters.ParentZoneId.valueAsString,
    name: zoneName,
    type: 'NS',
    ttl: '3600',
    resourceRecords: zone.attrNameServers,
  });
  record.cfnOptions.condition = isGiven;
  new CfnOutput(stack, 'NodesNameServers', {
    description: 'Where nodes.<Domain> is to be delegated to',
    value: Fn.join(' ', zone.attrNameServers),
  });
}

function statementsOf(stack, zone) {
  const zoneArn = `arn:${stack.partition}:route53:::hostedzone/${zone.attrId}`;
  return [
    new iam.PolicyStatement({
      sid: 'Addresses',
      actions: ['route53:ChangeResourceRecordSets'],
      resources: [zoneArn],
      conditions: {
        'ForAllValues:StringEquals': {
          // SOA: it sets how long resolvers remember that a name is absent.
          'route53:ChangeResourceRecordSetsRecordTypes': ['A', 'SOA'],
          'route53:ChangeResourceRecordSetsActions': ['UPSERT', 'DELETE'],
        },
      },
    }),
    new iam.PolicyStatement({
      sid: 'Records',
      actions: ['route53:ListResourceRecordSets'],
      resources: [zoneArn],
    }),
    new iam.PolicyStatement({
      sid: 'Interfaces',
      actions: ['ec2:DescribeNetworkInterfaces'],
      resources: ['*'],
    }),
  ];
}
