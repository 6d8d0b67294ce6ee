/** `docker volume`: list, create, inspect, remove, prune. Effects; what the names mean is in volume-rules.ts. */
import { randomBytes } from 'node:crypto';
import { containerIDOf } from '../crds/index.ts';
import { type VolumeInfo, VolumeInUseError } from '../runtime/index.ts';
import { badParameter, conflict, notFound } from './docker-error.ts';
import { type Filters, hasLabelOf, matches, matchesLabels, matchesPattern, parseFilters } from './filters.ts';
import type { Gateway } from './gateway-parts.ts';
import { anonymousLabel } from './mounts-spec.ts';
import { isTrue } from './network-rules.ts';
import { booleanOf, type Call, type Route } from './route.ts';
import { formatVolume, isAnonymous, parseVolumeRequest, runtimeName, shownName, volumesOf } from './volume-rules.ts';

type VolumeDeps = Pick<Gateway, 'runtime' | 'objects' | 'namespace' | 'events'>;

/** From this version of the API on a prune spares volumes that somebody named, unless all are asked for. */
const sparesNamedFrom = 42;

export function volumeRoutes(gateway: VolumeDeps): readonly Route[] {
  return [
    { method: 'GET', path: '/volumes', handle: (call) => list(gateway, call) },
    { method: 'POST', path: '/volumes/create', handle: (call) => create(gateway, call) },
    { method: 'POST', path: '/volumes/prune', handle: (call) => prune(gateway, call) },
    {
      method: 'GET',
      path: '/volumes/{name}',
      handle: async (call) => {
        const volume = await find(gateway, call.params.name ?? '');
        call.json(200, formatVolume(volume, gateway.namespace));
      },
    },
    { method: 'DELETE', path: '/volumes/{name}', handle: (call) => remove(gateway, call) },
  ];
}

/** Throws DockerError. */
async function find({ runtime, namespace }: VolumeDeps, name: string): Promise<VolumeInfo> {
  const own = await runtime.volumes.inspect(runtimeName(name, namespace));
  const found = own ?? (await runtime.volumes.inspect(name));
  if (found === undefined) throw notFound(`get ${name}: no such volume`);
  return found;
}

/** Ids of the containers that have it, whether they were started or not. */
function usersOf({ objects }: VolumeDeps, { name, owner }: VolumeInfo): readonly string[] {
  return objects.list().flatMap((object) => {
    const id = containerIDOf(object);
    return id === owner || volumesOf(object).has(name) ? [id] : [];
  });
}

async function list(gateway: VolumeDeps, call: Call): Promise<void> {
  const filters = parseFilters(call.query, ['dangling', 'driver', 'label', 'name']);
  const wrong = (filters.get('dangling') ?? []).find((value) => !/^(1|0|t|f|true|false)$/i.test(value));
  if (wrong !== undefined) throw badParameter(`Invalid filter 'dangling=[${wrong}]'`);
  const all = await gateway.runtime.volumes.list();
  const chosen = all.filter(
    (volume) =>
      matches(filters, 'dangling', (value) => isTrue(value) === (usersOf(gateway, volume).length === 0)) &&
      matches(filters, 'driver', (value) => value === 'local') &&
      matches(filters, 'name', (value) => matchesPattern(value, shownName(volume, gateway.namespace))) &&
      matchesLabels(filters, volume.labels),
  );
  call.json(200, { Volumes: chosen.map((volume) => formatVolume(volume, gateway.namespace)), Warnings: null });
}

async function create(gateway: VolumeDeps, call: Call): Promise<void> {
  const { runtime, namespace } = gateway;
  const request = parseVolumeRequest(await call.body());
  const name = request.name ?? randomBytes(32).toString('hex');
  const labels = request.name === undefined ? { ...request.labels, [anonymousLabel]: '' } : request.labels;
  const isNew = (await runtime.volumes.inspect(runtimeName(name, namespace))) === undefined;
  const made = await runtime.volumes.create(runtimeName(name, namespace), labels);
  if (isNew) emit(gateway, 'create', name);
  call.json(201, formatVolume(made, namespace));
}

async function remove(gateway: VolumeDeps, call: Call): Promise<void> {
  const { runtime, namespace } = gateway;
  const reference = call.params.name ?? '';
  const isForced = booleanOf(call.query, 'force');
  const volume = await find(gateway, reference).catch((error: unknown) => {
    if (!isForced) throw error;
    return undefined; // as asked for, it is not there
  });
  if (volume === undefined) return call.empty(204);
  const users = usersOf(gateway, volume);
  if (users.length > 0) throw conflict(`remove ${reference}: volume is in use - [${users.join(', ')}]`);
  try {
    await runtime.volumes.remove(volume.name);
  } catch (error) {
    if (!(error instanceof VolumeInUseError)) throw error;
    throw conflict(`remove ${reference}: volume is in use - ${error.message}`);
  }
  emit(gateway, 'destroy', shownName(volume, namespace));
  call.empty(204);
}

async function prune(gateway: VolumeDeps, call: Call): Promise<void> {
  const { runtime, namespace } = gateway;
  const filters = parseFilters(call.query, ['label', 'label!', 'all']);
  const isAll = call.version < sparesNamedFrom || (filters.get('all') ?? []).some(isTrue);
  const sizes = new Map<string, number>();
  for (const volume of await runtime.volumes.list())
    if (isPruned(volume, { filters, isAll, users: usersOf(gateway, volume) }))
      sizes.set(volume.name, await runtime.volumes.usage(volume.name, call.signal));
  const removed = await runtime.volumes.prune(
    (volume) => sizes.has(volume.name) && usersOf(gateway, volume).length === 0,
  );
  const names = removed.map((name) => shownName({ name }, namespace));
  for (const name of names) emit(gateway, 'destroy', name);
  const bytes = removed.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
  call.json(200, { VolumesDeleted: names.length === 0 ? null : names, SpaceReclaimed: bytes });
}

function isPruned(
  volume: VolumeInfo,
  { filters, isAll, users }: { readonly filters: Filters; readonly isAll: boolean; readonly users: readonly string[] },
): boolean {
  if (volume.owner !== undefined || users.length > 0) return false;
  if (!isAll && !isAnonymous(volume)) return false;
  return matchesLabels(filters, volume.labels) && !hasLabelOf(filters, volume.labels);
}

function emit({ events }: VolumeDeps, Action: 'create' | 'destroy', name: string): void {
  events.emit({ Type: 'volume', Action, Actor: { ID: name, Attributes: { driver: 'local' } } });
}
