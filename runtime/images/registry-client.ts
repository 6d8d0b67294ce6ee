/**
 * What a registry is asked for beside pulls: to take an image, to say what it has, to check a user's password. Effects.
 * skopeo does it; a mirror is asked for what it has, and is given nothing (containers-registries.conf(5)).
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Images,
  type PushedImage,
  type RegistryCredential,
  RegistryError,
  type RemoteImage,
  RuntimeOperationError,
} from '../interface.ts';
import { isObject } from '../json.ts';
import { type AuthFiles, tryLogins } from './auth-files.ts';
import { parsePlace } from './credentials.ts';
import { describePlatform } from './image-description.ts';
import { parseRegistryError } from './pull-errors.ts';
import type { RegistryReference } from './reference.ts';
import { runTool, type ToolResult } from './skopeo.ts';
import { hostOptions, storageLocation } from './skopeo-options.ts';

export interface RegistryClientDeps {
  readonly root: string;
  readonly runRoot: string;
  readonly registriesConf: string | undefined;
  readonly hasPolicy: boolean;
  readonly limits: { readonly pullDeadlineMs: number; readonly stallMs: number };
  readonly auth: AuthFiles;
  withScratch<T>(work: (dir: string) => Promise<T>): Promise<T>;
}

type Credentials = readonly RegistryCredential[];

export interface RegistryClient {
  /** `imageID`: without sha256:. */
  push(
    image: { readonly id: string; readonly reference: RegistryReference; readonly credentials: Credentials },
    onLayer: (diffID: string) => void,
    signal: AbortSignal,
  ): Promise<PushedImage>;
  describe(reference: RegistryReference, credentials: Credentials, signal: AbortSignal): Promise<RemoteImage>;
  readonly checkCredential: Images['checkCredential'];
}

/** For a question that is answered with a small document. */
const answerDeadlineMs = 60_000;

export function createRegistryClient(deps: RegistryClientDeps): RegistryClient {
  const { auth, limits } = deps;
  const global = hostOptions(deps);

  /** Asks with each login that there is; `args` gets the options that give it. */
  async function ask(
    reference: RegistryReference,
    { deed, credentials }: { readonly deed: string; readonly credentials: Credentials },
    run: (authFile: string | undefined) => Promise<ToolResult>,
  ): Promise<string> {
    const logins = await auth.loginsFor(reference, credentials);
    return tryLogins(auth, { logins, reference, credentials }, async ({ authFile, isLoggedIn }) => {
      const result = await run(authFile);
      if (result.kind === 'success') return result.stdout;
      throw failure(deed, result, isLoggedIn);
    });
  }

  function inspect(
    reference: RegistryReference,
    request: { readonly deed: string; readonly credentials: Credentials; readonly options: readonly string[] },
    signal: AbortSignal,
  ): Promise<string> {
    return ask(reference, request, (authFile) =>
      runTool({
        command: 'skopeo',
        args: [
          ...[...global, 'inspect', ...request.options],
          ...(authFile === undefined ? [] : ['--authfile', authFile]),
          `docker://${reference.canonical}`,
        ],
        deadlineMs: answerDeadlineMs,
        signal,
        keepsOutput: true,
      }),
    );
  }

  return {
    push: ({ id, reference, credentials }, onLayer, signal) =>
      deps.withScratch(async (scratch) => {
        const digestFile = join(scratch, 'digest');
        const deed = `push image "${reference.canonical}"`;
        await ask(reference, { deed, credentials }, (authFile) =>
          runTool({
            command: 'skopeo',
            args: [
              ...[...global, '--tmpdir', scratch, 'copy', '--digestfile', digestFile],
              ...(authFile === undefined ? [] : ['--dest-authfile', authFile]),
              ...[`containers-storage:${storageLocation(deps)}@${id}`, `docker://${reference.canonical}`],
            ],
            deadlineMs: limits.pullDeadlineMs,
            stallMs: limits.stallMs,
            signal,
            onLine(line) {
              const diffID = /^Copying blob (sha256:[0-9a-f]{64})\b/.exec(line)?.[1];
              if (diffID !== undefined) onLayer(diffID);
            },
          }),
        );
        const digest = (await readFile(digestFile, 'utf8')).trim();
        const { registry, repository } = reference;
        const pushed = { ...reference, digest, canonical: `${registry}/${repository}@${digest}` };
        const options = ['--raw'];
        // It was taken; a registry that then does not answer a question has not refused it.
        const manifest = await inspect(pushed, { deed, credentials, options }, signal).catch(() => undefined);
        signal.throwIfAborted();
        return { digest, sizeBytes: manifest === undefined ? undefined : Buffer.byteLength(manifest) };
      }),
    async describe(reference, credentials, signal) {
      const deed = `ask for image "${reference.canonical}"`;
      const text = await inspect(reference, { deed, credentials, options: ['--raw'] }, signal);
      const remote = parseRemote(text);
      if (remote.platforms !== undefined) return { ...remote, platforms: remote.platforms };
      const config = await inspect(reference, { deed, credentials, options: ['--config', '--raw'] }, signal);
      return { ...remote, platforms: [describePlatform(parseObject(config))] };
    },
    async checkCredential(credential, signal) {
      const { host } = parsePlace(credential.registry);
      const deed = `log in to "${host}"`;
      assertUsable(deed, host, credential);
      await auth.withFile(async (path) => {
        const options = ['--authfile', path, `--username=${credential.username}`, '--password-stdin'];
        const result = await runTool({
          command: 'skopeo',
          args: [...global, 'login', ...options, host],
          input: credential.password,
          deadlineMs: answerDeadlineMs,
          signal,
        });
        if (result.kind !== 'success') throw failure(deed, result, true);
      });
    },
  };
}

