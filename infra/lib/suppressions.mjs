// Findings of cdk-nag that we accept, each with its reason. Any other finding is an error.
import { NagSuppressions } from 'cdk-nag';
import { FILES } from './access.mjs';

/**
 * All permissions without a specific resource, because their calls accept none. The checks compare
 * this list with the template.
 */
export const WILDCARDS = [
  {
    actions: [
      'ec2:AssignPrivateIpAddresses',
      'ec2:CreateNetworkInterface',
      'ec2:DeleteNetworkInterface',
      'ec2:DescribeNetworkInterfaces',
      'ec2:DescribeSubnets',
      'ec2:UnassignPrivateIpAddresses',
    ],
    reason:
      'Lambda puts a function into a network in its role\'s name and takes no narrower resource; ' +
      'a second statement denies the same calls to the function\'s own code',
  },
  {
    actions: ['ec2:DescribeNetworkInterfaces'],
    reason: 'EC2 describes all interfaces or none: the call takes no resource',
  },
  {
    actions: ['dynamodb:ListStreams'],
    reason:
      'The event source mapping lists a table\'s streams, which are one resource: table/…/stream/*',
  },
  {
    actions: ['ecr:GetAuthorizationToken'],
    reason: 'A token for the registry, not for a repository: the call takes no resource',
  },
  ...Object.values(FILES).map(({ files }) => ({
    actions: files.map((call) => `s3:${call}`),
    reason: 'All files of one bucket: a key is the id of a channel and of a file, and a role serves all of them',
  })),
];

const BY_PATH = {
  Files: [
    [
      'AwsSolutions-S1',
      'Who may get a URL is in the functions\' logs; a log of each access would need a bucket of its own',
    ],
  ],
  NodesGroup: [
    [
      'AwsSolutions-EC23',
      'The port for sockets is what nodes are for; they have no load balancer (ADR 0002)',
    ],
  ],
  Api: [
    [
      'AwsSolutions-APIG4',
      'Functions verify tokens themselves, so that a refusal has the protocol\'s form; no route is without',
    ],
  ],
  Task: [
    [
      'AwsSolutions-ECS2',
      'Variables hold no secret; those come from Secrets Manager. The template is the configuration',
    ],
  ],
};

const ROTATION =
  'Replaced by hand, newest first, without an outage (README, "Secrets"): functions read secrets at ' +
  'deployment, so a rotation that the platform does alone would lock callers out';
const LAST = 'It is where failures end up: an alarm looks at its depth, a person at its content';

/** Adds the reasons to the stack. */
export function suppress(stack) {
  for (const [path, rules] of Object.entries(BY_PATH)) add(stack, path, rules);
  for (const secret of ['TokenSecret', 'TicketSecret', 'CacheToken', 'CacheUrl']) {
    add(stack, secret, [['AwsSolutions-SMG4', ROTATION]]);
  }
  for (const queue of ['RelayFailures', 'DeriveFailures', 'NamesFailures']) {
    add(stack, queue, [['AwsSolutions-SQS3', LAST]]);
  }
  const [network, interfaces, streams, token, ofFiles] = WILDCARDS.map(({ reason }) => reason);
  for (const name of ['send', 'scroll', 'membership', 'amend', 'files', 'connect', 'archive', 'relay', 'derive']) {
    add(stack, `Role-${name}`, [['AwsSolutions-IAM5', network, ['Resource::*']]]);
  }
  for (const name of Object.keys(FILES)) {
    const all = { regex: '/^Resource::<Files\\w+\\.Arn>/\\*$/' };
    add(stack, `Role-${name}`, [['AwsSolutions-IAM5', ofFiles, [all]]]);
  }
  add(stack, 'Role-names', [['AwsSolutions-IAM5', interfaces, ['Resource::*']]]);
  add(stack, 'Role-node-start', [['AwsSolutions-IAM5', token, ['Resource::*']]]);
  for (const policy of ['RelayStream', 'DeriveStream']) {
    add(stack, policy, [['AwsSolutions-IAM5', streams]]);
  }
}

function add(stack, path, rules) {
  const suppressions = rules.map(([id, reason, appliesTo]) => ({ id, reason, appliesTo }));
  NagSuppressions.addResourceSuppressions(stack.node.findChild(path), suppressions, true);
}
