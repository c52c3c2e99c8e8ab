// Puts the stacks together: the image repository first, because the fleet needs an image in it.
import { Aspects, Tags } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { ImageStack } from './images.mjs';
import { settingsOf } from './settings.mjs';
import { InkwireStack } from './stack.mjs';

/**
 * Builds both stacks in an app. cdk-nag is a gate: a finding without a written reason fails the
 * synthesis.
 */
export function build(app) {
  const settings = settingsOf(app.node);
  const images = new ImageStack(app, settings.imagesName, { settings });
  const stack = new InkwireStack(app, settings.stackName, { settings });
  // This only orders them: neither stack imports an export of the other.
  stack.addStackDependency(images);
  Tags.of(app).add('application', 'inkwire');
  // The local variant leaves parts out, so cdk-nag only checks the whole one.
  if (!settings.isLocal) Aspects.of(app).add(new AwsSolutionsChecks({ verbose: true }));
  return app;
}
