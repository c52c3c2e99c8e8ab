// The function's entry point. The AWS SDK comes with the Lambda runtime.
import * as ec2 from '@aws-sdk/client-ec2';
import * as route53 from '@aws-sdk/client-route-53';
import { handlerOf, networkOf, zoneOf } from './index.mjs';

const { ZONE_ID, ZONE_NAME } = process.env;

export const handler = handlerOf({
  zone: zoneOf(new route53.Route53Client(), route53, ZONE_ID, ZONE_NAME),
  network: networkOf(new ec2.EC2Client(), ec2),
  domain: ZONE_NAME,
  log: (event) => console.log(JSON.stringify(event)),
});
