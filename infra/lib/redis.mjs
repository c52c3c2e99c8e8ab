// The bus: one shard of ElastiCache for Valkey with a replica in the other zone. All of its data
// can be rebuilt, so it has no snapshots and may be replaced.
import { ArnFormat, Fn, SecretValue, Stack } from 'aws-cdk-lib';
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
    // One shard: a workspace's keys share a slot, and the programs use one primary.
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
    token,
    /** The resource of the API call with which nodes find the group. */
    arn: Stack.of(stack).formatArn({
      service: 'elasticache',
      resource: 'replicationgroup',
      resourceName: group.ref,
      arnFormat: ArnFormat.COLON_RESOURCE_NAME,
    }),
    url: urlOf(stack, settings, token, group),
    replicas: parameters.CacheReplicas.valueAsString,
  };
}

/**
 * The cache's URL as a secret, for functions: a cold start needs no API call to find the address,
 * and their subnets could not reach that API. The password has only letters and digits, so nothing
 * in the URL needs escaping.
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
