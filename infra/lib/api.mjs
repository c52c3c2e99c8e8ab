// The HTTP API. The functions do their own routing; the paths here only choose a function.
import { ArnFormat, Duration } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import { helperOf } from './helpers.mjs';
import { logGroupOf } from './logs.mjs';

/**
 * Which function serves which route (`protocol::routes::Function`). Routes name their methods,
 * never ANY: that would include a browser's OPTIONS, which the functions refuse.
 *
 * All other requests go to a function, too. Every function knows all routes and answers a wrong
 * path or method with our problem body and `Allow`.
 */
const ROUTES = {
  'POST /messages': 'send',
  'GET /scroll': 'scroll',
  'GET /unread': 'scroll',
  'GET /mentions': 'scroll',
  'GET /threads': 'scroll',
  'GET /connect': 'connect',
  'POST /read': 'amend',
  'POST /channels/{channel_id}/unread': 'amend',
  'GET /channels/{channel_id}/receipts': 'amend',
  'GET /channels/{channel_id}/messages/{id}': 'amend',
  'PATCH /channels/{channel_id}/messages/{id}': 'amend',
  'DELETE /channels/{channel_id}/messages/{id}': 'amend',
  'GET /channels/{channel_id}/messages/{id}/reactions': 'amend',
  'PUT /channels/{channel_id}/messages/{id}/reactions/{emoji}': 'amend',
  'DELETE /channels/{channel_id}/messages/{id}/reactions/{emoji}': 'amend',
  'GET /channels/{channel_id}/pins': 'amend',
  'PUT /channels/{channel_id}/pins/{id}': 'amend',
  'DELETE /channels/{channel_id}/pins/{id}': 'amend',
  'PUT /channels/{channel_id}/threads/{root}/follow': 'amend',
  'DELETE /channels/{channel_id}/threads/{root}/follow': 'amend',
  'POST /attachments': 'files',
  'GET /attachments/{id}': 'files',
  'GET /channels': 'membership',
  'POST /channels': 'membership',
  'PATCH /channels/{channel_id}': 'membership',
  'GET /channels/{proxy+}': 'membership',
  'POST /channels/{proxy+}': 'membership',
  'PUT /channels/{proxy+}': 'membership',
  'DELETE /channels/{proxy+}': 'membership',
  'GET /users': 'membership',
  'GET /users/{proxy+}': 'membership',
  'PUT /users/{proxy+}': 'membership',
  'DELETE /users/{proxy+}': 'membership',
  'OPTIONS /{proxy+}': 'preflight',
};
const OTHERWISE = 'connect';

export function apiOf(stack, { settings, parameters, functions }) {
  const preflight = helperOf(stack, 'preflight', { settings, parameters, handler: 'index.handler' });
  const targets = { ...functions, preflight };
  const integrations = Object.fromEntries(
    [...new Set(Object.values(ROUTES))].map((name) => [
      name,
      new HttpLambdaIntegration(`Calls-${name}`, targets[name]),
    ]),
  );
  const api = new apigateway.HttpApi(stack, 'Api', {
    apiName: settings.stackName,
    description: 'Inkwire',
    corsPreflight: corsOf(parameters),
    defaultIntegration: integrations[OTHERWISE],
    createDefaultStage: false,
  });
  for (const [route, name] of Object.entries(ROUTES)) {
    const [method, path] = route.split(' ');
    api.addRoutes({ path, methods: [method], integration: integrations[name] });
  }
  const group = logGroupOf(stack, 'ApiLogs', { parameters, name: `/${settings.stackName}/api` });
  new apigateway.CfnStage(stack, 'ApiStage', {
    apiId: api.apiId,
    stageName: '$default',
    autoDeploy: true,
    accessLogSettings: { destinationArn: arnOf(stack, group), format: ACCESS_LOG },
    defaultRouteSettings: {
      detailedMetricsEnabled: true,
      throttlingRateLimit: parameters.ApiRateLimit.valueAsNumber,
      throttlingBurstLimit: parameters.ApiBurstLimit.valueAsNumber,
    },
  });
  return api;
}

/** The ARN of a log group itself; its `logGroupArn` attribute names all streams in it. */
const arnOf = (stack, group) =>
  stack.formatArn({
    service: 'logs',
    resource: 'log-group',
    resourceName: group.logGroupName,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });

function corsOf(parameters) {
  return {
    allowOrigins: parameters.AllowedOrigins.valueAsList,
    allowMethods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].map((name) => apigateway.CorsHttpMethod[name]),
    allowHeaders: ['authorization', 'content-type'],
    exposeHeaders: ['retry-after', 'x-request-id'],
    // Tokens travel in a header: there are no cookies to allow.
    allowCredentials: false,
    maxAge: Duration.hours(1),
  };
}

/** The access log holds only the caller's address: no header, query or token. */
const ACCESS_LOG = JSON.stringify({
  at: '$context.requestTime',
  request_id: '$context.requestId',
  integration_request_id: '$context.integration.requestId',
  ip: '$context.identity.sourceIp',
  method: '$context.httpMethod',
  route: '$context.routeKey',
  status: '$context.status',
  bytes: '$context.responseLength',
  latency_ms: '$context.responseLatency',
  integration_latency_ms: '$context.integration.latency',
  error: '$context.integration.error',
});
