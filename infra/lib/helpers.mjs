// Two small functions that the AWS setup needs beside our programs. Each is a few lines of
// JavaScript in helpers/, without access to secrets, tables or the network.
import { Duration } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { join } from 'node:path';
import { logGroupOf } from './logs.mjs';
import { ROOT } from './settings.mjs';

export function helperOf(stack, name, { settings, parameters, environment, statements = [], handler }) {
  const functionName = settings.prefix + name;
  const logGroup = logGroupOf(stack, `Logs-${name}`, {
    parameters,
    name: `/aws/lambda/${functionName}`,
  });
  const logging = new iam.PolicyStatement({
    sid: 'Logs',
    actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    resources: [logGroup.logGroupArn],
  });
  const role = new iam.Role(stack, `Role-${name}`, {
    description: `Inkwire: the helper ${name}`,
    assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
    inlinePolicies: {
      access: new iam.PolicyDocument({ statements: [logging, ...statements] }),
    },
  });
  return new lambda.Function(stack, `Function-${name}`, {
    functionName,
    description: `Inkwire helper: ${name}`,
    runtime: lambda.Runtime.NODEJS_24_X,
    architecture: lambda.Architecture.ARM_64,
    handler,
    code: lambda.Code.fromAsset(join(ROOT, 'infra/helpers', name)),
    role,
    logGroup,
    timeout: Duration.seconds(10),
    memorySize: 256,
    environment,
  });
}
