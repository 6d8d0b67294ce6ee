/** Which containers `docker ps` and `docker container prune` mean. Pure. Source: moby daemon/list.go. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { isUp, stateNames, stateOf } from './container-state.ts';
import { createdMs, labelsOf } from './docker-config.ts';
import { badParameter } from './docker-error.ts';
import { type Filters, matches, matchesLabels, matchesPattern } from './filters.ts';
import { imageAsWritten } from './inspect.ts';
import { dockerNameOf } from './names.ts';

export const listFilters = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'is-task',
  'isolation',
  'label',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
];

export interface ListOptions {
  readonly all: boolean;
  /** At most so many, the newest; undefined: all. */
  readonly limit: number | undefined;
  readonly filters: Filters;
}

export interface ListContext {
  readonly namespace: string;
  readonly nowMs: number;
  /** By reference of an image, its id; undefined: there is none. */
  readonly imageIDOf: (reference: string) => string | undefined;
  /** Names and ids of the networks of a container. */
  readonly networksOf: (object: Container) => readonly string[];
  /** Names and paths of its volumes and mounts. */
  readonly volumesOf: (object: Container) => readonly string[];
  readonly find: (reference: string) => Container;
}

/** Newest first. Throws DockerError for a value of a filter that cannot be. */
export function chooseContainers(
  all: readonly Container[],
  options: ListOptions,
  context: ListContext,
): readonly Container[] {
  const { filters, limit } = options;
  const { namespace, nowMs } = context;
  for (const status of filters.get('status') ?? [])
    if (!stateNames.some((name) => name === status)) throw badParameter(`Invalid filter 'status=${status}'`);
  for (const code of filters.get('exited') ?? [])
    if (!/^-?\d{1,9}$/.test(code)) throw badParameter(`Invalid filter 'exited=${code}': give a number`);
  const timeOf = (name: 'before' | 'since'): number | undefined => {
    const reference = filters.get(name)?.[0];
    return reference === undefined ? undefined : createdMs(context.find(reference));
  };
  const [beforeMs, sinceMs] = [timeOf('before'), timeOf('since')];
  // Asked for by state, all states count.
  const isAll = options.all || limit !== undefined || ['status', 'exited'].some((name) => filters.has(name));
  const chosen = newestFirst(all).filter((object) => {
    const state = stateOf(object, nowMs);
    const name = dockerNameOf(object, namespace);
    const { ports = [] } = object.spec;
    return (
      (isAll || isUp(state)) &&
      (beforeMs === undefined || createdMs(object) < beforeMs) &&
      (sinceMs === undefined || createdMs(object) > sinceMs) &&
      matches(filters, 'status', (value) => state.name === value) &&
      matches(filters, 'exited', (value) => state.name === 'exited' && String(state.exitCode) === value) &&
      matches(filters, 'health', (value) => state.health === value) &&
      matches(filters, 'id', (value) => containerIDOf(object).startsWith(value)) &&
      matches(filters, 'name', (value) => matchesPattern(value, name) || matchesPattern(value, `/${name}`)) &&
      matches(filters, 'ancestor', (value) => isOfImage(object, value, context)) &&
      matches(filters, 'is-task', (value) => value === 'false' || value === '0') &&
      matches(filters, 'network', (value) =>
        context
          .networksOf(object)
          .some((one) => one === value || (/^[0-9a-f]{12,}$/.test(value) && one.startsWith(value))),
      ) &&
      matches(filters, 'volume', (value) => context.volumesOf(object).includes(value)) &&
      matches(filters, 'expose', (value) => ports.some((port) => isPort(value, port.containerPort, port.protocol))) &&
      matches(filters, 'publish', (value) =>
        (object.status?.ports ?? []).some(
          (port) => isPort(value, port.containerPort, port.protocol) || isPort(value, port.hostPort, port.protocol),
        ),
      ) &&
      matchesLabels(filters, labelsOf(object))
    );
  });
  return limit === undefined ? chosen : chosen.slice(0, limit);
}

/** One that takes a container over is the one that counts, when its forerunner is still there. */
function newestFirst(all: readonly Container[]): readonly Container[] {
  const byID = new Map<string, Container>();
  for (const object of all) {
    const other = byID.get(containerIDOf(object));
    if (other === undefined || other.metadata.deletionTimestamp !== undefined) byID.set(containerIDOf(object), object);
  }
  return [...byID.values()].toSorted((a, b) => createdMs(b) - createdMs(a));
}

function isOfImage(object: Container, reference: string, { imageIDOf }: ListContext): boolean {
  const id = imageIDOf(reference);
  return imageAsWritten(object) === reference || (id !== undefined && object.status?.imageID === id);
}

/** 80, 80/tcp, 8000-8010/tcp. */
function isPort(wanted: string, port: number, protocol: string): boolean {
  const [, first = '', last = first, kind] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(\w+))?$/.exec(wanted) ?? [];
  return port >= Number(first) && port <= Number(last) && (kind ?? 'tcp').toLowerCase() === protocol.toLowerCase();
}
