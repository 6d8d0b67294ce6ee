/**
 * `holdfast held`: what the store has lost and this host keeps running all the same; and what to do about it: put the objects
 * back into the store, or say that their deletion is wanted. Effects.
 */
import { join } from 'node:path';
import { type ApiAccess, ApiError, callApi } from '../client/index.ts';
import { type HeldObject, readHeld, readRememberedSources, writeConfirmations } from '../controller/index.ts';
import { apiVersion, type Container, formatRenamedFrom, plural, renamedFromAnnotation } from '../crds/index.ts';
import { findInstance } from './instance-lock.ts';

/** The command cannot be carried out; the message says why and what to do. */
export class HeldError extends Error {
  override readonly name = 'HeldError';
}

export type HeldAction = 'list' | 'restore' | 'confirm';

/** Throws HeldError. Pure. */
export function parseHeldArgs(args: readonly string[]): {
  readonly action: HeldAction;
  readonly rest: readonly string[];
} {
  const [first, ...rest] = args;
  if (first === undefined || first.startsWith('-')) return { action: 'list', rest: args };
  if (first === 'list' || first === 'restore' || first === 'confirm') return { action: first, rest };
  throw new HeldError(`holdfast held ${first}: there is no such action; use list, restore or confirm`);
}

export interface HeldDeps {
  readonly dataDir: string;
  /** To the store; only for restore. */
  readonly access: () => Promise<ApiAccess>;
  readonly say: (line: string) => void;
  /** How long the daemon may take to follow. */
  readonly deadlineMs?: number | undefined;
}

/** In the data dir. */
export const checkpointDirOf = (dataDir: string): string => join(dataDir, 'controller');
const followDeadlineMs = 30_000;
const pollMs = 100;

export async function runHeld(action: HeldAction, deps: HeldDeps): Promise<void> {
  const { dataDir, say } = deps;
  const dir = checkpointDirOf(dataDir);
  const all = await readHeld(dir);
  if (all.length === 0) return say('nothing is held: the store has an object for every container');
  for (const { key, because, sinceMs } of all.map(({ held }) => held))
    say(`${key}\theld since ${new Date(sinceMs).toISOString()}\t${because}`);
  switch (action) {
    case 'list':
      say('These run on, though the store has no objects for them. To put the objects back: holdfast held restore.');
      say('To end the containers, since their deletion is wanted: holdfast held confirm.');
      return;
    case 'restore':
      await restore(dir, all, await deps.access(), say);
      return;
    case 'confirm': {
      const uids = all.map(({ held }) => held.uid);
      await writeConfirmations(dir, uids);
      if ((await findInstance(dataDir)) === undefined)
        return say('confirmed; no daemon works on this data dir, so the next one that starts ends them');
      const endMs = Date.now() + (deps.deadlineMs ?? followDeadlineMs);
      while ((await readHeld(dir)).some(({ held }) => uids.includes(held.uid))) {
        if (Date.now() > endMs)
          throw new HeldError('the daemon has not followed yet; it does with its next look at the host, see its log');
        await new Promise((resolve) => setTimeout(resolve, pollMs));
      }
      say('confirmed; the containers end now');
      return;
    }
    default:
      throw new TypeError(`unknown action: ${JSON.stringify(action satisfies never)}`);
  }
}

/** Objects of the same names, each of which says whose container it takes over: the containers run on. */
async function restore(
  dir: string,
  all: readonly HeldObject[],
  access: ApiAccess,
  say: (line: string) => void,
): Promise<void> {
  const failed: string[] = [];
  const namespaces = new Set(all.map(({ held: { key } }) => key.split('/', 1)[0] ?? ''));
  const create = async (what: string, path: string, body: unknown): Promise<void> => {
    try {
      await callApi(access, { method: 'POST', path, body, signal: new AbortController().signal });
      say(`restored ${what}`);
    } catch (error) {
      // An answer is about the one object, and the others can do without it.
      if (!(error instanceof ApiError)) throw error;
      if (error.reason === 'AlreadyExists') return;
      failed.push(what);
      say(`not restored: ${what}: ${error.message}`);
    }
  };
  for (const name of namespaces)
    await create(`namespace ${name}`, '/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
    });
  for (const { kind, namespace, name, path, body } of await readRememberedSources(dir))
    if (namespaces.has(namespace)) await create(`${kind.toLowerCase()} ${namespace}/${name}`, path, body);
  for (const { held, object } of all) {
    if (object === undefined) {
      say(`${held.key}: what was asked for is not known; apply its document, and it takes the container over`);
      continue;
    }
    const path = `/apis/${apiVersion}/namespaces/${object.metadata.namespace}/${plural}`;
    await create(`container ${held.key}`, path, formatRestored(object));
  }
  if (failed.length > 0)
    throw new HeldError(
      `${failed.join(', ')} could not be restored, as said above; mend that and run the same again, or apply the documents`,
    );
}

/** Pure. */
export function formatRestored(object: Container): object {
  const { name, namespace, labels, annotations } = object.metadata;
  return {
    apiVersion,
    kind: 'Container',
    metadata: {
      name,
      namespace,
      labels,
      annotations: { ...annotations, [renamedFromAnnotation]: formatRenamedFrom(object) },
    },
    spec: object.spec,
  };
}
