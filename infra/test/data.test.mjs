// Everything that stores data: tables, cache, queues, logs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TABLES } from '../lib/settings.mjs';
import { resourceOf, resourcesOf, source, templateOf, textOf } from './synthesis.mjs';

const template = templateOf();
const tables = (of) => resourcesOf(of, 'AWS::DynamoDB::Table').map(([, table]) => table);

test('the tables are those of tables.json, no more and no less', () => {
  const made = tables(template).map(({ Properties: table }) => {
    const typeOf = (name) =>
      table.AttributeDefinitions.find((one) => one.AttributeName === name).AttributeType;
    const keys = table.KeySchema.map((key) => ({ name: key.AttributeName, type: typeOf(key.AttributeName) }));
    return {
      name: table.TableName,
      partition_key: keys[0],
      ...(keys[1] && { sort_key: keys[1] }),
      billing: table.BillingMode,
      point_in_time_recovery: table.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled,
      ...(table.StreamSpecification && { stream: table.StreamSpecification.StreamViewType }),
      ...(table.TimeToLiveSpecification && {
        ttl_attribute: table.TimeToLiveSpecification.AttributeName,
      }),
    };
  });
  const expected = TABLES.tables.map((shape) => ({ ...shape, name: TABLES.prefix + shape.name }));
  assert.deepEqual(made, expected);
});

test('rows that expire say when in the same attribute, which the source writes', () => {
  const [, attribute] = source('shared/dynamo/src/item.rs').match(/const EXPIRES_AT: &str = "(\w+)"/);
  const expiring = TABLES.tables.filter((shape) => shape.ttl_attribute);
  assert.deepEqual(
    expiring.map((shape) => [shape.name, shape.ttl_attribute]),
    [['messages', attribute], ['user_channels', attribute]],
  );
});

test('every table is encrypted under a key that shows in the audit log, and can be restored', () => {
  for (const { Properties } of tables(template)) {
    assert.equal(Properties.SSESpecification.SSEEnabled, true, Properties.TableName);
    assert.equal(Properties.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled, true);
  }
});

test('tables outlive the stack, unless one says otherwise', () => {
  for (const table of tables(template)) {
    assert.equal(table.DeletionPolicy, 'RetainExceptOnCreate');
    assert.equal(table.UpdateReplacePolicy, 'Retain');
  }
  for (const table of tables(templateOf({ tables: 'protect' }))) {
    assert.equal(table.Properties.DeletionProtectionEnabled, true);
    assert.equal(table.DeletionPolicy, 'RetainExceptOnCreate');
  }
  for (const table of tables(templateOf({ tables: 'destroy' }))) {
    assert.equal(table.DeletionPolicy, 'Delete');
  }
});

test('the cache is encrypted, asks for a token, and survives the loss of a zone', () => {
  const { Properties: cache } = resourceOf(template, 'AWS::ElastiCache::ReplicationGroup', 'Cache');
  assert.equal(cache.TransitEncryptionEnabled, true);
  assert.equal(cache.TransitEncryptionMode, 'required');
  assert.equal(cache.AtRestEncryptionEnabled, true);
  assert.match(textOf(cache.AuthToken), /^\{\{resolve:secretsmanager:/);
  assert.equal(cache.AutomaticFailoverEnabled, true);
  assert.equal(cache.MultiAZEnabled, true);
  assert.equal(cache.NumNodeGroups, 1);
});

test('files are private, encrypted, of this account, and outlive the stack', () => {
  const [[, bucket]] = resourcesOf(template, 'AWS::S3::Bucket');
  const { Properties } = bucket;
  assert.equal(Properties.BucketName, undefined, 'a made name: names are global');
  assert.ok(Object.values(Properties.PublicAccessBlockConfiguration).every((blocked) => blocked === true));
  assert.equal(Object.keys(Properties.PublicAccessBlockConfiguration).length, 4);
  const [{ ServerSideEncryptionByDefault }] = Properties.BucketEncryption.ServerSideEncryptionConfiguration;
  assert.equal(ServerSideEncryptionByDefault.SSEAlgorithm, 'AES256');
  assert.equal(Properties.OwnershipControls.Rules[0].ObjectOwnership, 'BucketOwnerEnforced');
  assert.equal(Properties.VersioningConfiguration, undefined, 'what is deleted is gone');
  assert.equal(bucket.DeletionPolicy, 'RetainExceptOnCreate');
  const { PolicyDocument } = resourceOf(template, 'AWS::S3::BucketPolicy', 'Files').Properties;
  assert.ok(PolicyDocument.Statement.every(({ Effect }) => Effect === 'Deny'), 'the policy only denies');
});

test('browsers of the allowed origins upload, and any page reads what it has a URL for', () => {
  const [[, { Properties }]] = resourcesOf(template, 'AWS::S3::Bucket');
  const rules = Properties.CorsConfiguration.CorsRules;
  const of = (method) => rules.filter(({ AllowedMethods }) => AllowedMethods.includes(method));
  assert.deepEqual(of('PUT').map(({ AllowedOrigins }) => AllowedOrigins), [{ Ref: 'AllowedOrigins' }]);
  assert.deepEqual(of('GET').map(({ AllowedOrigins }) => AllowedOrigins), [['*']]);
  assert.equal(rules.length, 2);
});

test('no secret is in the template', () => {
  for (const [id, { Properties }] of resourcesOf(template, 'AWS::SecretsManager::Secret')) {
    const { SecretString, GenerateSecretString } = Properties;
    if (SecretString) assert.match(textOf(SecretString), /^rediss:\/\/:\{\{resolve:secretsmanager:/, id);
    else assert.ok(GenerateSecretString.PasswordLength >= 32, id);
  }
});

test('a generated secret can stand in a list, in a URL and as a token of the cache', () => {
  for (const [id, { Properties }] of resourcesOf(template, 'AWS::SecretsManager::Secret')) {
    if (!Properties.GenerateSecretString) continue;
    const left = new Set(Properties.GenerateSecretString.ExcludeCharacters);
    const printable = Array.from({ length: 94 }, (_, at) => String.fromCharCode(33 + at));
    const used = printable.filter((one) => !left.has(one)).join('');
    assert.match(used, /^[0-9A-Za-z]{62}$/, id);
  }
});

test('every log group has an end', () => {
  const groups = resourcesOf(template, 'AWS::Logs::LogGroup');
  assert.ok(groups.length > 10);
  for (const [id, { Properties }] of groups) {
    assert.deepEqual(Properties.RetentionInDays, { Ref: 'LogRetentionDays' }, id);
  }
});

test('queues of failures are encrypted and keep what they have for 14 days', () => {
  for (const [id, { Properties }] of resourcesOf(template, 'AWS::SQS::Queue')) {
    assert.equal(Properties.SqsManagedSseEnabled, true, id);
    assert.equal(Properties.MessageRetentionPeriod, 1209600, id);
  }
});

test('the image repository keeps its versions and outlives its stack', () => {
  const repository = resourceOf(templateOf({}, 'inkwire-images'), 'AWS::ECR::Repository', 'Nodes');
  assert.equal(repository.Properties.ImageTagMutability, 'IMMUTABLE');
  assert.equal(repository.Properties.ImageScanningConfiguration.ScanOnPush, true);
  assert.equal(repository.DeletionPolicy, 'Retain');
});
