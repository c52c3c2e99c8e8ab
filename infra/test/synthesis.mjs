// Synthesises each template once for the checks, without the CLI and without credentials.
import { App } from 'aws-cdk-lib';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from '../lib/app.mjs';
import { ROOT } from '../lib/settings.mjs';

// CDK's own rules run in infra/check, where the CLI synthesises. Here they would only take time.
process.env.CDK_VALIDATION = 'false';

const made = new Map();

/** The template of the main stack, or of another one, synthesised with a context. */
export function templateOf(context = {}, stack = 'inkwire') {
  const key = JSON.stringify(context);
  if (!made.has(key)) {
    const outdir = mkdtempSync(join(tmpdir(), 'inkwire-infra-'));
    const app = new App({ analyticsReporting: false, outdir, context: { assets: 'none', ...context } });
    made.set(key, build(app).synth());
  }
  return made.get(key).getStackByName(stack).template;
}

/** A template's resources of a type, as pairs of logical id and resource. */
export const resourcesOf = (template, type) =>
  Object.entries(template.Resources).filter(([, resource]) => resource.Type === type);

/** The only resource of a type whose logical id has this beginning. */
export function resourceOf(template, type, beginning) {
  const found = resourcesOf(template, type).filter(([id]) => id.startsWith(beginning));
  if (found.length !== 1) throw new Error(`${found.length} of ${type} begin with ${beginning}`);
  return found[0][1];
}

/** The text of a file in the repository. */
export const source = (path) => readFileSync(join(ROOT, path), 'utf8');

/** A template's value as text, with its functions written out, so that it can be searched. */
export function textOf(value) {
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return value.map(textOf).join(',');
  const [[name, argument]] = Object.entries(value);
  if (name === 'Fn::Join') return argument[1].map(textOf).join(argument[0]);
  if (name === 'Ref') return `\${${argument}}`;
  if (name === 'Fn::GetAtt') return `\${${argument.join('.')}}`;
  return JSON.stringify(value);
}
