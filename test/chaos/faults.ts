/**
 * The kinds of fault, one row each: what it can hit, how it is done to the host, and when it counts as healed. Effects.
 * Whatever is hit must do its duty again (soundness.ts); what is more is said in the row.
 */
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fillDisk, findNameFlaw, resolverPid, writeState } from './host-harm.ts';
import { observeCable } from './host-view.ts';
import {
  command,
  type FaultDeps,
  hasFile,
  type Injury,
  isKnownToCrun,
  ociRootOf,
  onHost,
  onMany,
  onProcess,
} from './injuries.ts';
import type { FaultKind } from './plan.ts';
import type { Member } from './roster.ts';

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
/** Also what is written into it meanwhile. */
const wholly = { recursive: true, maxRetries: 10, retryDelay: 50 } as const;

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
      onHost(target, deps, ({ parentPid }) => {
        process.kill(parentPid, 'SIGKILL');
      }),
  },
  {
    kind: 'deleted with crun',
    scope: 'container',
    does: 'crun delete -f',
    hits: lives,
    inject: ({ target }, deps) =>
      onProcess(
        target,
        deps,
        // It fails at the folder of its state if the daemon has been quicker to put that away than crun itself.
        ({ pid }, id) =>
          command('crun', '--root', ociRootOf(deps), 'delete', '-f', id).catch((error: unknown) => {
            if (existsSync(`/proc/${pid}`)) throw error;
          }),
        isKnownToCrun,
      ),
  },
  {
    kind: "crun's record removed",
    scope: 'container',
    does: 'rm -r of the folder in which crun keeps the state of a container',
    hits: lives,
    inject: ({ target }, deps) =>
      onHost(target, deps, (_run, id) => rm(join(ociRootOf(deps), id), wholly), isKnownToCrun),
  },
  {
    kind: 'bundle removed',
    scope: 'container',
    does: 'umount of the root and rm -r of the bundle of a container',
    hits: lives,
    inject: ({ target }, deps) =>
      onHost(
        target,
        deps,
        async (_run, id) => {
          await command('umount', '-l', join(bundleOf(deps, id), 'rootfs'));
          await rm(bundleOf(deps, id), wholly);
        },
        hasFile((id) => join(bundleOf(deps, id), 'config.json')),
      ),
  },
  {
    kind: 'record removed',
    scope: 'container',
    does: 'rm of the record on disk that says what a container is',
    hits: lives,
    inject: ({ target }, deps) => {
      const recordOf = (id: string): string => join(deps.instance.dataDir, 'containers', id, 'record.json');
      return onHost(target, deps, (_run, id) => rm(recordOf(id)), hasFile(recordOf));
    },
  },
  {
    kind: 'root unmounted',
    scope: 'container',
    does: 'umount of the overlay of a container',
    hits: lives,
    inject: ({ target }, deps) =>
      onHost(target, deps, (_run, id) => command('umount', '-l', join(bundleOf(deps, id), 'rootfs'))),
  },
  {
    kind: 'upper layer removed',
    scope: 'container',
    does: 'rm -r of the folder that holds what a container changed of its image',
    hits: lives,
    inject: ({ target }, deps) =>
      onProcess(target, deps, (_run, id) => rm(join(deps.instance.dataDir, 'containers', id, 'upper'), wholly)),
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
    does: 'rm -r of the log folder of a container',
    hits: logs,
    inject: ({ target }, deps) =>
      onHost(target, deps, (_run, id) => rm(join(deps.instance.dataDir, 'containers', id, 'log'), wholly)),
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
    kind: 'forwarding off',
    scope: 'network',
    does: '0 written into route_localnet of the bridge',
    hits: isNetworked,
    inject: async (_input, deps) => {
      const setting = `/proc/sys/net/ipv4/conf/${deps.instance.bridge}/route_localnet`;
      await writeFile(setting, '0');
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

function bundleOf({ instance }: FaultDeps, id: string): string {
  return join(instance.runDir, 'containers', id);
}

/** What a plan is made of, from these faults and this roster. Pure. */
export function kindsOf(chosen: readonly Fault[], residents: readonly Member[]): readonly FaultKind[] {
  return chosen.map(({ kind, scope, hits }) => ({
    kind,
    targets: scope === 'container' ? residents.filter(hits).map(({ name }) => name) : [],
  }));
}
