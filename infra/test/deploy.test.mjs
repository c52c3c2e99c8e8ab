// The programs that infra/deploy calls, in order, and that it stops at the first failure. Stubs
// record the calls.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../lib/settings.mjs';

/** A stub that records its call, and fails if it is the call that should fail. */
const PROGRAM = `#!/bin/sh
call="$(basename "$0") $*"
[ -t 0 ] || [ "$1" != login ] || cat >/dev/null
echo "$call" >>"$CALLS"
case $call in "$FAILS"*) exit 7 ;; esac
case $call in
  rustup*) printf 'aarch64-unknown-linux-gnu\\nx86_64-unknown-linux-gnu\\n' ;;
  'aws sts'*) echo 123456789012 ;;
  'aws ecr'*) echo password ;;
esac
`;

function deploy(args, fails = 'nothing') {
  const folder = mkdtempSync(join(tmpdir(), 'inkwire-deploy-'));
  for (const name of ['aws', 'cargo', 'cargo-lambda', 'docker', 'npm', 'npx', 'rustup']) {
    writeFileSync(join(folder, name), PROGRAM);
    chmodSync(join(folder, name), 0o755);
  }
  const calls = join(folder, 'calls');
  const { status, stderr } = spawnSync(join(ROOT, 'infra/deploy'), args, {
    encoding: 'utf8',
    env: { PATH: `${folder}:${process.env.PATH}`, CALLS: calls, FAILS: fails, AWS_REGION: 'eu-west-1' },
  });
  const called = existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [];
  rmSync(folder, { recursive: true });
  return { status, stderr, called };
}

/** The beginning of each call of a whole deployment, in order. */
const WHOLE = [
  'rustup target list',
  'cargo lambda build --release --arm64',
  'npx --no-install cdk deploy inkwire-images',
  'aws sts get-caller-identity',
  'aws ecr get-login-password',
  'docker login --username AWS',
  'docker build -f infra/node.Dockerfile',
  'docker push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/inkwire-node:v1',
  'npx --no-install cdk deploy inkwire --exclusively',
];

/** The calls' sorted positions in WHOLE, because the two calls of a pipe have no fixed order. */
const placesOf = (called) =>
  called.map((call) => WHOLE.findLastIndex((one) => call.startsWith(one))).sort((a, b) => a - b);

test('the whole deployment is functions, image and stack in turn', () => {
  const { status, stderr, called } = deploy(['all', 'v1', 'Domain=chat.example.com', 'TokenKeys={"keys":[{"x":"="}]}']);
  assert.equal(status, 0, stderr);
  assert.deepEqual(placesOf(called), [...WHOLE.keys()], called.join('\n'));
  const stack = called.at(-1);
  assert.match(stack, /--parameters inkwire:NodeImageTag=v1 --parameters inkwire:Domain=chat\.example\.com /);
  assert.ok(stack.includes('--parameters inkwire:TokenKeys={"keys":[{"x":"="}]} '), stack);
});

test('what fails ends the deployment there: nothing is deployed without what was to come before', () => {
  for (const [at, call] of WHOLE.entries()) {
    const { status, called } = deploy(['all', 'v1'], call);
    assert.notEqual(status, 0, call);
    // Both ends of the pipe start before one of them fails.
    const last = call.startsWith('aws ecr') ? at + 1 : at;
    assert.deepEqual(placesOf(called).filter((place) => place > last), [], `${call}: ${called.join('\n')}`);
  }
});

test('without a tag nothing is built, and without a command it says what there is', () => {
  const untagged = deploy(['all']);
  assert.notEqual(untagged.status, 0);
  assert.match(untagged.stderr, /needs the tag of an image/);
  assert.deepEqual(untagged.called, []);
  const lost = deploy([]);
  assert.equal(lost.status, 64);
  assert.match(lost.stderr, /infra\/deploy all TAG/);
});
