/** Keeps values that came from Secrets out of what is told: an error may quote the command that it was about. Pure. */

/** Shorter ones are no secrets, and replacing them would only make a text unreadable. */
const minLength = 4;

/** The text with every one of the secrets replaced, the longest first, since one may be part of another. */
export function hideSecrets(text: string, secrets: readonly string[]): string {
  return secrets
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)])
    .filter((secret) => secret.length >= minLength)
    .sort((a, b) => b.length - a.length)
    .reduce((hidden, secret) => hidden.replaceAll(secret, '(hidden: from a Secret)'), text);
}

/** For a log: the error itself, or its hidden message where it tells a secret. */
export function hideInError(error: unknown, secrets: readonly string[]): unknown {
  const text =
    error instanceof Error ? `${error.stack ?? ''} ${error.message} ${String(error.cause ?? '')}` : String(error);
  const hidden = hideSecrets(text, secrets);
  if (hidden === text) return error;
  return hideSecrets(error instanceof Error ? error.message : String(error), secrets);
}
