/** Harm to the host that takes more than one command. Effects. */
import { Resolver } from 'node:dns/promises';
import { statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Instance, run } from '../instance.ts';
import { argumentsOf, observeCgroups, observeProcesses } from './host-view.ts';
import type { FaultDeps } from './injuries.ts';

/** Writes one file of the control group of a process, whichever version the host has. */
export async function writeState(
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
export async function fillDisk(dir: string): Promise<string> {
  const path = join(dir, 'filler');
  const { bavail, bsize } = await statfs(dir);
  await run('fallocate', ['-l', String(bavail * bsize), path]);
  await writeFile(join(dir, 'last-blocks'), Buffer.alloc(1_000_000)).catch(() => {}); // no space: as it should be
  return path;
}

/** Who answers to names; undefined while nobody does. */
export function resolverPid({ runDir }: Instance): number | undefined {
  const isResolver = (pid: number): boolean => argumentsOf(pid).some((one) => one.includes(`${runDir}/resolver`));
  return observeProcesses().find(({ pid, command }) => command === 'dnsmasq' && isResolver(pid))?.pid;
}

/** Asks the resolver for the address of a server, as a container would. */
export async function findNameFlaw({ instance, watcher, residents }: FaultDeps): Promise<string | undefined> {
  const { name } = residents.find(({ duty }) => duty.kind === 'serves') ?? {};
  const address = name === undefined ? undefined : watcher.stored?.get(name)?.podIP;
  if (address === undefined) return `the address of ${name} is not known`;
  const resolver = new Resolver({ timeout: 1_000, tries: 1 });
  resolver.setServers([address.replace(/[0-9]+$/, '1')]);
  const found = await resolver.resolve4(`${name}.default.holdfast.internal`).catch((): string[] => []); // it does not answer yet
  return found.includes(address)
    ? undefined
    : `${name} has the address ${found} for the resolver of ${instance.bridge}`;
}
