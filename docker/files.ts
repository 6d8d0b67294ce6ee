/** `docker cp`, `docker export` and `docker diff`: the files of a container, running or not. Effects. */
import { pipeline } from 'node:stream/promises';
import { type Container, containerIDOf } from '../crds/index.ts';
import { ArchiveError, type ArchiveStat } from '../runtime/index.ts';
import { badParameter, conflict, DockerError, notFound } from './docker-error.ts';
import { booleanOf, type Call, type Route } from './route.ts';
import { prepared, type StreamDeps, tell, toDockerError } from './stream-deps.ts';

export function fileRoutes(deps: StreamDeps): readonly Route[] {
  const path = '/containers/{id}/archive';
  return [
    { method: 'HEAD', path, handle: (call) => giveStat(deps, call) },
    { method: 'GET', path, handle: (call) => giveArchive(deps, call) },
    { method: 'PUT', path, handle: (call) => takeArchive(deps, call) },
    { method: 'GET', path: '/containers/{id}/export', handle: (call) => giveRoot(deps, call) },
    { method: 'GET', path: '/containers/{id}/changes', handle: (call) => giveChanges(deps, call) },
  ];
}

interface Asked {
  readonly object: Container;
  readonly id: string;
  /** As the client wrote it, for messages. */
  readonly reference: string;
}

/** Throws DockerError: there is none, or the host has nothing of it yet. */
async function ask(deps: StreamDeps, call: Call): Promise<Asked> {
  const reference = call.params.id ?? '';
  const object = deps.find(reference);
  if ((await prepared(deps, object, call.signal)) === undefined) {
    throw conflict(`Container ${containerIDOf(object)} has no files on this host yet; start it first`);
  }
  return { object, id: containerIDOf(object), reference };
}

/** Absolute, as the container's root sees it. Throws DockerError. */
function pathOf({ query }: Call): string {
  const path = query.get('path') ?? '';
  if (path === '') throw badParameter('bad parameter: path cannot be empty');
  if (path.includes('\0')) throw badParameter('bad parameter: path holds a NUL byte');
  return path.startsWith('/') ? path : `/${path}`;
}

async function giveStat(deps: StreamDeps, call: Call): Promise<void> {
  const path = pathOf(call);
  const asked = await ask(deps, call);
  try {
    const { stat, stream } = await deps.runtime.containers.readArchive(asked.id, path, call.signal);
    stream.destroy();
    call.empty(200, statHeader(stat));
  } catch (error) {
    throw explain(error, asked, path);
  }
}

async function giveArchive(deps: StreamDeps, call: Call): Promise<void> {
  const path = pathOf(call);
  const asked = await ask(deps, call);
  try {
    const { stat, stream } = await deps.runtime.containers.readArchive(asked.id, path, call.signal);
    const out = call.stream(200, { 'Content-Type': 'application/x-tar', ...statHeader(stat) });
    tell(deps, asked.object, 'archive-path');
    await pipeline(stream, out);
  } catch (error) {
    throw explain(error, asked, path);
  }
}

async function takeArchive(deps: StreamDeps, call: Call): Promise<void> {
  const path = pathOf(call);
  const asked = await ask(deps, call);
  const isStrict = booleanOf(call.query, 'noOverwriteDirNonDir');
  try {
    await deps.runtime.containers.writeArchive(asked.id, path, call.input, { isStrict }, call.signal);
  } catch (error) {
    throw explain(error, asked, path);
  }
  tell(deps, asked.object, 'extract-to-dir');
  call.empty(200);
}

async function giveRoot(deps: StreamDeps, call: Call): Promise<void> {
  const asked = await ask(deps, call);
  try {
    const stream = await deps.runtime.containers.exportRoot(asked.id, call.signal);
    tell(deps, asked.object, 'export');
    await pipeline(stream, call.stream(200, { 'Content-Type': 'application/octet-stream' }));
  } catch (error) {
    throw explain(error, asked, '/');
  }
}

/** Source: Engine API, ContainerChanges. */
const changeKinds = { changed: 0, added: 1, deleted: 2 } as const;

async function giveChanges(deps: StreamDeps, call: Call): Promise<void> {
  const asked = await ask(deps, call);
  try {
    const changes = await deps.runtime.containers.changes(asked.id, call.signal);
    call.json(
      200,
      changes.map(({ path, kind }) => ({ Path: path, Kind: changeKinds[kind] })),
    );
  } catch (error) {
    throw explain(error, asked, '/');
  }
}

/** Bits of Go's os.FileMode, beside the permissions. */
const goMode = {
  folder: 2 ** 31,
  link: 2 ** 27,
  other: 2 ** 19,
  file: 0,
  setuid: 2 ** 23,
  setgid: 2 ** 22,
  sticky: 2 ** 20,
};

export function goModeOf({ kind, mode }: Pick<ArchiveStat, 'kind' | 'mode'>): number {
  return (
    goMode[kind] +
    (mode & 0o777) +
    (mode & 0o4000 ? goMode.setuid : 0) +
    (mode & 0o2000 ? goMode.setgid : 0) +
    (mode & 0o1000 ? goMode.sticky : 0)
  );
}

function statHeader(stat: ArchiveStat): Readonly<Record<string, string>> {
  const { name, sizeBytes, mtimeMs, linkTarget = '', resolvedTarget = linkTarget } = stat;
  const shown = {
    name,
    size: sizeBytes,
    mode: goModeOf(stat),
    mtime: new Date(mtimeMs).toISOString(),
    linkTarget: resolvedTarget,
  };
  return { 'X-Docker-Container-Path-Stat': Buffer.from(JSON.stringify(shown)).toString('base64') };
}

/** Texts: moby daemon/errors.go, daemon/archive.go. */
function explain(error: unknown, { object, reference }: Asked, path: string): unknown {
  if (!(error instanceof ArchiveError)) return toDockerError(error, object);
  const { kind, message } = error;
  switch (kind) {
    case 'not-found':
      return notFound(`Could not find the file ${path} in container ${reference}`);
    case 'read-only':
      return new DockerError(403, `container rootfs is marked read-only: ${message}`, { cause: error });
    case 'no-space':
      return new DockerError(500, message, { cause: error });
    case 'conflict':
    case 'invalid':
      return badParameter(message);
    default:
      throw new TypeError(`unknown kind: ${JSON.stringify(kind satisfies never)}`);
  }
}
