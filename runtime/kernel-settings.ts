/**
 * Kernel parameters (sysctl) and limits of a process (ulimit) that a container may set. Pure.
 * Source: moby's daemon/daemon_unix.go (verifyPlatformContainerSettings), Kubernetes' sysctl allow-list, setrlimit(2).
 */
import { ContainerConfigError, type NamespaceConfig, type Ulimit } from './interface.ts';

declare global {
  interface JSON {
    /** ECMAScript 2026, in Node since 22: a number that is written as this text. */
    rawJSON(text: string): object;
  }
}

const ulimitNames: readonly string[] = [
  ...['as', 'core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss', 'rtprio'],
  ...['rttime', 'sigpending', 'stack'],
];

/** process.rlimits of an OCI configuration. */
export interface Rlimit {
  readonly type: string;
  readonly soft: number | object;
  readonly hard: number | object;
}

/** RLIM_INFINITY, which is no safe integer of ours. */
const unlimited = JSON.rawJSON('18446744073709551615');

/** No core dumps unless they are asked for: a crashing program would fill its layer with them. Stricter than Docker. */
const defaultUlimits: readonly Ulimit[] = [{ name: 'core', soft: 0, hard: 0 }];

/** Throws ContainerConfigError for a name that is none, given twice, or a soft limit above the hard one. */
export function formatRlimits(ulimits: readonly Ulimit[]): readonly Rlimit[] {
  const field = 'security.ulimits';
  const limits = new Map(defaultUlimits.map((one) => [one.name, one]));
  const seen = new Set<string>();
  for (const one of ulimits) {
    const { name, soft, hard } = one;
    if (!ulimitNames.includes(name)) {
      throw new ContainerConfigError(
        field,
        `"${name}" is not a limit of a process; use one of ${ulimitNames.join(', ')}`,
      );
    }
    if (seen.has(name)) throw new ContainerConfigError(field, `"${name}" is given twice; give it once`);
    if (![soft, hard].every((value) => Number.isSafeInteger(value) && value >= -1)) {
      throw new ContainerConfigError(field, `${name} has ${soft}:${hard}; use whole numbers, or -1 for no limit`);
    }
    if (hard !== -1 && (soft === -1 || soft > hard)) {
      throw new ContainerConfigError(
        field,
        `the soft limit ${soft} of ${name} is above the hard one, ${hard}; lower it`,
      );
    }
    seen.add(name);
    limits.set(name, one);
  }
  const value = (limit: number): number | object => (limit === -1 ? unlimited : limit);
  return [...limits.values()].map(({ name, soft, hard }) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft: value(soft),
    hard: value(hard),
  }));
}

const ipcSysctls = ['kernel.msgmax', 'kernel.msgmnb', 'kernel.msgmni', 'kernel.sem'];
const ipcPrefixes = ['kernel.shm', 'fs.mqueue.'];

/** Docker's: any user may ping and bind low ports, which are the container's own. A group that is not mapped cannot be named. */
function defaultSysctls(namespaces: NamespaceConfig): Readonly<Record<string, string>> {
  if (namespaces.network === 'host') return {};
  return {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': namespaces.user === 'mapped' ? '0 65535' : '0 2147483647',
  };
}

/**
 * linux.sysctl of an OCI configuration. Only what belongs to a namespace of the container may be set.
 * Throws ContainerConfigError naming the parameter.
 */
export function formatSysctls(
  sysctls: Readonly<Record<string, string>>,
  namespaces: NamespaceConfig,
): Readonly<Record<string, string>> {
  const own: Record<string, string> = {};
  for (const [written, value] of Object.entries(sysctls)) {
    // sysctl(8) takes both kinds of separators.
    const name = written.includes('/') && !written.includes('.') ? written.replaceAll('/', '.') : written;
    const refuse = (why: string): never => {
      throw new ContainerConfigError('security.sysctls', `${written} ${why}`);
    };
    if (!/^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$/.test(name))
      refuse('is not a kernel parameter; write it like net.core.somaxconn');
    if (/[\0\n]/.test(value)) refuse('has a value with a line break or NUL; give one line');
    const isIpc = ipcSysctls.includes(name) || ipcPrefixes.some((prefix) => name.startsWith(prefix));
    if (name.startsWith('net.')) {
      if (namespaces.network === 'host') {
        refuse('would change the network of the host; take away the one or the host network');
      }
    } else if (isIpc) {
      if (namespaces.ipc === 'host') refuse('would change IPC of the host; take away the one or the host IPC');
    } else {
      refuse(
        "counts for the whole host; only net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.* are a container's own",
      );
    }
    own[name] = value;
  }
  return { ...defaultSysctls(namespaces), ...own };
}
