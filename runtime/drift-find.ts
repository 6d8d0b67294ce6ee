/** Which kinds of drift the facts of a running container show. Pure; the facts are read by drift-facts.ts. */
import { basename } from 'node:path';
import { canChangeNetwork } from './container-network.ts';
import type { Damage, DriftKind } from './drift.ts';
import type { BindMount, CableFacts, RunFacts, RunMemory } from './drift-facts.ts';
import type { ContainerConfig } from './interface.ts';
import type { ContainerPaths } from './layout.ts';
import type { MountLine } from './remove-tree.ts';

export interface FindInput {
  readonly facts: RunFacts;
  readonly memory: RunMemory;
  readonly paths: ContainerPaths;
  readonly config: Pick<ContainerConfig, 'security' | 'hasStdin' | 'hasTerminal'>;
  readonly bridge: string;
  /** Folder of the volumes that are ours. */
  readonly volumesDir: string;
}

/** One thing to put back. */
export type Finding =
  | { readonly kind: Exclude<DriftKind, 'etc-file' | 'volume-mount' | 'bundle'>; readonly detail: string }
  | { readonly kind: 'bundle'; readonly detail: string; readonly missing: readonly string[] }
  | { readonly kind: 'etc-file'; readonly detail: string; readonly path: string }
  /** outwards: the container has it, and the host has not. */
  | {
      readonly kind: 'volume-mount';
      readonly detail: string;
      readonly bind: BindMount;
      readonly direction: 'inwards' | 'outwards';
    };

/** In the order in which they are to be put back: some need what others bring. */
export function findDrift(input: FindInput): readonly Finding[] {
  const { facts, paths } = input;
  const findings: Finding[] = [];
  const add = (kind: Exclude<DriftKind, 'etc-file' | 'volume-mount' | 'bundle'>, detail: string | undefined): void => {
    if (detail !== undefined) findings.push({ kind, detail });
  };
  // First: the bundle's config.json is copied from it.
  const lostState = [...facts.ociStateCopy].filter((name) => !facts.ociState.has(name));
  if (lostState.length > 0 && holdsState(facts.ociStateCopy)) add('oci-state', lostState.join(', '));
  const missing = missingOfBundle(input);
  if (missing.length > 0) findings.push({ kind: 'bundle', detail: missing.join(', '), missing });
  add('record', facts.home.has(basename(paths.record)) ? undefined : basename(paths.record));
  if (!facts.isRootMounted) add('root-mount', paths.rootfs);
  if (facts.hasNetns === false) add('namespace', 'network');
  if (facts.hasUserNamespace === false) add('namespace', 'user');
  add('cable', cableFault(facts.cable, input));
  const [limit] = facts.limits;
  if (limit !== undefined) add('limits', `${limit.file} was ${limit.seen}, not ${limit.wanted}`);
  findings.push(...findEtc(input), ...findVolumeMounts(input));
  if (!facts.isLogThere) add('log', basename(paths.log));
  return findings;
}

/** What only a restart can give back; undefined: nothing. */
export function findDamage(input: FindInput): Damage | undefined {
  const { facts, memory, paths } = input;
  if (facts.upperInode === undefined || !facts.isWorkThere) {
    return { kind: 'upper-layer', detail: facts.upperInode === undefined ? paths.upper : paths.work };
  }
  if (memory.upperInode !== undefined && memory.upperInode !== facts.upperInode) {
    return { kind: 'upper-layer', detail: `${paths.upper} is another folder` };
  }
  // Also of a run whose record went before it was ever copied.
  if (!holdsState(facts.ociState) && !holdsState(facts.ociStateCopy)) {
    return { kind: 'oci-state', detail: 'status' };
  }
  const { hasStdin, hasTerminal } = input.config;
  const hasStreams = hasStdin === true || hasTerminal === true;
  if (hasStreams && !facts.bundle.has('attach')) return { kind: 'bundle', detail: 'attach' };
  const lost = memory.binds.find(
    ({ source, destination }) =>
      source.startsWith(`${input.volumesDir}/`) && facts.mounts?.get(destination)?.root.endsWith('//deleted') === true,
  );
  return lost === undefined ? undefined : { kind: 'volume', detail: lost.source };
}

