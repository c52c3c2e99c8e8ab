// The stream of `messages`: which functions read it, which of its records each one gets, and a queue
// for the records that it gave up.
//
// A shard of a stream serves two readers, and here they are. Whatever else follows from stored rows
// is a task of `derive`, not of a third reader. (A global table would take the place of one.)
import { ArnFormat, Duration, Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';

/** Matches sort keys that begin with one of these. Each record has its keys, whatever its image. */
const sortKeys = (...prefixes) => ({ Keys: { created_at: { S: prefixes.map((prefix) => ({ prefix })) } } });

/**
 * Matches rows that were written and have this attribute, a text. A removed row has no image. `exists`
 * works on values only, so it names the type.
 */
const withText = (attribute) => ({ NewImage: { [attribute]: { S: [{ exists: true }] } } });

/** Matches rows that were removed. Every row that was written has a channel. */
const removed = () => ({ NewImage: { channel_id: { S: [{ exists: false }] } } });

/**
 * Sort keys of messages. They are ULIDs, whose first digit is 0 to 7. Rows beside messages have a
 * letter first: reactions `r#`, pins `p#`, files `f#`, the change log `c#`.
 */
const MESSAGES = [...'01234567'];

/**
 * The readers. A mapping reads all records and drops those that its filter does not match, without a
 * call of the function. They count as read: they hold nothing up, and they are in no metric of the
 * function. `IteratorAge` is the age of what the function is given, so it says how late its own work
 * is, and says nothing while there is none. A record passes if any filter matches; a mapping takes
 * five filters at most, and they may only name what is in `dynamodb`.
 */
const READERS = {
  relay: {
    filters: [{ dynamodb: sortKeys(...MESSAGES) }],
    batchSize: 100,
  },
  derive: {
    filters: [
      // Reactions and pins. One that is removed was withdrawn two days before, so nothing shows it.
      { dynamodb: { ...sortKeys('r#', 'p#'), ...withText('channel_id') } },
      // Messages that mention somebody, and replies. Only they have `m`, so all others cost nothing here.
      { dynamodb: { ...sortKeys(...MESSAGES), ...withText('m') } },
      // Deletions: `derive` deletes the message's files, and withdraws its pin if `amend` died before it
      // could.
      { dynamodb: { ...sortKeys(...MESSAGES), ...withText('g') } },
      // Messages with files, which are theirs from then on. Deleted ones keep `f`, too.
      { dynamodb: { ...sortKeys(...MESSAGES), ...withText('f') } },
      // Files that lapsed: no message named them in time, or theirs was deleted.
      { dynamodb: { ...sortKeys('f#'), ...removed() } },
    ],
    // The larger a batch, the more reactions to one message are counted at once.
    batchSize: 1000,
  },
};

/** The functions whose calls store rows that the readers must get. */
const WRITERS = ['send', 'amend', 'archive'];

/** Connects each reader to the stream. Returns their queues and mappings, by the readers' names. */
export function readersOf(stack, context) {
  const readers = Object.fromEntries(
    Object.entries(READERS).map(([name, reader]) => [name, readerOf(stack, name, reader, context)]),
  );
  // A deployment changes readers and their filters first: an old filter would drop rows of a new
  // kind, and no reader gets a record twice.
  for (const name of WRITERS) {
    for (const { mapping } of Object.values(readers)) context.functions[name].node.addDependency(mapping);
  }
  return readers;
}

function readerOf(stack, name, { filters, batchSize }, { settings, tables, functions }) {
  const id = name[0].toUpperCase() + name.slice(1);
  const queue = queueOf(stack, `${id}Failures`, `${settings.prefix}${name}-failures`);
  const target = functions[name];
  const policy = new iam.Policy(stack, `${id}Stream`, {
    roles: [target.role],
    statements: streamStatements(stack, tables.messages, queue),
  });
  const mapping = new lambda.CfnEventSourceMapping(stack, `${id}Mapping`, {
    functionName: target.functionName,
    eventSourceArn: tables.messages.tableStreamArn,
    filterCriteria: { filters: filters.map((filter) => ({ pattern: JSON.stringify(filter) })) },
    // From the oldest record: one that starts at the latest misses records while it is created.
    startingPosition: 'TRIM_HORIZON',
    batchSize,
    functionResponseTypes: ['ReportBatchItemFailures'],
    bisectBatchOnFunctionError: true,
    // Only age ends retries: the relay holds a batch on purpose while a replica lags, and `derive`
    // holds what it could not finish. The stream drops records after 24 h; an hour before that,
    // failed ones go to the queue.
    maximumRetryAttempts: -1,
    maximumRecordAgeInSeconds: Duration.hours(23).toSeconds(),
    destinationConfig: { onFailure: { destination: queue.queueArn } },
  });
  mapping.node.addDependency(policy);
  return { queue, mapping };
}

/** A dead-letter queue, with the longest possible retention. */
export function queueOf(stack, id, queueName) {
  return new sqs.Queue(stack, id, {
    queueName,
    retentionPeriod: Duration.days(14),
    encryption: sqs.QueueEncryption.SQS_MANAGED,
    enforceSSL: true,
  });
}

function streamStatements(stack, table, queue) {
  const streams = Stack.of(stack).formatArn({
    service: 'dynamodb',
    resource: 'table',
    resourceName: `${table.tableName}/stream/*`,
    arnFormat: ArnFormat.SLASH_RESOURCE_NAME,
  });
  return [
    new iam.PolicyStatement({
      sid: 'Stream',
      actions: ['dynamodb:DescribeStream', 'dynamodb:GetRecords', 'dynamodb:GetShardIterator'],
      resources: [table.tableStreamArn],
    }),
    new iam.PolicyStatement({
      sid: 'ListStreams',
      actions: ['dynamodb:ListStreams'],
      resources: [streams],
    }),
    new iam.PolicyStatement({
      sid: 'Failures',
      actions: ['sqs:SendMessage'],
      resources: [queue.queueArn],
    }),
  ];
}
