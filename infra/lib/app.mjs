// Puts the stacks together: the image repository first, since the fleet needs an image in it.
import { Aspects, Tags } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { ImageStack } from './images.mjs';
import { settingsOf } from './settings.mjs';
import { InkwireStack } from './stack.mjs';

/**
 * Builds both stacks in an app, with cdk-nag as a gate: a finding without a written reason is an
 * error of the synthesis.
 */
export function build(app) {
  const settings = settingsOf(app.node);
  const images = new ImageStack(app, settings.imagesName, { settings });
  const stack = new InkwireStack(app, settings.stackName, { settings });
  // Ordered, not coupled: no export of one is an import of the other.
  stack.addStackDependency(images);
  Tags.of(app).add('application', 'inkwire');
  // The local variant lacks what it cannot have; its gate is the whole one's.
  if (!settings.isLocal) Aspects.of(app).add(new AwsSolutionsChecks({ verbose: true }));
  return app;
}