/** What would become another argument, or a question on a terminal that is not there. */
function assertUsable(deed: string, host: string, { username, password }: RegistryCredential): void {
  if (!/^[a-z0-9[][a-z0-9.:[\]_-]*$/.test(host)) {
    const what = `"${host.slice(0, 80)}" is not a registry's host[:port]`;
    throw new RegistryError(deed, { kind: 'invalid-name', what, fix: 'write it like registry.example:5000' });
  }
  if (username !== '' && password !== '' && !username.includes('\0')) return;
  const what = 'there is no user name or no password';
  throw new RegistryError(deed, { kind: 'unauthorized', what, fix: 'give both' });
}

/** Pure. `platforms`: undefined when its configuration has to be asked. */
export function parseRemote(text: string): Omit<RemoteImage, 'platforms'> & {
  readonly platforms: RemoteImage['platforms'] | undefined;
} {
  const document = parseObject(text);
  const { mediaType, manifests } = document;
  const list = Array.isArray(manifests) ? manifests.filter(isObject) : undefined;
  return {
    digest: `sha256:${createHash('sha256').update(text).digest('hex')}`,
    mediaType:
      typeof mediaType === 'string'
        ? mediaType
        : `application/vnd.oci.image.${list === undefined ? 'manifest' : 'index'}.v1+json`,
    sizeBytes: Buffer.byteLength(text),
    platforms: list?.flatMap(({ platform }) => (isObject(platform) ? describePlatform(platform) : [])),
  };
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const document: unknown = JSON.parse(text);
    return isObject(document) ? document : {};
  } catch {
    return {}; // longer than any that is one
  }
}

function failure(deed: string, result: Exclude<ToolResult, { kind: 'success' }>, isLoggedIn: boolean): Error {
  if (result.kind === 'missing')
    return new RuntimeOperationError('registry', `${result.program} is not installed on this host; run "make setup"`);
  if (result.kind === 'failed') return parseRegistryError(deed, result.stderr, { isLoggedIn });
  const seconds = Math.round(result.afterMs / 1000);
  const what = result.kind === 'stalled' ? `nothing moved for ${seconds} s` : `it was not done after ${seconds} s`;
  return new RegistryError(deed, { kind: 'unreachable', what, fix: 'check the network and the registry' });
}
