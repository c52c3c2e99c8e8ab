// The bucket of files. Clients upload and download by URLs that functions sign, so nobody else reads or
// writes in it.
import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import * as s3 from 'aws-cdk-lib/aws-s3';

export function bucketOf(stack, { settings, parameters }) {
  return new s3.Bucket(stack, 'Files', {
    // Its name is made: names of buckets are global, and one without dots is covered by S3's certificates.
    blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
    objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
    encryption: s3.BucketEncryption.S3_MANAGED,
    enforceSSL: true,
    minimumTLSVersion: 1.2,
    // A deletion is meant to delete: no versions.
    versioned: false,
    lifecycleRules: [{ id: 'unfinished', abortIncompleteMultipartUploadAfter: Duration.days(1) }],
    cors: [
      {
        allowedOrigins: parameters.AllowedOrigins.valueAsList,
        allowedMethods: [s3.HttpMethods.PUT],
        allowedHeaders: ['content-type', 'x-amz-checksum-sha256'],
        maxAge: Duration.hours(1).toSeconds(),
      },
      {
        // A browser comes here by a redirect of the API, and then names no origin. The URL is the right.
        allowedOrigins: ['*'],
        allowedMethods: [s3.HttpMethods.GET],
        allowedHeaders: [],
        maxAge: Duration.hours(1).toSeconds(),
      },
    ],
    removalPolicy: settings.keepsTables
      ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
      : RemovalPolicy.DESTROY,
  });
}
