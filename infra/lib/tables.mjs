// The tables, from the file that describes their shape. Nothing of it is repeated here.
import { RemovalPolicy } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import { TABLES } from './settings.mjs';

/** Makes the tables and returns them by their names without the prefix. */
export function tablesOf(stack, { settings }) {
  return Object.fromEntries(TABLES.tables.map((shape) => [shape.name, tableOf(stack, settings, shape)]));
}

function tableOf(stack, settings, shape) {
  return new dynamodb.Table(stack, `Table-${shape.name}`, {
    tableName: settings.prefix + shape.name,
    partitionKey: keyOf(shape.partition_key),
    sortKey: shape.sort_key && keyOf(shape.sort_key),
    billingMode: known(dynamodb.BillingMode, shape.billing),
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: shape.point_in_time_recovery },
    stream: shape.stream && known(dynamodb.StreamViewType, shape.stream),
    timeToLiveAttribute: shape.ttl_attribute,
    // Not the default, a key that DynamoDB owns: use of this key shows in the audit log.
    encryption: dynamodb.TableEncryption.AWS_MANAGED,
    // A failed first deployment must delete its empty tables, or the next one would find their
    // names taken. Protection would prevent that, so it comes later (`-c tables=protect`).
    deletionProtection: settings.protectsTables,
    removalPolicy: settings.keepsTables
      ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
      : RemovalPolicy.DESTROY,
  });
}

const keyOf = ({ name, type }) => ({ name, type: known(dynamodb.AttributeType, type) });

/** Looks up a word of the file. An unknown word is an error, never a silent default. */
function known(values, word) {
  const value = Object.values(values).find((value) => value === word);
  if (value === undefined) throw new Error(`tables.json: ${word} is not known`);
  return value;
}
