// `archive` is started every minute and runs for 70 s (ADR 0044).
//
// Nothing repeats a start that failed, and no queue keeps one: an event says nothing, whatever waits is in
// the cache, and the next minute starts the function again. Repetitions would only pile up beside it.
import { Duration } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';

const ONCE = { retryAttempts: 0, maxEventAge: Duration.minutes(1) };

/** Makes the schedule and returns its rule. */
export function scheduleOf(stack, { functions: { archive } }) {
  // Of the service that calls the function, and of the function's own queue of events.
  archive.configureAsyncInvoke(ONCE);
  return new events.Rule(stack, 'EveryMinute', {
    description: 'Inkwire: stores what was delivered first',
    schedule: events.Schedule.rate(Duration.minutes(1)),
    targets: [new targets.LambdaFunction(archive, ONCE)],
  });
}
