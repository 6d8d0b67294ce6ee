/**
 * Takes everything of one instance off the host: containers, network namespaces, bridge, rules, cgroups, mounts. Images
 * and volumes stay. It touches nothing that is not below the instance's folders or named after its bridge.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { readJsonObject, removeDrafts } from './atomic-file.ts';
import { cgroupDirs, parseCgroupLayout, removeCgroup } from './cgroups.ts';
import { runCommand, runSuccessfully } from './command.ts';
import { closeFirewall } from './host-firewall.ts';
import { checkBridge, checkRunDir, findInstance } from './instance.ts';
import { RuntimeOperationError } from './interface.ts';
import { createLayout, type LayoutInput } from './layout.ts';
import { findMonitor, findOciRuntime } from './oci-runtime.ts';
import { parseRunProcesses } from './record.ts';
import { mountsBelow, removeTree } from './remove-tree.ts';
import { endResolvers } from './resolver.ts';
import { endRun } from './run.ts';
import { Syscalls } from './syscalls.ts';

export interface HostStateDeps extends LayoutInput {
  readonly log: Logger;
}

const deadlineMs = 20_000;

/**
 * For `holdfast down`, when no runtime of the instance is open. Throws InstanceConflictError at once if run dir or
 * bridge are another instance's. Goes on past what fails and throws RuntimeOperationError at the end, naming all that
 * stayed; calling it again tries again.
 */
export async function removeHostState(deps: HostStateDeps): Promise<void> {
  const { log } = deps;
  const layout = createLayout(deps);
  const instance = findInstance(layout.dataDir);
  await checkRunDir(layout, instance, (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim());
  checkBridge(layout.bridge, instance);
  const problems: string[] = [];
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      log.error({ err: error, what }, 'a part of the host state could not be removed');
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const cgroups = parseCgroupLayout(await readFile('/proc/self/mountinfo', 'utf8'));
  const syscalls = new Syscalls();
  try {
    const ids = new Set<string>();
    for (const dir of [layout.bundles, layout.ociRoot, ...cgroupDirs(cgroups, layout.cgroupParent)]) {
      for (const name of await readdir(dir).catch(() => []))
        if (/^[0-9a-f]{64}(-[0-9a-f]{16})?$/.test(name)) ids.add(name); // no such folder: nobody
    }
    if (ids.size > 0) {
      const [runtime, conmon] = await Promise.all([findOciRuntime(cgroups.kind, log), findMonitor()]);
      const runDeps = { layout, cgroups, runtime, conmon: conmon.path, syscalls, nowMs: Date.now, log };
      for (const id of ids) {
        await attempt(`container ${id.slice(0, 12)}`, async () => {
          await endRun(runDeps, id, parseRunProcesses(await readJsonObject(layout.container(id).process)));
        });
      }
    }
    for (const folder of [layout.runDir, layout.dataDir].map((dir) => resolve(dir))) {
      for (const path of mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), folder)) {
        // What somebody mounted in a volume is theirs, and volumes stay.
        if (path.startsWith(`${resolve(layout.volumes)}/`)) continue;
        await attempt(`mount ${path}`, () => syscalls.unmount(path));
      }
    }
    await attempt('resolver', () => endResolvers(layout, syscalls));
    await attempt('network', () => removeNetwork(layout.bridge, layout.nftTable));
    await attempt('cgroup', async () => {
      if (await removeCgroup(cgroups, layout.cgroupParent, 5_000)) return;
      throw new RuntimeOperationError('teardown', `the cgroup ${layout.cgroupParent} stays busy`);
    });
    const runFolders = [layout.bundles, layout.ociRoot, layout.exits, layout.netns, layout.pool, layout.addresses];
    const gone = [
      ...runFolders,
      layout.sessions,
      layout.shortLinks,
      layout.volumesRun,
      layout.resolver.dir,
      layout.seccompCache,
      layout.containers,
      layout.trash,
      layout.bootID,
    ];
    for (const path of gone) await attempt(`folder ${path}`, () => removeTree(path));
    await attempt('drafts', () => removeDrafts(layout.runDir));
    // What stayed is still ours.
    if (problems.length === 0) await attempt('owner', () => rm(layout.owner, { force: true }));
  } finally {
    syscalls.close();
  }
  if (problems.length > 0) throw new RuntimeOperationError('teardown', problems.join('; '));
}

async function removeNetwork(bridge: string, nftTable: string): Promise<void> {
  const bridgeDir = `/sys/class/net/${bridge}`;
  if (existsSync(bridgeDir)) {
    // Cables of namespaces whose mounts are gone go with them, but only in a while.
    const cables = await readdir(join(bridgeDir, 'brif'));
    const lines = [...cables, bridge].map((name) => `link delete ${name}`);
    await runCommand('teardown', ['ip', '-force', '-batch', '-'], { deadlineMs, input: lines.join('\n') });
    if (existsSync(bridgeDir)) throw new RuntimeOperationError('teardown', `the bridge ${bridge} cannot be deleted`);
  }
  const tables = await runCommand('teardown', ['nft', 'list', 'tables'], { deadlineMs });
  for (const family of ['ip', 'ip6', 'bridge', 'inet'] as const) {
    if (!tables.stdout.split('\n').includes(`table ${family} ${nftTable}`)) continue;
    await runSuccessfully('teardown', ['nft', 'delete', 'table', family, nftTable], { deadlineMs });
  }
  await closeFirewall(bridge);
}
