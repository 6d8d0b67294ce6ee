/**
 * Entering a container without the OCI runtime: whether that can be, and the arguments of relay.pl's "join". Pure.
 * `crun exec` takes 24 to 28 ms, most of them to load itself twice; a relay that is there already takes 5 (2026-11).
 */
import { knownCapabilities } from './capabilities.ts';
import type { OciProcess } from './exec-process.ts';
import { isObject, type Json } from './json.ts';
import type { ProcessIdentity } from './proc.ts';

export interface JoinInput {
  /** The first process of the container. */
  readonly init: ProcessIdentity;
  readonly process: OciProcess;
  readonly hasStdin: boolean;
  /** cgroup.procs of the container in every hierarchy. */
  readonly cgroupFiles: readonly string[];
  /** The filter as the kernel takes it; undefined: the container has none. */
  readonly seccompFile: string | undefined;
}

/** Members of `process` that join carries out. Another one is left to the OCI runtime. */
const knownMembers: readonly string[] = [
  ...['terminal', 'consoleSize', 'user', 'args', 'env', 'cwd', 'capabilities', 'rlimits', 'noNewPrivileges'],
  'oomScoreAdj',
];
const knownUserMembers: readonly string[] = ['uid', 'gid', 'umask', 'additionalGids'];

/** Numbers of RLIMIT_… of x86_64 and arm64. Source: linux/include/uapi/asm-generic/resource.h. */
const rlimitNumbers: Readonly<Record<string, number>> = {
  ...{ CPU: 0, FSIZE: 1, DATA: 2, STACK: 3, CORE: 4, RSS: 5, NPROC: 6, NOFILE: 7, MEMLOCK: 8, AS: 9, LOCKS: 10 },
  ...{ SIGPENDING: 11, MSGQUEUE: 12, NICE: 13, RTPRIO: 14, RTTIME: 15 },
};

/** All but that of users, which changes who we are. */
const namespaces: readonly string[] = ['pid', 'ipc', 'uts', 'net', 'cgroup', 'mnt'];

/** Whether a config.json of ours asks for a filter, compiled or as a profile. */
export function hasSeccompFilter(config: Json | undefined): boolean {
  const { linux, annotations } = config ?? {};
  const hasProfile = isObject(linux) && linux.seccomp !== undefined;
  return hasProfile || (isObject(annotations) && annotations['run.oci.seccomp_bpf_data'] !== undefined);
}

/** undefined: something in it is not known here, so that the OCI runtime has to do it. */
export function formatJoin(input: JoinInput): readonly string[] | undefined {
  const { init, process, hasStdin, cgroupFiles, seccompFile } = input;
  const { user, capabilities, rlimits = [], args, env, cwd, noNewPrivileges, oomScoreAdj = 0 } = process;
  if (process.terminal === true || typeof cwd !== 'string' || !isTexts(args) || !Array.isArray(rlimits))
    return undefined;
  if (Object.keys(process).some((name) => !knownMembers.includes(name))) return undefined;
  if (Object.keys(user).some((name) => !knownUserMembers.includes(name))) return undefined;
  const limits = rlimits.map(formatRlimit);
  const { additionalGids = [], umask = 0o022 } = user;
  if (!isDefined(limits) || !Array.isArray(additionalGids) || capabilities === undefined) return undefined;
  const masks = (['bounding', 'effective', 'permitted', 'inheritable', 'ambient'] as const).map((name) =>
    capabilityMask(capabilities[name]),
  );
  if (!isDefined(masks)) return undefined;
  const list = (words: readonly unknown[]): string[] => [String(words.length), ...words.map(String)];
  return [
    ...['join', String(init.pid), String(init.startTicks), hasStdin ? '1' : '0', String(oomScoreAdj)],
    ...[String(user.uid), String(user.gid), String(umask), ...masks],
    ...[noNewPrivileges === true ? '1' : '0', seccompFile ?? '', cwd],
    ...[additionalGids, limits, namespaces, cgroupFiles, env, args].flatMap(list),
  ];
}

/**
 * cgroup.procs of each hierarchy for a new process. On version 2 a container may have put itself below the cgroup that
 * it was given, which then takes no process: where its first process is counts.
 */
export function joinedCgroupFiles(
  dirs: readonly string[],
  input: { readonly kind: 'v1' | 'v2'; readonly path: string; readonly initCgroup: string },
): readonly string[] {
  const { kind, path, initCgroup } = input;
  const own = /^0::(.*)$/m.exec(initCgroup)?.[1];
  const below = kind === 'v2' && own?.startsWith(`${path}/`) === true ? own.slice(path.length) : '';
  return dirs.map((dir) => `${dir}${below}/cgroup.procs`);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isDefined<T>(values: readonly (T | undefined)[]): values is readonly T[] {
  return !values.includes(undefined);
}

/** "NUMBER:SOFT:HARD"; "no limit" is a number that only JSON writes right. */
function formatRlimit(limit: unknown): string | undefined {
  if (!isObject(limit) || typeof limit.type !== 'string') return undefined;
  const number = rlimitNumbers[limit.type.replace(/^RLIMIT_/, '')];
  return number === undefined ? undefined : [number, JSON.stringify(limit.soft), JSON.stringify(limit.hard)].join(':');
}

/** Hexadecimal, as in /proc/PID/status. */
function capabilityMask(names: unknown = []): string | undefined {
  if (!isTexts(names)) return undefined;
  let mask = 0n;
  for (const name of names) {
    const bit = knownCapabilities.indexOf(name);
    if (bit < 0) return undefined;
    mask |= 1n << BigInt(bit);
  }
  return mask.toString(16);
}
