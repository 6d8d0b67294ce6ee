/**
 * Gives skopeo its credentials: by files of mode 0600 in memory that live as long as one attempt, never by arguments. Effects.
 * What a killed process left is removed at the next start.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImagePullError, type RegistryCredential, RegistryError } from '../interface.ts';
import { formatAuthFile, hasCredentialFor, matchCredentials } from './credentials.ts';
import type { ImageReference, RegistryReference } from './reference.ts';
import { removeStale } from './stale-files.ts';

/** One way to ask for an image. */
export type Login =
  /** As this host asks: its own file, or where skopeo looks by itself. isKnown: the file has something for the image. */
  | { readonly kind: 'host'; readonly file: string | undefined; readonly isKnown: boolean }
  | { readonly kind: 'given'; readonly credential: RegistryCredential };

export interface AuthFiles {
  /** The ways to ask for an image, the first to try first; there is at least one. */
  loginsFor(reference: ImageReference, credentials: readonly RegistryCredential[]): Promise<readonly Login[]>;
  /** Runs `work` with the file of a login, which is gone afterwards. */
  use<T>(
    request: {
      readonly login: Login;
      readonly reference: ImageReference;
      readonly credentials: readonly RegistryCredential[];
    },
    work: (file: string | undefined) => Promise<T>,
  ): Promise<T>;
  /** A path for a file of credentials that `work` may write; what is there is removed afterwards. */
  withFile<T>(work: (path: string) => Promise<T>): Promise<T>;
}

/** `dir`: on a tmpfs; made if missing. `hostFiles`: auth.json or config.json of this host; the first that is there counts. */
export async function openAuthFiles(dir: string, hostFiles: readonly string[]): Promise<AuthFiles> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await removeStale(dir, 'own-too');

  async function readHostFile(): Promise<{ readonly path: string; readonly content: unknown } | undefined> {
    for (const path of hostFiles) {
      const text = await readFile(path, 'utf8').catch(() => undefined); // not there: the next one
      if (text !== undefined) return { path, content: parseJson(text) };
    }
    return undefined;
  }

  return {
    async loginsFor(reference, credentials) {
      const host = await readHostFile();
      if (reference.kind === 'archive') return [{ kind: 'host', file: host?.path, isKnown: false }];
      const isKnown = hasCredentialFor(host?.content, reference);
      const ofHost: Login = { kind: 'host', file: host?.path, isKnown };
      const given = matchCredentials(reference, credentials).map(
        (credential): Login => ({ kind: 'given', credential }),
      );
      // As the kubelet: who gave credentials does not want to be let in without.
      return given.length === 0 || isKnown ? [...given, ofHost] : given;
    },
    async use({ login, reference, credentials }, work) {
      if (login.kind === 'host' || reference.kind === 'archive')
        return work(login.kind === 'host' ? login.file : undefined);
      return withFile(async (path) => {
        await writeFile(path, await textFor(reference, login.credential, credentials), { mode: 0o600, flag: 'wx' });
        return work(path);
      });
    },
    withFile,
  };

  async function withFile<T>(work: (path: string) => Promise<T>): Promise<T> {
    const path = join(dir, `${process.pid}-${randomBytes(8).toString('hex')}.json`);
    try {
      return await work(path);
    } finally {
      await rm(path, { force: true });
    }
  }

  async function textFor(
    reference: RegistryReference,
    credential: RegistryCredential,
    others: readonly RegistryCredential[],
  ): Promise<string> {
    return formatAuthFile({ reference, credential, others, hostFile: (await readHostFile())?.content });
  }
}

/**
 * Runs `attempt` with one login after the other until one is not refused. When all are, what the first heard counts: it is
 * what the caller gave.
 */
export async function tryLogins<T>(
  auth: Pick<AuthFiles, 'use'>,
  request: {
    readonly logins: readonly Login[];
    readonly reference: ImageReference;
    readonly credentials: readonly RegistryCredential[];
  },
  attempt: (login: { readonly authFile: string | undefined; readonly isLoggedIn: boolean }) => Promise<T>,
): Promise<T> {
  let refusal: unknown;
  for (const login of request.logins) {
    try {
      const isLoggedIn = login.kind === 'given' || login.isKnown;
      return await auth.use({ ...request, login }, (authFile) => attempt({ authFile, isLoggedIn }));
    } catch (error) {
      const isAnswer = error instanceof ImagePullError || error instanceof RegistryError;
      if (!isAnswer || error.kind !== 'unauthorized') throw error;
      refusal ??= error;
    }
  }
  throw refusal;
}

/** skopeo says what is wrong with a file that is no JSON; here it is as if empty. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
