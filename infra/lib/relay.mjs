// Connects the stream of messages to the function `relay`, with a queue for failed records.
import { ArnFormat, Duration, Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sqs from 'aws-cdk-lib/aws-sqs';

export function relayOf(stack, { settings, tables, functions }) {
  const queue = queueOf(stack, 'RelayFailures', `${settings.prefix}relay-failures`);
  const relay = functions.relay;
  const policy = new iam.Policy(stack, 'RelayStream', {
    roles: [relay.role],
    statements: streamStatements(stack, tables.messages, queue),
  });
  const mapping = new lambda.CfnEventSourceMapping(stack, 'RelayMapping', {
    functionName: relay.functionName,
    eventSourceArn: tables.messages.tableStreamArn,
    // From the oldest record: one that starts at the latest misses records while it is created.
    startingPosition: 'TRIM_HORIZON',
    batchSize: 100,
    functionResponseTypes: ['ReportBatchItemFailures'],
    bisectBatchOnFunctionError: true,
    // Only age ends retries, because the relay holds a batch on purpose while a replica lags. The
    // stream drops records after 24 h; an hour before that, failed ones go to the queue.
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
