/** Links and dependencies: cycles, and what a link puts into the container that has it. Pure. */
import type { EnvVar, HostEntry, ImageConfig } from '../runtime/index.ts';
import type { Link } from './desired.ts';
import { distinct } from './distinct.ts';

/** What is known of a container that another one links to or depends on. */
export interface Dependency {
  readonly name: string;
  readonly state: 'missing' | 'waiting' | 'running' | 'completed';
  /** Start of its present run, or of its last. */
  readonly runMs?: number | undefined;
  /** While it runs; undefined: started and ready, as nothing else is asked of it. */
  readonly health?: { readonly isStarted: boolean; readonly isReady: boolean; readonly message: string } | undefined;
  /** How its last run ended, in words, where that was no success. */
  readonly ending?: string | undefined;
  readonly ip?: string | undefined;
  /** If its names stand for that too. */
  readonly ip6?: string | undefined;
  readonly hostname?: string | undefined;
  /** Ports it declares beyond those its image exposes. */
  readonly ports: readonly { readonly port: number; readonly protocol: 'tcp' | 'udp' }[];
  /** Its own environment as its spec gives it. */
  readonly env: readonly EnvVar[];
  readonly imageConfig?: ImageConfig | undefined;
}

/**
 * A cycle that `start` is part of, as a path that ends where it began (a, b, a); undefined if it is in none.
 * `dependenciesOf` gives the names a container depends on; unknown names have none.
 */
export function findCycle(
  start: string,
  dependenciesOf: (name: string) => readonly string[],
): readonly string[] | undefined {
  /** Who led to a name first. */
  const from = new Map<string, string>();
  const open = [start];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const next of dependenciesOf(name)) {
      if (next === start) {
        const path = [start];
        for (let at: string | undefined = name; at !== undefined && at !== start; at = from.get(at)) path.unshift(at);
        return [start, ...path];
      }
      if (from.has(next)) continue;
      from.set(next, name);
      open.push(next);
    }
  }
  return undefined;
}

/** /etc/hosts lines of the links whose targets have an address: alias, name and host name; IPv4 before IPv6. */
export function linkHosts(links: readonly Link[], dependencies: readonly Dependency[]): HostEntry[] {
  return links.flatMap(({ name, alias }) => {
    const target = dependencies.find((one) => one.name === name);
    if (target?.ip === undefined) return [];
    const names = distinct([alias, name, target.hostname ?? name]);
    return [{ ip: target.ip, names }, ...(target.ip6 === undefined ? [] : [{ ip: target.ip6, names }])];
  });
}

/**
 * The environment variables of links. Source: Docker's documentation "Legacy container links" (ALIAS_NAME, ALIAS_PORT,
 * ALIAS_PORT_n_PROTO and its _ADDR, _PORT, _PROTO, ALIAS_ENV_name; HOME and PATH of the target are left out).
 */
export function linkEnv(containerName: string, links: readonly Link[], dependencies: readonly Dependency[]): EnvVar[] {
  return links.flatMap(({ name, alias }) => {
    const target = dependencies.find((one) => one.name === name);
    if (target?.ip === undefined) return [];
    const { ip } = target;
    const prefix = alias.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_');
    const ports = portsOf(target);
    const first = ports[0];
    const url = (port: (typeof ports)[number]): string => `${port.protocol}://${ip}:${port.port}`;
    const imageEnv = (target.imageConfig?.env ?? []).map((line): EnvVar => {
      const at = line.indexOf('=');
      return at === -1 ? { name: line, value: '' } : { name: line.slice(0, at), value: line.slice(at + 1) };
    });
    const env = new Map([...imageEnv, ...target.env].map((one) => [one.name, one.value]));
    return [
      { name: `${prefix}_NAME`, value: `/${containerName}/${alias}` },
      ...(first === undefined ? [] : [{ name: `${prefix}_PORT`, value: url(first) }]),
      ...ports.flatMap((port): EnvVar[] => {
        const key = `${prefix}_PORT_${port.port}_${port.protocol.toUpperCase()}`;
        return [
          { name: key, value: url(port) },
          { name: `${key}_ADDR`, value: ip },
          { name: `${key}_PORT`, value: String(port.port) },
          { name: `${key}_PROTO`, value: port.protocol },
        ];
      }),
      ...[...env]
        .filter(([key]) => key !== 'HOME' && key !== 'PATH')
        .map(([key, value]) => ({ name: `${prefix}_ENV_${key}`, value })),
    ];
  });
}

function portsOf({ ports, imageConfig }: Dependency): { port: number; protocol: 'tcp' | 'udp' }[] {
  const exposed = (imageConfig?.exposedPorts ?? []).flatMap((text) => {
    const match = /^([0-9]+)(?:\/(tcp|udp))?$/.exec(text);
    return match === null
      ? []
      : [{ port: Number(match[1]), protocol: match[2] === 'udp' ? ('udp' as const) : ('tcp' as const) }];
  });
  const all = new Map([...exposed, ...ports].map((port) => [`${port.port}/${port.protocol}`, port]));
  return [...all.values()].sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1));
}
