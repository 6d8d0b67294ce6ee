/**
 * The kinds of fault, one row each: what it can hit, how it is done to the host, and when it counts as healed. Effects.
 * Whatever is hit must do its duty again (soundness.ts); what is more is said in the row.
 */
import { Resolver } from 'node:dns/promises';
import { readlinkSync } from 'node:fs';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Instance, run } from '../instance.ts';
import type { DaemonKeeper } from './daemon-keeper.ts';
import {
  argumentsOf,
  observeCable,
  observeCgroups,
  observeMonitor,
  observeProcesses,
  observeRunning,
  type Run,
  uptimeSeconds,
} from './host-view.ts';
import type { FaultKind } from './plan.ts';
import type { Member } from './roster.ts';
import { findFlaw } from './soundness.ts';
import type { Watcher } from './watcher.ts';

export interface FaultDeps {
  readonly instance: Instance;
  readonly daemon: DaemonKeeper;
  readonly watcher: Watcher;
  readonly residents: readonly Member[];
  /** Where the disk of the data dir is mounted. */
  readonly diskDir: string;
}

/** A fault that was done. */
export interface Injury {
  /** When healing could begin, by performance.now(). */
  readonly atMs: number;
  /** undefined: healed; else what is still wrong. */
  findFlaw(): Promise<string | undefined>;
}

/** Faults of one scope are done one after the other: each container is one, so are network and daemon. */
export type Scope = 'container' | 'network' | 'daemon';

export interface Fault {
  readonly kind: string;
  readonly scope: Scope;
  readonly does: string;
  /** Containers that it can hit; of network and daemon: those that must be well again after it. */
  readonly hits: (member: Member) => boolean;
  inject(input: { readonly target: Member | undefined; readonly lastsMs: number }, deps: FaultDeps): Promise<Injury>;
}

const lives = ({ duty }: Member): boolean => ['serves', 'logs', 'asks', 'idles'].includes(duty.kind);
const serves = ({ duty }: Member): boolean => duty.kind === 'serves';
const logs = ({ duty }: Member): boolean => duty.kind === 'logs';
const isNetworked = ({ duty }: Member): boolean => duty.kind === 'serves' || duty.kind === 'asks';
const isLimited = ({ duty }: Member): boolean => duty.kind === 'idles' && duty.pidsLimit !== undefined;
const all = (): boolean => true;

/** Of a fault that ends the container's process: another one must have come in its place. */
async function onProcess(
  target: Member | undefined,
  deps: FaultDeps,
  harm: (run: Run, containerID: string, monitorPid: number) => Promise<void> | void,
): Promise<Injury> {
  const { member, victim, monitor } = victimOf(target, deps);
  await harm(victim, monitor.id, monitor.pid);
  const sinceSeconds = uptimeSeconds();
  return {
    atMs: performance.now(),
    findFlaw: async () =>
      deps.watcher.runOf(member.name)?.pid === victim.pid
        ? 'it was not started again'
        : await findFlaw(member, deps, sinceSeconds),
  };
}

/** Of a fault that the container's process may survive. */
async function onHost(
  target: Member | undefined,
  deps: FaultDeps,
  harm: (run: Run, containerID: string, monitorPid: number) => Promise<void>,
): Promise<Injury> {
  const { member, victim, monitor } = victimOf(target, deps);
  await harm(victim, monitor.id, monitor.pid);
  const sinceSeconds = uptimeSeconds();
  return { atMs: performance.now(), findFlaw: () => findFlaw(member, deps, sinceSeconds) };
}

function victimOf(target: Member | undefined, { watcher }: FaultDeps) {
  const victim = target === undefined ? undefined : watcher.runOf(target.name);
  const monitor = victim === undefined ? undefined : observeMonitor(victim);
  if (target === undefined || victim === undefined || monitor === undefined)
    throw new Error(`${target?.name ?? 'nobody'} does not run, so the fault has no victim`);
  return { member: target, victim, monitor };
}

/** Of a fault of network or daemon: all that it concerns must be well. */
function onMany(
  isConcerned: (member: Member) => boolean,
  deps: FaultDeps,
  first: () => Promise<string | undefined> | string | undefined = () => undefined,
): Injury {
  const sinceSeconds = uptimeSeconds();
  return {
    atMs: performance.now(),
    findFlaw: async () =>
      (await first()) ?? (await findFlawOfAny(deps.residents.filter(isConcerned), deps, sinceSeconds)),
  };
}

