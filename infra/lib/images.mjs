// The node's image repository. A separate stack: the image must be there before the service starts.
import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as ecr from 'aws-cdk-lib/aws-ecr';

/** The repository's name. The fleet uses it, so that no export couples the stacks. */
export const repositoryName = (settings) => `${settings.prefix}node`;

export class ImageStack extends Stack {
  constructor(scope, id, { settings }) {
    super(scope, id, { description: 'Inkwire: the repository of the node image' });
    new ecr.Repository(this, 'Nodes', {
      repositoryName: repositoryName(settings),
      // A tag is a version and never moves, so that it can be deployed again.
      imageTagMutability: ecr.TagMutability.IMMUTABLE,
      imageScanOnPush: true,
      encryption: ecr.RepositoryEncryption.AES_256,
      lifecycleRules: [
        { description: 'untagged layers', tagStatus: ecr.TagStatus.UNTAGGED, maxImageAge: Duration.days(14) },
        { description: 'versions to go back to', maxImageCount: 50 },
      ],
      removalPolicy: RemovalPolicy.RETAIN,
    });
  }
}
