/**
 * The leak check of all suites: nothing of an instance stays on the host after a suite. Suites may run side by side, so
 * only what belongs to the instance counts: below its folders, or named after its bridge.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** What a suite calls its own. */
export interface OwnedHost {
  readonly bridge: string;
  /** Absolute. */
  readonly dataDir: string;
  readonly runDir: string;
}

/** Something on the host that one can leave behind. */
interface Thing {
  /** Its kind and its name. */
  readonly text: string;
  belongsTo(owned: OwnedHost): boolean;
}

export interface HostSnapshot {
  readonly things: readonly Thing[];
}

function isBelow(path: string, { dataDir, runDir }: OwnedHost): boolean {
  return [dataDir, runDir].some((dir) => path === dir || path.startsWith(`${dir}/`));
}

function mounts(): Thing[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? [])
    .map((path) => ({ text: `mount ${path}`, belongsTo: (owned) => isBelow(path, owned) }));
}

/** undefined: it is plugged into nothing, or has gone since it was listed. */
function readMaster(name: string): string | undefined {
  try {
    return basename(readlinkSync(join('/sys/class/net', name, 'master')));
  } catch {
    return undefined;
  }
}

/** Bridges, and the host ends of cables that are plugged into them. */
function interfaces(): Thing[] {
  return readdirSync('/sys/class/net').map((name) => {
    const master = readMaster(name) ?? name;
    return { text: `interface ${name}`, belongsTo: ({ bridge }) => master === bridge };
  });
}

function linesOf(command: string, args: readonly string[]): string[] {
  const { stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return (stdout ?? '').split('\n').filter((line) => line !== '');
}

function rules(): Thing[] {
  const tables = linesOf('nft', ['list', 'tables']).map(
    (line): Thing => ({ text: `nft ${line}`, belongsTo: ({ bridge }) => line.endsWith(` holdfast_${bridge}`) }),
  );
  const chains = linesOf('iptables', ['-w', '5', '-S']).map(
    (line): Thing => ({ text: `iptables ${line}`, belongsTo: ({ bridge }) => line.split(' ').includes(bridge) }),
  );
  return [...tables, ...chains];
}

function cgroups(): Thing[] {
  const root = '/sys/fs/cgroup';
  const below = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const folders = [root, ...below.map((entry) => join(root, entry.name))];
  return folders.flatMap((folder) => {
    const names = readdirSync(folder).filter((name) => name.startsWith('holdfast-'));
    return names.map((name) => ({
      text: `cgroup ${join(folder, name)}`,
      belongsTo: ({ bridge }: OwnedHost) => name === `holdfast-${bridge}`,
    }));
  });
}

/** Monitors and whatever else names one of the folders on its command line; helpers that are children of ours. */
function processes(): Thing[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^[0-9]+$/.test(pid) || Number(pid) === process.pid) return [];
    try {
      const args = readFileSync(join('/proc', pid, 'cmdline'), 'utf8').split(/[\0 ]/);
      const stat = readFileSync(join('/proc', pid, 'stat'), 'utf8');
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z') return [];
      const isOurHelper = /^holdfast-(syscalls|relay|archive)$/.test(args[0] ?? '') && Number(parent) === process.pid;
      return [
        {
          text: `process ${pid} ${args.slice(0, 3).join(' ')}`,
          belongsTo: (owned: OwnedHost) =>
            isOurHelper || args.some((arg) => isBelow(arg.replace(/^[a-z0-9]+-file:|^--[a-z-]+=/, ''), owned)),
        },
      ];
    } catch {
      return []; // it ended while we looked
    }
  });
}

/** What is on the host now. */
export async function snapshotHost(): Promise<HostSnapshot> {
  return { things: [mounts, interfaces, rules, cgroups, processes].flatMap((look) => look()) };
}

/** Waits until nothing of the instance is there that was not there before; fails naming what stays. */
export async function assertNoLeaks(before: HostSnapshot, owned: OwnedHost, deadlineMs = 90_000): Promise<void> {
  const known = new Set(before.things.map((thing) => thing.text));
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const { things } = await snapshotHost();
    const leaked = things.filter((thing) => !known.has(thing.text) && thing.belongsTo(owned));
    if (leaked.length === 0) return;
    if (performance.now() > endMs) {
      assert.fail(`left on the host:\n  ${leaked.map((thing) => thing.text).join('\n  ')}`);
    }
    await wait(20);
  }
}
