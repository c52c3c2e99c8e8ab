// Log groups, made here with a retention period. A service would create its own without one.
import { RemovalPolicy } from 'aws-cdk-lib';
import * as logs from 'aws-cdk-lib/aws-logs';

/** A log group that is deleted with the stack. */
export function logGroupOf(scope, id, { parameters, name }) {
  return new logs.LogGroup(scope, id, {
    logGroupName: name,
    retention: parameters.LogRetentionDays.valueAsNumber,
    removalPolicy: RemovalPolicy.DESTROY,
  });
}
