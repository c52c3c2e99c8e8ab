// The tables, from the one file that describes them. Nothing of their shape is repeated here.
import { RemovalPolicy } from 'aws-cdk-lib';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import { TABLES } from './settings.mjs';

/** Makes the tables; returns them by their names without prefix. */
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
    // Not the default (a key of the service's own): this one shows in the audit log.
    encryption: dynamodb.TableEncryption.AWS_MANAGED,
    // A first deployment that fails takes its empty tables along, or the next one would find their
    // names taken; a table with protection could not go, so that comes later (`-c tables=protect`).
    deletionProtection: settings.protectsTables,
    removalPolicy: settings.keepsTables
      ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
      : RemovalPolicy.DESTROY,
  });
}

const keyOf = ({ name, type }) => ({ name, type: known(dynamodb.AttributeType, type) });

/** A word of the file that the platform knows, or an error: never a silent default. */
function known(values, word) {
  const value = Object.values(values).find((value) => value === word);
  if (value === undefined) throw new Error(`tables.json: ${word} is not known`);
  return value;
}
