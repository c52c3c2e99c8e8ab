// The bus: one shard of ElastiCache for Valkey with a replica in the other zone. It holds nothing
// that cannot be rebuilt, so there are no snapshots, and it may be replaced.
import { Fn, SecretValue } from 'aws-cdk-lib';
import * as elasticache from 'aws-cdk-lib/aws-elasticache';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { CACHE_PORT } from './network.mjs';
import { generated } from './secrets.mjs';

export function redisOf(stack, { settings, parameters, network, alarms }) {
  const token = generated(stack, 'CacheToken', 'AUTH token of the cache');
  const subnets = new elasticache.CfnSubnetGroup(stack, 'CacheSubnets', {
    description: 'Inkwire cache: subnets without a way out',
    subnetIds: network.vpc.isolatedSubnets.map((subnet) => subnet.subnetId),
  });
  const group = new elasticache.CfnReplicationGroup(stack, 'Cache', {
    replicationGroupDescription: 'Inkwire: streams, topics, leases',
    engine: 'valkey',
    engineVersion: '8.0',
    cacheNodeType: parameters.CacheNodeType.valueAsString,
    // One shard: a workspace's keys share a slot, and the programs speak to one primary.
    numNodeGroups: 1,
    replicasPerNodeGroup: parameters.CacheReplicas.valueAsNumber,
    automaticFailoverEnabled: true,
    multiAzEnabled: true,
    transitEncryptionEnabled: true,
    transitEncryptionMode: 'required',
    atRestEncryptionEnabled: true,
    authToken: token.secretValue.unsafeUnwrap(),
    port: CACHE_PORT,
    cacheSubnetGroupName: subnets.ref,
    securityGroupIds: [network.cacheGroup.attrGroupId],
    notificationTopicArn: alarms.topicArn,
    snapshotRetentionLimit: 0,
    autoMinorVersionUpgrade: true,
  });
  return {
    group,
    url: urlOf(stack, settings, token, group),
    replicas: parameters.CacheReplicas.valueAsString,
  };
}

/**
 * The whole URL as a secret: a task is given a secret as it is, and cannot put a URL together. Its
 * password has letters and digits only, so that nothing in it needs to be escaped.
 */
function urlOf(stack, settings, token, group) {
  const place = [group.attrPrimaryEndPointAddress, ':', group.attrPrimaryEndPointPort];
  const url = settings.has('cacheTls')
    ? ['rediss://:', token.secretValue.unsafeUnwrap(), '@', ...place]
    : ['redis://', ...place];
  return new secretsmanager.Secret(stack, 'CacheUrl', {
    description: 'Inkwire: URL of the cache, token included',
    secretStringValue: SecretValue.unsafePlainText(Fn.join('', url)),
  });
}
