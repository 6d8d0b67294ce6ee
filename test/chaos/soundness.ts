/**
 * Whether a container does what it is for, seen from outside: by its ports, its log, its ledger, the kernel, and last the
 * controller's own word, which must agree with them. Effects: reads only. Each answer is undefined, or what is wrong.
 */
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import type { Instance } from '../instance.ts';
import { observeCgroups, observeMonitor, observeMounts, type Run, uptimeSeconds } from './host-view.ts';
import type { Member } from './roster.ts';
import type { Watcher } from './watcher.ts';

export interface SoundnessDeps {
  readonly instance: Instance;
  readonly watcher: Watcher;
}

/** What is done over and over was done at least so lately; the longest wait between two times is a second. */
const gapSeconds = 20;

/** `sinceSeconds`: by the host's uptime; what is written over and over must have been written after it. */
export async function findFlaw(
  member: Member,
  { instance, watcher }: SoundnessDeps,
  sinceSeconds = 0,
): Promise<string | undefined> {
  const { name, duty } = member;
  const runs = watcher.runs.filter((run) => run.name === name);
  if (duty.kind === 'rests') return runs.length === 0 ? undefined : 'it runs';
  if (duty.kind === 'finishes') {
    const count = watcher.ledgerLines(name, 'runs').length;
    return count === duty.runs && runs.length === 0 ? undefined : `it ran ${count} times of ${duty.runs}`;
  }
  if (duty.kind === 'crashes') {
    const last = Number(watcher.ledgerLines(name, 'runs').at(-1) ?? 0);
    const isFresh = last > sinceSeconds && uptimeSeconds() - last < gapSeconds;
    return isFresh ? undefined : `it was started last ${Math.round(uptimeSeconds() - last)} s ago`;
  }
  const [runOfIt, ...others] = runs;
  if (runOfIt === undefined || others.length > 0) return `${runs.length} processes`;
  return (
    findHostFlaw(runOfIt, instance) ??
    (await findDutyFlaw(member, { instance, watcher }, sinceSeconds)) ??
    findLimitFlaw(member, runOfIt) ??
    (await findStatusFlaw(runOfIt, instance))
  );
}

function findHostFlaw(run: Run, instance: Instance): string | undefined {
  const monitor = observeMonitor(run);
  if (monitor === undefined) return 'it has no monitor';
  const mounts = observeMounts(monitor.id).filter((path) => path.startsWith(instance.runDir));
  if (!mounts.some((path) => path.endsWith('/rootfs'))) return 'its root is not mounted';
  const frozen = readState(observeCgroups(run.pid), ['freezer', 'freezer.state'], ['', 'cgroup.freeze']);
  return frozen === 'FROZEN' || frozen === '1' ? 'it is frozen' : undefined;
}

async function findDutyFlaw(
  { name, duty }: Member,
  { instance, watcher }: SoundnessDeps,
  sinceSeconds: number,
): Promise<string | undefined> {
  switch (duty.kind) {
    case 'serves': {
      const birth = await fetchText(`http://127.0.0.1:${duty.hostPort}/birth`);
      if (birth === undefined || birth === '') return `port ${duty.hostPort} does not answer`;
      watcher.noteBirth(name, birth);
      return undefined;
    }
    case 'asks': {
      const [at = '0', heard = ''] = watcher.ledgerLines(name, 'heard').at(-1)?.split(' ') ?? [];
      const isFresh = Number(at) > sinceSeconds && uptimeSeconds() - Number(at) < gapSeconds;
      if (!isFresh) return `it heard last of ${duty.server} ${Math.round(uptimeSeconds() - Number(at))} s ago`;
      watcher.noteBirth(duty.server, heard);
      return undefined;
    }
    case 'logs': {
      const log = await instance.containerLog(name, '?tailLines=1').catch(() => '');
      const at = Number(log.split(' ')[0]);
      return at > sinceSeconds && uptimeSeconds() - at < gapSeconds ? undefined : 'its log has nothing new';
    }
    default:
      return undefined;
  }
}

function findLimitFlaw({ duty }: Member, run: Run): string | undefined {
  if (duty.kind !== 'idles' || duty.pidsLimit === undefined) return undefined;
  const limit = readState(observeCgroups(run.pid), ['pids', 'pids.max'], ['', 'pids.max']);
  return limit === String(duty.pidsLimit) ? undefined : `its limit of processes is ${limit}`;
}

async function findStatusFlaw(run: Run, instance: Instance): Promise<string | undefined> {
  const status = (await instance.get(run.name).catch(() => undefined))?.status;
  if (status === undefined) return 'the store does not tell of it';
  if (status.state !== 'Running') return `its status says ${status.state}`;
  return status.pid === run.pid ? undefined : `its status says that it is process ${status.pid}`;
}

/** One file of a control group, whichever version the host has. */
export function readState(
  folders: ReadonlyMap<string, string>,
  [v1, v1File]: readonly [string, string],
  [v2, v2File]: readonly [string, string],
): string | undefined {
  const folder = folders.get(v1);
  const path = folder === undefined ? join(folders.get(v2) ?? '/nonexistent', v2File) : join(folder, v1File);
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return undefined; // it has just ended
  }
}

/** The body of an answer with status 200; undefined if there is none within a second. */
export function fetchText(url: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 1_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(response.statusCode === 200 ? text.trim() : undefined));
      response.on('error', () => resolve(undefined));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
  });
}
