// The settings at synthesis, `-c name=value`. Everything else is a parameter of the template.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** An invalid setting. Its message is one line for the person who gave it. */
export class SettingsError extends Error {}

/** The repository's root. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** The shape of the tables, from the file that the store's adapter reads as well. */
export const TABLES = JSON.parse(readFileSync(join(ROOT, 'shared/dynamo/tables.json'), 'utf8'));

/**
 * The parts that `-c local=1` leaves out, each with what the emulator, MiniStack 1.5.33, lacks.
 * Modules ask `settings.has(name)`.
 */
export const NOT_LOCAL = {
  alarmsOnMath: 'AWS::CloudWatch::Alarm with Metrics: metric math is not supported there',
  cacheTls: 'its caches answer with the address of a Redis on the machine, without TLS and AUTH',
  flowLogs: 'AWS::EC2::FlowLog is not known to it',
  nodeCertificate: 'a task is a record there, without a process that could show one',
  scaling: 'AWS::ApplicationAutoScaling::* is not known to it',
};

const CHOICES = {
  arch: ['arm64', 'x86_64'],
  assets: ['built', 'none'],
  local: ['0', '1'],
  node: ['1024x2048', '512x1024', '2048x4096', '4096x8192'],
  tables: ['retain', 'protect', 'destroy'],
};

/** Reads the settings from the context and refuses invalid values. */
export function settingsOf(node) {
  const chosen = Object.fromEntries(
    Object.entries(CHOICES).map(([name, values]) => [name, choice(node, name, values)]),
  );
  const prefix = text(node, 'prefix', TABLES.prefix, /^[a-z][a-z0-9-]{0,18}-$/);
  const programs = text(node, 'programs', 'target/lambda', /^[\w./-]+$/);
  const isLocal = chosen.local === '1';
  return Object.freeze({
    /** Prefix of all names: tables, functions, log groups. Each prefix is a separate deployment. */
    prefix,
    stackName: prefix.slice(0, -1),
    imagesName: `${prefix}images`,
    arch: chosen.arch,
    /** CPU units and MiB of a node and its collector, in a combination that Fargate offers. */
    nodeSize: sizeOf(chosen.node),
    /** Whether tables outlive the stack, and whether they are protected from deletion. */
    keepsTables: chosen.tables !== 'destroy',
    protectsTables: chosen.tables === 'protect',
    cidr: text(node, 'cidr', '10.42.0.0/16', /^\d+\.\d+\.\d+\.\d+\/\d+$/),
    isLocal,
    has: (part) => !(isLocal && part in NOT_LOCAL),
    bootstrapOf: (name) => bootstrapOf(chosen, programs, name),
  });
}

function sizeOf(text) {
  const [cpu, memoryLimitMiB] = text.split('x').map(Number);
  return { cpu, memoryLimitMiB };
}

/** The folder with a function's program, or a placeholder that is enough for synthesis. */
function bootstrapOf({ arch, assets }, programs, name) {
  if (assets === 'none') return join(ROOT, 'infra/placeholder');
  const folder = `${programs}/${arch}/${name}`;
  if (!existsSync(join(ROOT, folder, 'bootstrap'))) {
    throw new SettingsError(`${folder}/bootstrap is missing; run: infra/deploy functions`);
  }
  return join(ROOT, folder);
}

function choice(node, name, values) {
  const value = String(node.tryGetContext(name) ?? values[0]);
  if (!values.includes(value)) {
    throw new SettingsError(`-c ${name}=${value} is none of: ${values.join(', ')}`);
  }
  return value;
}

function text(node, name, otherwise, form) {
  const value = String(node.tryGetContext(name) ?? otherwise);
  if (!form.test(value)) throw new SettingsError(`-c ${name}=${value} does not match ${form}`);
  return value;
}