/** The first flaw of any of these, with its name. */
export async function findFlawOfAny(
  members: readonly Member[],
  deps: Pick<FaultDeps, 'instance' | 'watcher'>,
  sinceSeconds = 0,
): Promise<string | undefined> {
  for (const member of members) {
    const flaw = await findFlaw(member, deps, sinceSeconds);
    if (flaw !== undefined) return `${member.name}: ${flaw}`;
  }
  return undefined;
}

/** Throws with what the program said if it fails. */
export async function command(program: string, ...args: readonly string[]): Promise<void> {
  const { code, stderr } = await run(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stderr}`);
}

async function writeState(
  pid: number,
  [v1, v1File, v1Value]: readonly [string, string, string],
  [v2File, v2Value]: readonly [string, string],
): Promise<void> {
  const folders = observeCgroups(pid);
  const folder = folders.get(v1);
  if (folder === undefined) await writeFile(join(folders.get('') ?? '', v2File), v2Value);
  else await writeFile(join(folder, v1File), v1Value);
}

/** Writes until nothing more fits. */
async function fillDisk(dir: string): Promise<string> {
  const path = join(dir, 'filler');
  const { bavail, bsize } = await statfs(dir);
  await run('fallocate', ['-l', String(bavail * bsize), path]);
  await writeFile(join(dir, 'last-blocks'), Buffer.alloc(1_000_000)).catch(() => {}); // no space: as it should be
  return path;
}

/** Who answers to names; undefined while nobody does. */
function resolverPid({ runDir }: Instance): number | undefined {
  const isResolver = (pid: number): boolean => argumentsOf(pid).some((one) => one.includes(`${runDir}/resolver`));
  return observeProcesses().find(({ pid, command }) => command === 'dnsmasq' && isResolver(pid))?.pid;
}

/** Asks the resolver for the address of a server, as a container would. */
async function findNameFlaw({ instance, watcher, residents }: FaultDeps): Promise<string | undefined> {
  const { name } = residents.find(serves) ?? {};
  const address = name === undefined ? undefined : watcher.stored?.get(name)?.podIP;
  if (address === undefined) return `the address of ${name} is not known`;
  const resolver = new Resolver({ timeout: 1_000, tries: 1 });
  resolver.setServers([address.replace(/[0-9]+$/, '1')]);
  const found = await resolver.resolve4(`${name}.default.holdfast.internal`).catch((): string[] => []); // it does not answer yet
  return found.includes(address)
    ? undefined
    : `${name} has the address ${found} for the resolver of ${instance.bridge}`;
}

export const faults: readonly Fault[] = [
  {
    kind: 'process killed',
    scope: 'container',
    does: 'SIGKILL to the first process of a container',
    hits: lives,
    inject: ({ target }, deps) =>
      onProcess(target, deps, ({ pid }) => {
        process.kill(pid, 'SIGKILL');
      }),
  },
  {
    kind: 'monitor killed',
    scope: 'container',
    does: 'SIGKILL to the conmon of a container',
    hits: lives,
    inject: ({ target }, deps) =>
      onHost(target, deps, async (_run, _id, monitorPid) => {
        process.kill(monitorPid, 'SIGKILL');
      }),
  },
  {
    kind: 'deleted with crun',
    scope: 'container',
    does: 'crun delete -f',
    hits: lives,
    inject: async ({ target }, deps) => {
      const ociRoot = join(deps.instance.runDir, 'oci');
      const injury = await onProcess(target, deps, (_run, id) =>
        command('crun', '--root', ociRoot, 'delete', '-f', id),
      );
      const isKnown = async (): Promise<boolean> => {
        const again = target === undefined ? undefined : deps.watcher.runOf(target.name);
        const id = again === undefined ? undefined : observeMonitor(again)?.id;
        return id !== undefined && (await observeRunning(ociRoot)).has(id);
      };
      return {
        ...injury,
        findFlaw: async () =>
          (await injury.findFlaw()) ?? ((await isKnown()) ? undefined : 'crun does not know that it runs'),
      };
    },
  },
  {
    kind: 'bridge deleted',
    scope: 'network',
    does: 'ip link delete of the bridge',
    hits: isNetworked,
    inject: async (_input, deps) => {
      await command('ip', 'link', 'delete', deps.instance.bridge);
      return onMany(isNetworked, deps);
    },
  },
  {
    kind: 'rules flushed',
    scope: 'network',
    does: 'nft flush of the table that publishes ports',
    hits: isNetworked,
    inject: async (_input, deps) => {
      await command('nft', 'flush', 'table', 'ip', `holdfast_${deps.instance.bridge}`);
      return onMany(isNetworked, deps);
    },
  },
  {
    kind: 'rules deleted',
    scope: 'network',
    does: 'nft delete of the table that publishes ports',
    hits: isNetworked,
    inject: async (_input, deps) => {
      await command('nft', 'delete', 'table', 'ip', `holdfast_${deps.instance.bridge}`);
      return onMany(isNetworked, deps);
    },
  },
  {
    kind: 'resolver killed',
    scope: 'network',
    does: 'SIGKILL to the dnsmasq that answers to names',
    hits: isNetworked,
    inject: async (_input, deps) => {
      const pid = resolverPid(deps.instance);
      if (pid === undefined) throw new Error('there is no resolver to kill');
      process.kill(pid, 'SIGKILL');
      return onMany(isNetworked, deps, () =>
        [undefined, pid].includes(resolverPid(deps.instance)) ? 'there is no resolver' : findNameFlaw(deps),
      );
    },
  },
  {
    kind: 'daemon killed',
    scope: 'daemon',
    does: 'SIGKILL to holdfast, which is started again at once',
    hits: all,
    inject: async (_input, deps) => {
      await deps.daemon.kill();
      return onMany(all, deps, () => deps.daemon.findFlaw());
    },
  },
  {
    kind: 'daemon stopped',
    scope: 'daemon',
    does: 'SIGSTOP to holdfast for some seconds; healing counts from SIGCONT',
    hits: all,
    inject: async ({ lastsMs }, deps) => {
      const { pid } = deps.instance;
      process.kill(pid, 'SIGSTOP');
      try {
        await wait(lastsMs);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      return onMany(all, deps, () => deps.daemon.findFlaw());
    },
  },
  {
    kind: 'disk full',
    scope: 'daemon',
    does: 'the disk of the data dir is full for some seconds; healing counts from when it has room again',
    hits: all,
    inject: async ({ lastsMs }, deps) => {
      const path = await fillDisk(deps.diskDir);
      try {
        await wait(lastsMs);
      } finally {
        await rm(path, { force: true });
        await rm(join(deps.diskDir, 'last-blocks'), { force: true });
      }
      return onMany(all, deps, () => deps.daemon.findFlaw());
    },
  },
];

/** Those whose healing is being built. */
export const faultsToCome: readonly Fault[] = [
  {
    kind: 'root unmounted',
    scope: 'container',
    does: 'umount of the overlay of a container',
    hits: lives,
    inject: ({ target }, deps) =>
      onHost(target, deps, async (_run, _id, monitorPid) => {
        await command('umount', '-l', join(readlinkSync(`/proc/${monitorPid}/cwd`), 'rootfs'));
      }),
  },
  {
    kind: 'cable deleted',
    scope: 'container',
    does: 'ip link delete of the host end of the veth of a container',
    hits: serves,
    inject: ({ target }, deps) =>
      onHost(target, deps, async ({ pid }) => {
        const cable = await observeCable(pid);
        if (cable === undefined) throw new Error(`process ${pid} has no cable`);
        await command('ip', 'link', 'delete', cable);
      }),
  },
  {
    kind: 'log removed',
    scope: 'container',
    does: 'rm of the log file of a container',
    hits: logs,
    inject: ({ target }, deps) =>
      onHost(target, deps, async (_run, id) => {
        await rm(join(deps.instance.dataDir, 'containers', id, 'log', 'ctr.log'));
      }),
  },
  {
    kind: 'bundle removed',
    scope: 'container',
    does: 'rm of the config.json of a container',
    hits: lives,
    inject: ({ target }, deps) =>
      onHost(target, deps, async (_run, _id, monitorPid) => {
        await rm(join(readlinkSync(`/proc/${monitorPid}/cwd`), 'config.json'));
      }),
  },
  {
    kind: 'limit changed',
    scope: 'container',
    does: 'another pids.max written into the control group of a container',
    hits: isLimited,
    inject: ({ target }, deps) =>
      onHost(target, deps, ({ pid }) => writeState(pid, ['pids', 'pids.max', '7'], ['pids.max', '7'])),
  },
  {
    kind: 'frozen',
    scope: 'container',
    does: 'the control group of a container frozen',
    hits: lives,
    inject: ({ target }, deps) =>
      onHost(target, deps, ({ pid }) =>
        writeState(pid, ['freezer', 'freezer.state', 'FROZEN'], ['cgroup.freeze', '1']),
      ),
  },
];

/** What a plan is made of, from these faults and this roster. Pure. */
export function kindsOf(chosen: readonly Fault[], residents: readonly Member[]): readonly FaultKind[] {
  return chosen.map(({ kind, scope, hits }) => ({
    kind,
    targets: scope === 'container' ? residents.filter(hits).map(({ name }) => name) : [],
  }));
}
