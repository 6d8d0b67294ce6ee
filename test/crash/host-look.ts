/**
 * All that a runtime has on its host, as text that is the same for the same state: files, mounts, processes, rules,
 * cgroups. What a crash left behind shows as a line too many. Effects: reads.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type OwnedHost, snapshotHost } from '../leaks.ts';
import { normalise, type Places } from './step-hook.ts';

/** Contents of which are the containers' own, or the image store's, or a cache. */
const closed = new Set(['rootfs', 'upper', 'work', 'data', 'diff', 'l', 'dir']);
/** Kept from one container to the next, or for a while after a session. */
const caches = new Set(['seccomp-filters', 'layers', 'sessions']);
/** Of the image store: made at first use, and kept. And a copy that is made when the container is next looked at. */
const kept =
  /\.lock$|^holdfast-(?:usage|archives)\.json$|^(?:images|layers|containers|volatile-layers|mountpoints)\.json$|^oci-state$/;
/** Helpers of the program that looks; the parent of all cgroups, which is made in good time and stays. */
const notCounted = /^process [0-9]+ holdfast-(?:syscalls|relay|archive)|^cgroup /;
const deadlineMs = 60_000;
/** A network that is kept ready: until it is there, the host is not at rest. */
const readyNetwork = 'RUN/netns-pool/n*.json';

function walk(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (kept.test(entry.name)) return [];
    if (caches.has(entry.name)) return readdirSync(path).filter((name) => name.endsWith('.new'));
    return entry.isDirectory() && !closed.has(entry.name) ? [path, ...walk(path)] : [path];
  });
}

function cgroupsOf(bridge: string): string[] {
  const root = '/sys/fs/cgroup';
  const parents = [root, ...readdirSync(root).map((name) => join(root, name))].map((dir) =>
    join(dir, `holdfast-${bridge}`),
  );
  return parents
    .filter(existsSync)
    .flatMap((dir) =>
      readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [join(dir, entry.name)] : [],
      ),
    );
}

/** Within a millisecond or two. */
function lookAtFiles(owned: OwnedHost, places: Places): string[] {
  const paths = [...[owned.dataDir, owned.runDir].flatMap(walk), ...cgroupsOf(owned.bridge)];
  return paths.map((path) => normalise(path, places)).sort();
}

/** Starts programs, and holds up all else meanwhile. */
async function lookAtRest(owned: OwnedHost, places: Places): Promise<string[]> {
  const { things } = await snapshotHost();
  const ours = things.filter((thing) => thing.belongsTo(owned) && !notCounted.test(thing.text));
  const table = `holdfast_${owned.bridge}`;
  const { stdout } = spawnSync('nft', [`list table ip ${table}; list table ip6 ${table}`], { encoding: 'utf8' });
  const rules = stdout.split('\n').map((rule) => `rule ${rule.trim()}`);
  return [...ours.map((thing) => thing.text), ...rules].map((text) => normalise(text, places)).sort();
}

function difference(a: readonly string[], b: readonly string[]): string[] {
  const rest = [...b];
  return a.filter((text) => {
    const index = rest.indexOf(text);
    if (index >= 0) rest.splice(index, 1);
    return index < 0;
  });
}

export interface HostLook {
  readonly files: readonly string[];
  readonly rest: readonly string[];
}

/** What the host shows; waits until it is as wanted, and throws with the difference if it is not in time. */
export async function observeHost(
  owned: OwnedHost,
  { places, wanted }: { readonly places: Places; readonly wanted?: HostLook | undefined },
): Promise<HostLook> {
  const isAtRest = (seen: readonly string[]): boolean =>
    !seen.some((text) => text.endsWith('.new')) && seen.filter((text) => text === readyNetwork).length === 1;
  const files = await settled(async () => lookAtFiles(owned, places), wanted?.files, isAtRest);
  return {
    files,
    rest: await settled(
      () => lookAtRest(owned, places),
      wanted?.rest,
      () => true,
    ),
  };
}

/** Without a wish: what two looks in a row agree on. */
async function settled(
  look: () => Promise<readonly string[]>,
  wanted: readonly string[] | undefined,
  isAtRest: (seen: readonly string[]) => boolean,
): Promise<readonly string[]> {
  const endMs = performance.now() + deadlineMs;
  let before: readonly string[] | undefined;
  for (;;) {
    const seen = await look();
    const goal = wanted ?? (isAtRest(seen) ? before : undefined);
    const tooMany = difference(seen, goal ?? []);
    const missing = difference(goal ?? [], seen);
    if (goal !== undefined && tooMany.length === 0 && missing.length === 0) return seen;
    if (performance.now() > endMs) {
      const list = (texts: readonly string[]): string => texts.map((text) => `\n  ${text}`).join('');
      throw new Error(
        `the host does not get to look as it should; too many:${list(tooMany)}\nmissing:${list(missing)}`,
      );
    }
    before = seen;
    // Others in this program have their turn; without a wish, what is under way has the time to end.
    await wait(wanted === undefined ? 150 : 25);
  }
}
