// Signing secrets. Secrets Manager generates them, so they are never in the template. Functions get
// the values when they are deployed, tasks when they start (README, "Secrets").
import { Aws, CfnCondition, Fn } from 'aws-cdk-lib';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';

export function secretsOf(stack, { settings, parameters }) {
  return {
    token: tokenSecretOf(stack, parameters),
    /** Signs tickets: `connect` issues them, nodes verify them. */
    ticket: generated(stack, 'TicketSecret', 'what signs tickets, newest first'),
    /** The nodes' TLS certificate and key, which the deployer provides and renews (ADR 0017). */
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
 * The secret that signs bearer tokens. It exists only if the deployment has no issuer's public
 * keys. The issuer of tokens reads it here, or stores a shared one here.
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
    /** A function's variables: one way to verify tokens, never both. */
    environment: {
      INKWIRE_TOKEN_KEYS: either(Aws.NO_VALUE, parameters.TokenKeys.valueAsString),
      INKWIRE_TOKEN_SECRET: either(resolved(secret), Aws.NO_VALUE),
    },
  };
}

/** Listed, because the emulator does not support `excludePunctuation`. */
const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';

/** A secret of 64 letters and digits: safe in a comma-separated list, in a URL, and for AUTH. */
export function generated(stack, id, description) {
  return new secretsmanager.Secret(stack, id, {
    description: `Inkwire: ${description}`,
    generateSecretString: { passwordLength: 64, excludeCharacters: PUNCTUATION },
  });
}

/** A reference that the deployment resolves, so the value is not in the template. */
export const resolved = (secret) => secret.secretValue.unsafeUnwrap();
