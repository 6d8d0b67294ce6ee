/** The files under /etc that a container has from us: writes them before a run, and hosts while it runs. Effects. */
import { readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type ContainerEntry, namedAddresses } from './container-entry.ts';
import { formatHosts, formatResolvConf } from './etc-files.ts';
import { giveTo } from './user-namespace.ts';

export interface EtcDeps {
  /** The address at which containers reach the runtime's resolver; undefined: it does not run. */
  resolverAddress(): string | undefined;
}

const resolvConfFiles = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** Of a file of the host; '' if it lacks it. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function hostsText(entry: ContainerEntry): string {
  const { hostname, hosts, namespaces } = entry.record.config;
  const hasHostNetwork = namespaces?.network === 'host';
  const hostFile = hasHostNetwork ? contentOf('/etc/hosts') : undefined;
  return formatHosts({ hostname, addresses: namedAddresses(entry), entries: hosts, hostFile });
}

/** Changes /etc/hosts of a container that has one. */
export async function rewriteHosts(entry: ContainerEntry): Promise<void> {
  await rewrite(entry.paths.hosts, hostsText(entry));
}

/** Changes /etc/resolv.conf of a container that has one. */
export async function rewriteResolvConf(deps: EtcDeps, entry: ContainerEntry): Promise<void> {
  const text = resolvConfText(deps, entry);
  // Before the file: whoever looks whether it was changed behind our back sees that we did.
  entry.resolvConf = text;
  await rewrite(entry.paths.resolvConf, text);
}

/** In place: a running container has this very inode mounted. */
async function rewrite(path: string, content: string): Promise<void> {
  const handle = await open(path, 'r+').catch(() => undefined); // never started: start writes it
  if (handle === undefined) return;
  try {
    const text = Buffer.from(content);
    if (text.equals(await handle.readFile())) return;
    await handle.write(text, 0, text.length, 0);
    await handle.truncate(text.length);
  } finally {
    await handle.close();
  }
}

function resolvConfText(deps: EtcDeps, { record }: ContainerEntry): string {
  const { dns, namespaces } = record.config;
  const hostFiles = resolvConfFiles.map(contentOf);
  return formatResolvConf({
    hostFiles,
    dns,
    // It cannot reach a resolver without a network, and needs none.
    resolver: namespaces?.network === 'none' ? undefined : deps.resolverAddress(),
    hasHostLoopback: namespaces?.network === 'host',
  });
}

/** Before a run. Synchronous: all of it is in memory, and a turn of the thread pool takes longer than each of these. */
export async function writeEtcFiles(deps: EtcDeps, entry: ContainerEntry): Promise<void> {
  const { paths, record } = entry;
  entry.resolvConf = undefined;
  const resolvConf = resolvConfText(deps, entry);
  writeFileSync(paths.hosts, hostsText(entry), { mode: 0o644 });
  writeFileSync(paths.hostname, `${record.config.hostname}\n`, { mode: 0o644 });
  writeFileSync(paths.resolvConf, resolvConf, { mode: 0o644 });
  for (const path of [paths.hosts, paths.hostname, paths.resolvConf]) await giveTo(record.idMap, path);
}
