// The CDK app. All decisions are in lib/. Deployments differ by lib/settings.mjs (at synthesis)
// and lib/parameters.mjs (at deployment).
import { App } from 'aws-cdk-lib';
import { build } from './lib/app.mjs';
import { SettingsError } from './lib/settings.mjs';

try {
  build(new App({ analyticsReporting: false })).synth();
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  // Print one line that says what to do, without a stack trace.
  process.stderr.write(`infra: ${error.message}\n`);
  process.exitCode = 1;
}
