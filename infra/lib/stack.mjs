// All of Inkwire in one account and region. Each box of the architecture diagram has a module.
import { CfnOutput, Stack } from 'aws-cdk-lib';
import { alarmsOf, topicOf } from './alarms.mjs';
import { apiOf } from './api.mjs';
import { dashboardOf } from './dashboard.mjs';
import { bucketOf } from './files.mjs';
import { clusterOf, fleetOf } from './fleet.mjs';
import { functionsOf } from './functions.mjs';
import { namesOf } from './names.mjs';
import { networkOf } from './network.mjs';
import { parametersOf } from './parameters.mjs';
import { redisOf } from './redis.mjs';
import { scheduleOf } from './schedule.mjs';
import { secretsOf } from './secrets.mjs';
import { readersOf } from './stream.mjs';
import { suppress } from './suppressions.mjs';
import { tablesOf } from './tables.mjs';

export class InkwireStack extends Stack {
  constructor(scope, id, { settings }) {
    super(scope, id, { description: 'Inkwire: API, functions, tables, cache, nodes' });
    const context = { settings, parameters: parametersOf(this, { settings }) };
    context.tables = tablesOf(this, context);
    context.files = bucketOf(this, context);
    context.network = networkOf(this, context);
    context.alarms = topicOf(this, context);
    context.secrets = secretsOf(this, context);
    context.redis = redisOf(this, context);
    context.functions = functionsOf(this, context);
    context.readers = readersOf(this, context);
    context.schedule = scheduleOf(this, context);
    context.api = apiOf(this, context);
    context.cluster = clusterOf(this, context);
    context.names = namesOf(this, context);
    context.fleet = fleetOf(this, context);
    dashboardOf(this, context, alarmsOf(this, context));
    suppress(this);
    new CfnOutput(this, 'ApiUrl', { value: context.api.apiEndpoint });
    new CfnOutput(this, 'TokenSecretArn', {
      condition: context.secrets.token.isMade,
      description: 'Whoever issues bearer tokens reads what signs them here',
      value: context.secrets.token.secret.secretArn,
    });
  }
}
