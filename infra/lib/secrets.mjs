// Secrets that sign. Made by the platform and never in the template; functions get their values
// when they are deployed, tasks when they start (README, "Secrets").
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';

export function secretsOf(stack, { settings, parameters }) {
  return {
    /** Signs bearer tokens. Whoever issues tokens reads it from here, or puts a shared one in. */
    token: generated(stack, 'TokenSecret', 'what signs bearer tokens (HS256), newest first'),
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