/** crun's record of a container is called status, runc's state.json. */
function holdsState(names: ReadonlySet<string>): boolean {
  return names.has('status') || names.has('state.json');
}

function missingOfBundle({ facts, paths }: FindInput): readonly string[] {
  const wanted = [
    ...[paths.ociConfig, paths.pidFile, paths.monitorPidFile, paths.ctl, paths.winsz, paths.process, paths.rootfs],
    ...(facts.hasNetns === undefined ? [] : [paths.network]),
  ];
  return wanted.map((path) => basename(path)).filter((name) => !facts.bundle.has(name));
}

function cableFault(cable: CableFacts | undefined, { bridge, config }: FindInput): string | undefined {
  if (cable === undefined) return undefined;
  if (!cable.isThere) return 'it is gone';
  if (cable.bridge !== bridge) return 'it is not plugged into the bridge';
  if (!cable.isUp) return 'it is switched off';
  // Addresses and routes are its own to change.
  if (canChangeNetwork(config.security)) return undefined;
  return hasDefaultRoute(cable.routes) ? undefined : 'the container has lost its addresses or routes';
}

/** Of /proc/PID/net/route: the table goes with the address, and with the interface when that is switched off. */
function hasDefaultRoute(routes: string): boolean {
  return routes.split('\n').some((line) => /^eth0\t00000000\t/.test(line));
}

/** Mounts are its own to change if it may mount at all. */
function canMount({ config: { security } }: FindInput): boolean {
  return (
    security?.isPrivileged === true ||
    (security?.addCapabilities ?? []).some((name) => /^(ALL|(CAP_)?SYS_ADMIN)$/.test(name))
  );
}

/**
 * The mount at its place; or elsewhere, if a link leads from its place to there, which is seen by what is mounted. Both
 * paths are of one file, each as a file system counts it, so one is the end of the other.
 */
function mountOf(bind: BindMount, { facts: { mounts }, memory }: FindInput): MountLine | undefined {
  const there = mounts?.get(bind.destination);
  if (there !== undefined || mounts === undefined) return there;
  return [...mounts.values()].find(
    ({ root, mountPoint }) =>
      root !== '/' &&
      (bind.source.endsWith(root) || root.endsWith(bind.source)) &&
      !memory.binds.some(({ destination }) => destination === mountPoint),
  );
}

function findEtc(input: FindInput): readonly Finding[] {
  const { facts, memory } = input;
  return [...facts.etc].flatMap(([path, { seen, wanted }]): Finding[] => {
    const bind = memory.binds.find(({ source }) => source === path);
    const mounted = bind === undefined ? undefined : mountOf(bind, input);
    const isCut =
      bind !== undefined &&
      facts.mounts !== undefined &&
      !canMount(input) &&
      (mounted === undefined || mounted.root.endsWith('//deleted'));
    if (seen === wanted && !isCut) return [];
    return [{ kind: 'etc-file', path, detail: `${basename(path)} ${seen === undefined ? 'is gone' : 'is another'}` }];
  });
}

function findVolumeMounts(input: FindInput): readonly Finding[] {
  const { facts, memory } = input;
  const { mounts } = facts;
  if (mounts === undefined) return [];
  return memory.binds.flatMap((bind): Finding[] => {
    if (facts.etc.has(bind.source)) return [];
    const detail = bind.destination;
    const isInside = mountOf(bind, input) !== undefined;
    if (!isInside) return canMount(input) ? [] : [{ kind: 'volume-mount', detail, bind, direction: 'inwards' }];
    return facts.unmounted.has(bind.source) ? [{ kind: 'volume-mount', detail, bind, direction: 'outwards' }] : [];
  });
}
