/**
 * Whose are a run dir and a bridge? Each says so itself: the run dir by a file, the bridge by its alias, which lives and
 * dies with it. Both name a data dir and the random id kept there, so a mark whose data dir is gone or was made anew
 * binds nobody, and it does not matter how the owner ended. Effects; formatAlias and parseAlias are pure.
 */
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { chmod, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { readJsonObject } from './atomic-file.ts';
import { InstanceConflictError } from './interface.ts';
import type { Layout } from './layout.ts';

/** One Holdfast on this host. */
export interface Instance {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /** The real path. */
  readonly dataDir: string;
}

/** What a mark says. */
export interface Owner {
  readonly id: string;
  /** undefined: too long to be written there. */
  readonly dataDir: string | undefined;
}

const idPattern = /^[0-9a-f]{32}$/;
/** IFALIASZ of linux/if_link.h, without the final NUL. */
const maxAliasBytes = 255;

function idFileOf(dataDir: string): string {
  return join(dataDir, 'instance-id');
}

function readID(dataDir: string): string | undefined {
  try {
    const text = readFileSync(idFileOf(dataDir), 'latin1').trim();
    return idPattern.test(text) ? text : undefined;
  } catch {
    return undefined; // no such folder or file: no instance
  }
}

/** The instance of a data dir, which is made if it is missing. */
export async function openInstance(dataDir: string, randomHex: (bytes: number) => string): Promise<Instance> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const real = realpathSync(dataDir);
  const known = readID(real);
  if (known !== undefined) return { id: known, dataDir: real };
  const id = randomHex(16);
  await putInPlace(idFileOf(real), `${id}\n`);
  return { id, dataDir: real };
}

/** The instance of a data dir; undefined if none was ever opened there. */
export function findInstance(dataDir: string): Instance | undefined {
  const id = readID(dataDir);
  return id === undefined ? undefined : { id, dataDir: realpathSync(dataDir) };
}

/** Whether the owner is another instance that still is there. A data dir that moved, or was made anew, is no other. */
function isOther(owner: Owner, instance: Instance | undefined): boolean {
  if (owner.dataDir === undefined) return owner.id !== instance?.id;
  return owner.dataDir !== instance?.dataDir && readID(owner.dataDir) === owner.id;
}

export function formatAlias({ id, dataDir }: Instance): string {
  const whole = `holdfast ${id} ${dataDir}`;
  // The kernel cuts off at a line's end, and sysfs takes no more than its size.
  return Buffer.byteLength(whole) > maxAliasBytes || whole.includes('\n') ? `holdfast ${id}` : whole;
}

/** undefined: not one of ours. */
export function parseAlias(text: string): Owner | undefined {
  const match = /^holdfast ([0-9a-f]{32})(?: (\/.*))?$/.exec(text.replace(/\n$/, ''));
  return match?.[1] === undefined ? undefined : { id: match[1], dataDir: match[2] };
}

/** Whose a bridge is, 'nobody' if it has no mark of ours; undefined if there is none. */
export function observeBridgeOwner(bridge: string): Owner | 'nobody' | undefined {
  try {
    return parseAlias(readFileSync(`/sys/class/net/${bridge}/ifalias`, 'utf8')) ?? 'nobody';
  } catch {
    return undefined; // it is not there
  }
}

/** Throws InstanceConflictError if the bridge is another instance's, or nobody's and not made for our gateway. */
export function checkBridge(bridge: string, instance: Instance | undefined, gateway?: string): void {
  const owner = observeBridgeOwner(bridge);
  if (owner === undefined) return;
  if (owner !== 'nobody') {
    if (isOther(owner, instance)) throw new InstanceConflictError('bridge', bridge, owner.dataDir);
    return;
  }
  if (gateway === undefined) return;
  // One that we were killed while making has no address yet, one of an older version has ours.
  const addresses = (networkInterfaces()[bridge] ?? []).filter((one) => one.family === 'IPv4');
  if (addresses.length > 0 && !addresses.some((one) => one.address === gateway)) {
    throw new InstanceConflictError('bridge', bridge, undefined);
  }
}

/** Says on the bridge itself whose it is. Throws InstanceConflictError if it is another instance's. */
export function markBridge(bridge: string, instance: Instance): void {
  checkBridge(bridge, instance);
  writeFileSync(`/sys/class/net/${bridge}/ifalias`, formatAlias(instance));
}

/** Throws InstanceConflictError if the run dir is another instance's. Makes nothing. */
export async function checkRunDir(layout: Layout, instance: Instance | undefined, bootID: string): Promise<void> {
  const owner = await readOwner(layout.owner);
  if (owner === undefined || !isOther(owner, instance)) return;
  const markedAt = await readFile(layout.bootID, 'utf8').catch(() => bootID); // not written yet: of this boot
  if (markedAt === bootID) throw new InstanceConflictError('run dir', layout.runDir, owner.dataDir);
}

/** Makes the run dir ours. Throws InstanceConflictError. */
export async function claimRunDir(layout: Layout, instance: Instance, bootID: string): Promise<void> {
  await checkRunDir(layout, instance, bootID);
  // The resolver, which gives up root, must get to its files; what is not for it has a mode of its own.
  await mkdir(layout.runDir, { recursive: true, mode: 0o711 });
  await chmod(layout.runDir, 0o711);
  const text = JSON.stringify(instance);
  const draft = `${layout.owner}.${instance.id}.new`;
  await writeFile(draft, text, { mode: 0o600 });
  try {
    // Two that start at the same time: link gives it to one.
    await link(draft, layout.owner);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // fs rejects with nothing else
    await checkRunDir(layout, instance, bootID);
    await rename(draft, layout.owner);
  } finally {
    await rm(draft, { force: true });
  }
}

async function readOwner(path: string): Promise<Owner | undefined> {
  const json = await readJsonObject(path);
  return typeof json?.id === 'string' && typeof json.dataDir === 'string'
    ? { id: json.id, dataDir: json.dataDir }
    : undefined;
}

async function putInPlace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}
