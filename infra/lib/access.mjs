// Which calls each program makes on which table: what its use cases in shared/messaging ask of
// shared/dynamo. A transaction is authorised by its parts, so TransactWriteItems is PutItem here.
//
// No program scans; the one that writes messages cannot change or delete them. There is no condition
// on leading keys: a partition is a channel or a user, and a role serves all of them.
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';

export const ACCESS = {
  send: {
    messages: ['GetItem', 'PutItem'],
    channels: ['BatchGetItem'],
    memberships: ['BatchGetItem'],
  },
  scroll: {
    messages: ['Query'],
    channels: ['BatchGetItem'],
    memberships: ['BatchGetItem'],
  },
  membership: {
    channels: ['BatchGetItem', 'PutItem', 'UpdateItem'],
    memberships: ['BatchGetItem', 'DeleteItem', 'Query', 'UpdateItem'],
    user_channels: ['BatchGetItem', 'DeleteItem', 'PutItem', 'Query', 'UpdateItem'],
  },
  connect: {
    user_channels: ['BatchGetItem'],
  },
  relay: {
    channels: ['BatchGetItem', 'UpdateItem'],
  },
  node: {
    messages: ['GetItem', 'Query'],
    channels: ['BatchGetItem'],
    memberships: ['Query'],
    user_channels: ['BatchGetItem', 'Query'],
  },
};

/** The statements of a program, one a table. */
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

/** Every call that any program makes: what the network lets through to the tables. */
export const ALL_CALLS = [
  ...new Set(Object.values(ACCESS).flatMap((tables) => Object.values(tables).flat())),
]
  .sort()
  .map((call) => `dynamodb:${call}`);
