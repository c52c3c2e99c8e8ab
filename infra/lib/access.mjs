// Which calls the use cases of each program (shared/messaging) make on which table. IAM authorises
// the parts of a transaction, so a TransactWriteItems appears as PutItem.
//
// No program may scan or delete a message, and the programs that store new messages may not change them:
// only `amend` and `derive` change what is stored, in place. That they append no message is code:
// their puts are entries of the change log, and IAM has no condition on sort keys. For the same reason
// it is code that `derive` writes only mentions and followed threads among a user's channels. There is no condition on leading
// keys either: a partition is a channel or a user, and a role serves all of them.
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';

export const ACCESS = {
  send: {
    // Files are read in a batch, the root of a thread by a query that is not strongly consistent.
    messages: ['BatchGetItem', 'GetItem', 'PutItem', 'Query'],
    channels: ['BatchGetItem'],
    memberships: ['BatchGetItem'],
  },
  scroll: {
    messages: ['BatchGetItem', 'GetItem', 'Query'],
    channels: ['BatchGetItem'],
    memberships: ['BatchGetItem'],
    user_channels: ['Query'],
  },
  membership: {
    channels: ['BatchGetItem', 'PutItem', 'UpdateItem'],
    memberships: ['BatchGetItem', 'DeleteItem', 'Query', 'UpdateItem'],
    user_channels: ['BatchGetItem', 'DeleteItem', 'PutItem', 'Query', 'UpdateItem'],
  },
  amend: {
    messages: ['BatchGetItem', 'GetItem', 'PutItem', 'Query', 'UpdateItem'],
    channels: ['BatchGetItem'],
    memberships: ['BatchGetItem'],
    // Read marks: an update on the condition that the row exists reads nothing before. Followed threads.
    user_channels: ['UpdateItem'],
  },
  files: {
    // The row of a new file. Reading one reads the message that has it, too.
    messages: ['BatchGetItem', 'GetItem', 'PutItem'],
    channels: ['BatchGetItem'],
    memberships: ['BatchGetItem'],
  },
  connect: {
    // Revocations, and the row of the user's devices.
    user_channels: ['BatchGetItem', 'UpdateItem'],
  },
  archive: {
    // A put on the condition that there is no such row. A refusal brings the row that is there.
    messages: ['PutItem'],
    // Whose devices must have a message before nobody keeps it.
    memberships: ['Query'],
    user_channels: ['BatchGetItem'],
  },
  relay: {
    messages: ['BatchGetItem'],
    channels: ['BatchGetItem', 'UpdateItem'],
  },
  derive: {
    messages: ['GetItem', 'PutItem', 'Query', 'UpdateItem'],
    // Mentions: who of those that a message names is in its channel, and a row for each of them.
    channels: ['BatchGetItem'],
    memberships: ['BatchGetItem'],
    // Followed threads: `derive` reads whether a sender follows the thread, and writes only if not.
    user_channels: ['GetItem', 'PutItem', 'UpdateItem'],
  },
  node: {
    messages: ['BatchGetItem', 'GetItem', 'Query'],
    channels: ['BatchGetItem'],
    memberships: ['Query'],
    user_channels: ['BatchGetItem', 'Query'],
  },
};

/**
 * Which calls a program makes on files, or signs: a URL can do no more than the role that signed it. A
 * program that asks for one file must be allowed to list them: otherwise S3 does not say whether it is
 * there. Nobody reads a file's bytes but those who got a URL for it.
 */
export const FILES = {
  send: { files: ['GetObject'], bucket: ['ListBucket'] },
  files: { files: ['GetObject', 'PutObject'], bucket: ['ListBucket'] },
  derive: { files: ['DeleteObject'], bucket: [] },
};

const ofS3 = (calls) => calls.map((call) => `s3:${call}`);

/** A program's policy statements on the bucket. */
export function filesStatementsOf(program, bucket) {
  const { files = [], bucket: whole = [] } = FILES[program] ?? {};
  const statement = (sid, calls, resource) =>
    calls.length === 0 ? [] : [new PolicyStatement({ sid, actions: ofS3(calls), resources: [resource] })];
  return [
    ...statement('Files', files, bucket.arnForObjects('*')),
    ...statement('Bucket', whole, bucket.bucketArn),
  ];
}

/** Every call on files that functions themselves make. The network's endpoint of S3 allows only these. */
export const FILE_CALLS = ofS3(['DeleteObject', 'GetObject', 'ListBucket']);

/** A program's policy statements, one for each table. */
export function statementsOf(program, tables) {
  return Object.entries(ACCESS[program]).map(
    ([table, calls]) =>
      new PolicyStatement({
        sid: `Table${table.replace(/(^|_)(.)/g, (_, __, first) => first.toUpperCase())}`,
        actions: calls.map((call) => `dynamodb:${call}`),
        resources: [tables[table].tableArn],
      }),
  );
}

/**
 * Calls with which a node checks the shape of the tables, when it starts and while something is
 * wrong. They read no rows.
 */
export const SHAPES = ['DescribeTable', 'DescribeTimeToLive'];

/** A node's further statements: the shapes of tables, and the cache group that it looks up. */
export function nodeStatementsOf(tables, redis) {
  return [
    new PolicyStatement({
      sid: 'Shapes',
      actions: SHAPES.map((call) => `dynamodb:${call}`),
      resources: Object.values(tables).map((table) => table.tableArn),
    }),
    new PolicyStatement({
      sid: 'CacheGroup',
      actions: ['elasticache:DescribeReplicationGroups'],
      resources: [redis.arn],
    }),
  ];
}

/** Every call that any program makes. The network's endpoint of the tables allows only these. */
export const ALL_CALLS = [
  ...new Set(Object.values(ACCESS).flatMap((tables) => Object.values(tables).flat())),
  ...SHAPES,
]
  .sort()
  .map((call) => `dynamodb:${call}`);
