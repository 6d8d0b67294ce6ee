/** What the containers' resolver (dnsmasq) is told: names and addresses, what it may ask others, how it runs. Pure. */
import { resolverDomain } from './interface.ts';

/** A container's names below the resolver's domain, and its addresses while it runs. */
export interface NameRecord {
  readonly names: readonly string[];
  readonly addresses: readonly string[];
}

/** Lower-case labels of letters, digits and inner dashes or underscores, with dots between. Nothing else may enter a file. */
export function isDnsName(text: string): boolean {
  return (
    text.length <= 200 && /^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*$/.test(text)
  );
}

/**
 * The hosts file: each name below the domain, and by itself for programs that do not use resolv.conf's search list. The
 * full name comes first, so it is the answer to a reverse query.
 */
export function formatNames(records: Iterable<NameRecord>): string {
  return [...records]
    .filter(({ names }) => names.length > 0)
    .flatMap(({ names, addresses }) => {
      const all = [...names.map((name) => `${name}.${resolverDomain}`), ...names.filter((name) => name.includes('.'))];
      return addresses.map((address) => `${address} ${all.join(' ')}\n`);
    })
    .sort()
    .join('');
}

/** Names that are answered from the hosts file alone, so that one whose container is stopped is not asked for elsewhere. */
export function formatLocalNames(records: Iterable<NameRecord>): string {
  const names = [...records].flatMap((record) => record.names.filter((name) => name.includes('.')));
  return [...new Set(names)]
    .sort()
    .map((name) => `server=/${name}/\n`)
    .join('');
}

export interface ResolverFiles {
  readonly names: string;
  readonly localNames: string;
}

/** The program's arguments. `isUnprivileged`: it may give up root, since others than root can reach its files. */
export function resolverArgs(input: {
  readonly bridge: string;
  readonly files: ResolverFiles;
  readonly isUnprivileged: boolean;
}): readonly string[] {
  return [
    '--conf-file=/dev/null',
    '--keep-in-foreground',
    '--pid-file=',
    // After it began it logs nothing: each change of a name would be a line.
    '--log-facility=/dev/null',
    // Listens on the bridge's addresses whenever there is one, also when it is made again.
    `--interface=${input.bridge}`,
    '--except-interface=lo',
    '--bind-dynamic',
    '--no-hosts',
    `--addn-hosts=${input.files.names}`,
    `--servers-file=${input.files.localNames}`,
    // It asks as the host does, a stub on the host's loopback too, and follows changes of this file.
    '--resolv-file=/etc/resolv.conf',
    `--local=/${resolverDomain}/`,
    '--domain-needed',
    '--dns-loop-detect',
    '--dns-forward-max=1000',
    '--cache-size=1000',
    // The largest packet that no network has to break up. Source: DNS flag day 2020.
    '--edns-packet-max=1232',
    ...(input.isUnprivileged ? ['--user=dnsmasq', '--group=nogroup'] : ['--user=root', '--group=root']),
  ];
}
