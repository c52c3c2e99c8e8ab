// Secrets that sign. Made by the platform and never in the template; functions get their values
// when they are deployed, tasks when they start (README, "Secrets").
import { Aws, CfnCondition, Fn } from 'aws-cdk-lib';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';

export function secretsOf(stack, { settings, parameters }) {
  return {
    token: tokenSecretOf(stack, parameters),
    /** Signs tickets: connect makes them, nodes check them. */
    ticket: generated(stack, 'TicketSecret', 'what signs tickets, newest first'),
    /** What nodes show over TLS: somebody else makes it and replaces it (ADR 0017). */
    certificate: settings.has('nodeCertificate')
      ? secretsmanager.Secret.fromSecretCompleteArn(
          stack,
          'NodesCertificateSecret',
          parameters.NodesCertificate.valueAsString,
        )
      : undefined,
  };
}

/**
 * Signs bearer tokens where no issuer's public keys are given, and is not made where they are. Whoever
 * issues tokens reads it from here, or puts a shared one in.
 */
function tokenSecretOf(stack, parameters) {
  const isMade = new CfnCondition(stack, 'HasTokenSecret', {
    expression: Fn.conditionEquals(parameters.TokenKeys.valueAsString, ''),
  });
  const secret = generated(stack, 'TokenSecret', 'what signs bearer tokens (HS256), newest first');
  secret.node.defaultChild.cfnOptions.condition = isMade;
  const either = (made, given) => Fn.conditionIf(isMade.logicalId, made, given).toString();
  return {
    isMade,
    secret,
    /** One way to verify, never both: what a function is given. */
    environment: {
      INKWIRE_TOKEN_KEYS: either(Aws.NO_VALUE, parameters.TokenKeys.valueAsString),
      INKWIRE_TOKEN_SECRET: either(resolved(secret), Aws.NO_VALUE),
    },
  };
}

/** By name, not by `excludePunctuation`: the emulator knows only this one. */
const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';

/** A secret of 64 letters and digits: good in a list between commas, in a URL, and as AUTH token. */
export function generated(stack, id, description) {
  return new secretsmanager.Secret(stack, id, {
    description: `Inkwire: ${description}`,
    generateSecretString: { passwordLength: 64, excludeCharacters: PUNCTUATION },
  });
}

/** A reference that the deployment resolves: the value is in no template. */
export const resolved = (secret) => secret.secretValue.unsafeUnwrap();
