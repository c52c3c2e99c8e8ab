// Log groups: made here, with an end, before whoever writes to them would make one without.
import { RemovalPolicy } from 'aws-cdk-lib';
import * as logs from 'aws-cdk-lib/aws-logs';

/** A log group that goes with the stack. */
export function logGroupOf(scope, id, { parameters, name }) {
  return new logs.LogGroup(scope, id, {
    logGroupName: name,
    retention: parameters.LogRetentionDays.valueAsNumber,
    removalPolicy: RemovalPolicy.DESTROY,
  });
}
