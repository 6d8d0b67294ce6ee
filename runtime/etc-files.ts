/** The three files under /etc that a container gets from its host: hosts, hostname, resolv.conf. Pure. */
import type { DnsConfig, HostEntry } from './interface.ts';

export interface HostsInput {
  readonly hostname: string;
  /** The container's own. */
  readonly addresses: readonly string[];
  readonly entries: readonly HostEntry[];
  /** The host's own file, for a container that has its network; else it is not given. */
  readonly hostFile?: string | undefined;
}

const localhost = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/** /etc/hosts as Docker writes it: localhost (or what the host has), the given entries, the container itself. */
export function formatHosts({ hostname, addresses, entries, hostFile }: HostsInput): string {
  const own = addresses.map((ip) => ({ ip, names: [hostname] }));
  const lines = [...entries, ...own].map(({ ip, names }) => `${ip}\t${names.join(' ')}\n`);
  return (hostFile ?? localhost).replace(/\n*$/, '\n') + lines.join('');
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.');
}

/** What a resolv.conf(5) says. */
interface ResolvConf {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

function parseResolvConf(text: string): ResolvConf {
  const lines = text.split('\n').map((line) =>
    line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/),
  );
  const valuesOf = (...keys: string[]): string[][] =>
    lines.flatMap(([key = '', ...values]) => (keys.includes(key) ? [values] : []));
  return {
    servers: valuesOf('nameserver').flatMap(([address]) => address ?? []),
    // The last of these lines counts.
    searches: valuesOf('search', 'domain').at(-1) ?? [],
    options: valuesOf('options').flat(),
  };
}

export interface ResolvConfInput {
  /**
   * The host's files, best first: /etc/resolv.conf and, for hosts whose only nameserver is systemd-resolved's stub,
   * /run/systemd/resolve/resolv.conf.
   */
  readonly hostFiles: readonly string[];
  readonly dns: DnsConfig | undefined;
  /** Address of the runtime's resolver; undefined: there is none, and the container asks the host's. */
  readonly resolver: string | undefined;
  /** Whether the host's loopback is the container's too. */
  readonly hasHostLoopback: boolean;
}

/** /etc/resolv.conf of a container. Source: resolv.conf(5). */
export function formatResolvConf({ hostFiles, dns, resolver, hasHostLoopback }: ResolvConfInput): string {
  const hosts = hostFiles.map((text) => {
    const parsed = parseResolvConf(text);
    return { ...parsed, servers: parsed.servers.filter((address) => hasHostLoopback || !isLoopback(address)) };
  });
  const host = hosts.find(({ servers }) => servers.length > 0) ?? hosts[0];
  const base = baseOf(dns?.base ?? 'resolver', host ?? noResolvConf, resolver);
  const servers = [...new Set([...base.servers, ...(dns?.servers ?? [])])];
  const searches = [...new Set([...(dns?.searches ?? []), ...base.searches])];
  const keyOf = (option: string): string => option.replace(/:.*$/, '');
  const options = new Map([...base.options, ...(dns?.options ?? [])].map((one) => [keyOf(one), one]));
  const lines = [
    ...(searches.length === 0 ? [] : [`search ${searches.join(' ')}`]),
    ...servers.map((server) => `nameserver ${server}`),
    ...(options.size === 0 ? [] : [`options ${[...options.values()].join(' ')}`]),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

const noResolvConf: ResolvConf = { servers: [], searches: [], options: [] };

function baseOf(kind: NonNullable<DnsConfig['base']>, host: ResolvConf, resolver: string | undefined): ResolvConf {
  switch (kind) {
    case 'none':
      return noResolvConf;
    case 'host':
      return host;
    case 'resolver':
      return resolver === undefined ? host : { ...host, servers: [resolver] };
    default:
      throw new TypeError(`unknown base of resolv.conf: ${JSON.stringify(kind satisfies never)}`);
  }
}
