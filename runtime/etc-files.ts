/** The three files under /etc that a container gets from its host: hosts, hostname, resolv.conf. Pure. */
import type { HostEntry } from './interface.ts';

export interface HostsInput {
  readonly hostname: string;
  /** The container's own address; undefined while it has none. */
  readonly ip: string | undefined;
  readonly entries: readonly HostEntry[];
}

/** /etc/hosts as Docker writes it: localhost, the given entries, the container itself. */
export function formatHosts({ hostname, ip, entries }: HostsInput): string {
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...entries.map((entry) => `${entry.ip}\t${entry.names.join(' ')}`),
    ...(ip === undefined ? [] : [`${ip}\t${hostname}`]),
  ];
  return `${lines.join('\n')}\n`;
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.');
}

function nameserversOf(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const address = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    return address === undefined || isLoopback(address) ? [] : [address];
  });
}

/**
 * resolv.conf for a container: the first of the host's files that names a nameserver which a container can reach
 * (not loopback), with its search and options lines. `candidates` are texts, best first: /etc/resolv.conf and, for
 * hosts whose only nameserver is systemd-resolved's stub, /run/systemd/resolve/resolv.conf.
 */
export function formatResolvConf(candidates: readonly string[]): string {
  const chosen = candidates.find((text) => nameserversOf(text).length > 0) ?? candidates[0] ?? '';
  const kept = chosen.split('\n').filter((line) => /^\s*(search|domain|options)\s/.test(line));
  const lines = [...kept.map((line) => line.trim()), ...nameserversOf(chosen).map((server) => `nameserver ${server}`)];
  return lines.map((line) => `${line}\n`).join('');
}
