/** The daemon's configuration: flags, then environment, then the config file, then defaults. Parsing is pure. */
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ImageCollectionPolicy, parseDurationMs, type StartPolicy } from '../controller/index.ts';
import type { AuditLevel } from '../store/index.ts';

export interface Config {
  /** Survives a reboot: objects, keys, images, layers, logs. */
  readonly dataDir: string;
  /** Gone after a reboot: mounts, sockets, process state. */
  readonly runDir: string;
  readonly listen: Address;
  readonly metricsListen: Address;
  readonly bridge: string;
  readonly subnet: string;
  /** IPv6, or off; undefined: one that only this instance has. */
  readonly subnet6?: string | undefined;
  readonly nodeName: string;
  readonly logLevel: (typeof logLevels)[number];
  /** A file of containers-registries.conf(5); undefined: the host's own. */
  readonly registriesConf?: string | undefined;
  /** This host's credentials for registries, in the form of ~/.docker/config.json; the first file that is there counts. */
  readonly authFiles: readonly string[];
  /** Keys that the store encrypts Secrets with on disk; undefined: secrets.key in the data dir. */
  readonly secretsKeyFile?: string | undefined;
  /** When unused images are removed. */
  readonly imageCollection: ImageCollectionPolicy;
  /** How many containers start at once, and how spread over time after a boot. */
  readonly startPolicy: StartPolicy;
  /** What the store notes of who did what. */
  readonly audit: { readonly level: AuditLevel; readonly maxFileBytes: number; readonly maxBackups: number };
  /** Only for `holdfast controller`. */
  readonly kubeconfig?: string | undefined;
  /** Only for `holdfast controller`: where it serves the streams of this host's containers; undefined: nowhere. */
  readonly streamsListen?: Address | undefined;
  /** Where the Docker Engine API is served; undefined: nowhere. */
  readonly docker:
    | {
        readonly socket: string;
        readonly group: string | undefined;
        readonly namespace: string;
        /** The socket was named; `holdfast controller` serves none unasked, since its rights seldom suffice. */
        readonly isAsked: boolean;
      }
    | undefined;
  /** A folder of spec documents to apply at the first start of this data dir. */
  readonly apply?: string | undefined;
  /** Show what happens on the terminal; the log goes to a file in the data dir. */
  readonly isLive: boolean;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Something the user wrote cannot be; the message names it and the fix. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

interface Option {
  readonly fallback?: string;
  readonly value: string;
  readonly help: string;
}

/** Every setting: a flag --KEY, a key KEY of the config file, and HOLDFAST_KEY in the environment. */
export const options: Readonly<Record<string, Option>> = {
  'data-dir': {
    value: 'DIR',
    fallback: '/var/lib/holdfast',
    help: 'what survives a reboot: objects, keys, images, layers, logs',
  },
  'run-dir': {
    value: 'DIR',
    fallback: '/run/holdfast',
    help: 'what does not: mounts, sockets, process state; on a tmpfs',
  },
  listen: { value: 'HOST:PORT', fallback: '127.0.0.1:7443', help: 'where the store serves the Kubernetes API (HTTPS)' },
  'metrics-listen': {
    value: 'HOST:PORT',
    fallback: '127.0.0.1:7444',
    help: 'where /metrics, /healthz and /readyz answer (HTTP)',
  },
  bridge: { value: 'NAME', fallback: 'hf0', help: "the containers' network bridge" },
  subnet: { value: 'CIDR', fallback: '10.76.0.0/16', help: "the containers' IPv4 addresses" },
  subnet6: {
    value: 'CIDR|off',
    help: "the containers' IPv6 addresses; by default a subnet of unique local ones, derived from the data dir's id",
  },
  'node-name': { value: 'NAME', help: 'the name of this host in status and events; the host name by default' },
  'log-level': { value: 'LEVEL', fallback: 'info', help: logLevels.join(', ') },
  'registries-conf': {
    value: 'FILE',
    help: 'a containers-registries.conf(5) file with mirrors and insecure registries',
  },
  'auth-file': {
    value: 'FILE',
    help: "this host's credentials for registries, as containers-auth.json(5) and docker login write them; by default $REGISTRY_AUTH_FILE, /etc/holdfast/auth.json, /run/containers/UID/auth.json or ~/.docker/config.json",
  },
  'secrets-key-file': {
    value: 'FILE',
    help: 'keys that the store encrypts Secrets with on its disk; made if it is not there (DATA-DIR/secrets.key)',
  },
  'image-minimum-gc-age': { value: 'TIME', fallback: '2m', help: 'an unused image is kept at least so long' },
  'image-maximum-gc-age': {
    value: 'TIME',
    fallback: '0s',
    help: 'an image that was not used for so long is removed; 0s: only when space is needed',
  },
  'image-gc-high-threshold': {
    value: 'PERCENT',
    fallback: '85',
    help: 'unused images are removed when the disk is as full as this; 100: never',
  },
  'image-gc-low-threshold': { value: 'PERCENT', fallback: '80', help: '… until it is only as full as this' },
  'max-concurrent-starts': {
    value: 'COUNT',
    fallback: '8',
    help: 'containers that start at the same time; others wait for their turn',
  },
  'boot-jitter': {
    value: 'TIME',
    fallback: '1s',
    help: 'what ran when the host went down starts within this time, each container at a moment of its own',
  },
  'audit-log': {
    value: 'LEVEL',
    fallback: 'writes',
    help: 'what DATA-DIR/audit/audit.log has: off; writes (and what was refused); reads as well; all: also those of hosts',
  },
  'audit-log-maxsize': { value: 'MEGABYTES', fallback: '16', help: 'size at which the audit log is rotated' },
  'audit-log-maxbackup': { value: 'COUNT', fallback: '4', help: 'rotated audit logs that are kept' },
  kubeconfig: { value: 'FILE', help: 'of the API server that `holdfast controller` follows' },
  'streams-listen': {
    value: 'HOST:PORT',
    help: 'where `holdfast controller` serves logs, exec, attach and port-forward (HTTPS); not at all by default',
  },
  'docker-socket': {
    value: 'PATH',
    help: "where docker's clients connect (RUN-DIR/docker.sock; `holdfast controller`: nowhere unless asked); off: nowhere",
  },
  'docker-group': {
    value: 'GROUP',
    help: 'who may use that socket beside root, and so rule this host; by default nobody',
  },
  'docker-namespace': { value: 'NAME', fallback: 'default', help: 'Kubernetes namespace of what docker creates' },
  apply: { value: 'DIR', help: 'spec documents to apply when the data dir is used for the first time' },
  config: { value: 'FILE', help: 'a YAML file with these settings as keys, such as `data-dir: /srv/holdfast`' },
};

export interface Sources {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  /** Reads and parses the config file. Throws ConfigError. */
  readonly readFile: (path: string) => Readonly<Record<string, unknown>>;
}

/** Throws ConfigError that names the flag, variable or key. */
export function parseConfig({ args, env, hostname, readFile }: Sources): Config {
  const flags = parseFlags(args);
  const envName = (key: string): string => `HOLDFAST_${key.toUpperCase().replaceAll('-', '_')}`;
  const file = ((): Readonly<Record<string, unknown>> => {
    const path = flags.values.config ?? env[envName('config')];
    return path === undefined ? {} : readFile(path);
  })();
  const unknown = Object.keys(file).find((key) => !(key in options) && key !== 'live');
  if (unknown !== undefined)
    throw new ConfigError(
      `the config file has a key "${unknown}" that is not known; known are ${Object.keys(options).join(', ')}`,
    );

  const get = (key: string): { value: string | undefined; from: string } => {
    const flag = flags.values[key];
    if (flag !== undefined) return { value: flag, from: `--${key}` };
    const variable = env[envName(key)];
    if (variable !== undefined && variable !== '') return { value: variable, from: envName(key) };
    const entry = file[key];
    if (entry !== undefined) {
      if (typeof entry !== 'string' && typeof entry !== 'number')
        throw new ConfigError(`the config file's key "${key}" is ${JSON.stringify(entry)}; write a string`);
      return { value: String(entry), from: `the config file's key "${key}"` };
    }
    return { value: options[key]?.fallback, from: `the default of --${key}` };
  };
  const need = (key: string): { value: string; from: string } => {
    const { value, from } = get(key);
    if (value === undefined || value === '') throw new ConfigError(`${from} is empty; give a value`);
    return { value, from };
  };
  const path = (key: string): string => {
    const { value, from } = need(key);
    if (!value.startsWith('/')) throw new ConfigError(`${from} is "${value}"; write an absolute path`);
    return value.length > 1 ? value.replace(/\/+$/, '') : value;
  };
  const bridge = need('bridge');
  if (!/^[a-zA-Z][a-zA-Z0-9_-]{0,14}$/.test(bridge.value))
    throw new ConfigError(
      `${bridge.from} is "${bridge.value}"; a bridge's name has at most 15 letters, digits, - and _`,
    );
  const logLevel = need('log-level');
  const level = logLevels.find((one) => one === logLevel.value);
  if (level === undefined)
    throw new ConfigError(`${logLevel.from} is "${logLevel.value}"; use one of ${logLevels.join(', ')}`);
  return {
    dataDir: path('data-dir'),
    runDir: path('run-dir'),
    listen: parseAddress(need('listen')),
    metricsListen: parseAddress(need('metrics-listen')),
    bridge: bridge.value,
    subnet: parseSubnet(need('subnet')),
    subnet6: parseSubnet6(get('subnet6')),
    nodeName: get('node-name').value ?? hostname,
    logLevel: level,
    docker: parseDocker(get('docker-socket'), get('docker-group').value, need('docker-namespace'), path('run-dir')),
    registriesConf: get('registries-conf').value,
    authFiles: get('auth-file').value === undefined ? defaultAuthFiles(env) : [path('auth-file')],
    secretsKeyFile: get('secrets-key-file').value === undefined ? undefined : path('secrets-key-file'),
    imageCollection: parseImageCollection(need),
    startPolicy: parseStartPolicy(need),
    audit: parseAudit(need),
    kubeconfig: get('kubeconfig').value,
    streamsListen: get('streams-listen').value === undefined ? undefined : parseAddress(need('streams-listen')),
    apply: get('apply').value,
    isLive: flags.isLive,
  };
}

/** Where podman, skopeo and docker keep what `login` wrote, and a place of our own. Source: containers-auth.json(5). */
function defaultAuthFiles(env: Sources['env']): readonly string[] {
  const runtimeDir = env.XDG_RUNTIME_DIR ?? '/run';
  const perUser = env.XDG_RUNTIME_DIR === undefined ? 'containers/0/auth.json' : 'containers/auth.json';
  return [
    ...(env.REGISTRY_AUTH_FILE === undefined || env.REGISTRY_AUTH_FILE === '' ? [] : [env.REGISTRY_AUTH_FILE]),
    '/etc/holdfast/auth.json',
    `${runtimeDir}/${perUser}`,
    `${env.DOCKER_CONFIG ?? `${env.HOME ?? '/root'}/.docker`}/config.json`,
  ];
}

function parseStartPolicy(need: (key: string) => { value: string; from: string }): StartPolicy {
  const count = need('max-concurrent-starts');
  const maxConcurrent = Number(count.value);
  if (!/^[0-9]+$/.test(count.value) || maxConcurrent < 1 || maxConcurrent > 1_000)
    throw new ConfigError(`${count.from} is "${count.value}"; write a whole number from 1 to 1000`);
  const jitter = need('boot-jitter');
  const bootJitterMs = parseDurationMs(jitter.value);
  if (bootJitterMs === undefined || bootJitterMs > maxBootJitterMs)
    throw new ConfigError(`${jitter.from} is "${jitter.value}"; write a time from 0s to 1h, like 30s`);
  return { maxConcurrent, bootJitterMs };
}

function parseAudit(need: (key: string) => { value: string; from: string }): Config['audit'] {
  const { value, from } = need('audit-log');
  const level = auditLevels.find((one) => one === value);
  if (level === undefined) throw new ConfigError(`${from} is "${value}"; use one of ${auditLevels.join(', ')}`);
  const count = (key: string, least: number): number => {
    const found = need(key);
    const number = Number(found.value);
    if (!/^[0-9]{1,4}$/.test(found.value) || number < least)
      throw new ConfigError(`${found.from} is "${found.value}"; write a whole number from ${least} to 9999`);
    return number;
  };
  return {
    level,
    maxFileBytes: count('audit-log-maxsize', 1) * 1024 * 1024,
    maxBackups: count('audit-log-maxbackup', 0),
  };
}

const auditLevels: readonly AuditLevel[] = ['off', 'writes', 'reads', 'all'];

const maxBootJitterMs = 3_600_000;

function parseImageCollection(need: (key: string) => { value: string; from: string }): ImageCollectionPolicy {
  const time = (key: string): number => {
    const { value, from } = need(key);
    const ms = parseDurationMs(value);
    if (ms === undefined) throw new ConfigError(`${from} is "${value}"; write a time like 2m, 12h or 720h`);
    return ms;
  };
  const percent = (key: string): number => {
    const { value, from } = need(key);
    if (!/^[0-9]{1,3}$/.test(value) || Number(value) > 100)
      throw new ConfigError(`${from} is "${value}"; write a percentage from 0 to 100`);
    return Number(value);
  };
  const high = percent('image-gc-high-threshold');
  const low = percent('image-gc-low-threshold');
  if (low > high || (low === high && high !== 100))
    throw new ConfigError(`image-gc-low-threshold is ${low}, and must be less than image-gc-high-threshold, ${high}`);
  const maximumAgeMs = time('image-maximum-gc-age');
  return {
    minimumAgeMs: time('image-minimum-gc-age'),
    maximumAgeMs: maximumAgeMs === 0 ? undefined : maximumAgeMs,
    highThresholdPercent: high,
    lowThresholdPercent: low,
  };
}

function parseFlags(args: readonly string[]): {
  values: Readonly<Record<string, string | undefined>>;
  isLive: boolean;
} {
  try {
    const known = Object.fromEntries(Object.keys(options).map((key) => [key, { type: 'string' as const }]));
    const { values } = parseArgs({
      args: [...args],
      options: { ...known, live: { type: 'boolean' } },
      strict: true,
      allowPositionals: false,
    });
    const { live, ...rest } = values;
    // All options but `live` are declared as strings above.
    return { values: rest as Record<string, string | undefined>, isLive: live === true };
  } catch (error) {
    throw new ConfigError(`${error instanceof Error ? error.message : String(error)}; see holdfast --help`, {
      cause: error,
    });
  }
}

function parseAddress({ value, from }: { value: string; from: string }): Address {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(value);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65_535))
    throw new ConfigError(`${from} is "${value}"; write HOST:PORT, such as 127.0.0.1:7443`);
  return { host, port };
}

function parseSubnet({ value, from }: { value: string; from: string }): string {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(value);
  const bytes = match?.slice(1, 5).map(Number) ?? [];
  const bits = Number(match?.[5]);
  const isValid = match !== null && bytes.every((byte) => byte <= 255) && bits >= 8 && bits <= 29;
  if (!isValid)
    throw new ConfigError(`${from} is "${value}"; write an IPv4 network of 8 to 29 bits, such as 10.76.0.0/16`);
  const address = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  if (address % 2 ** (32 - bits) !== 0)
    throw new ConfigError(`${from} is "${value}", an address and not a network; its host bits must be 0`);
  return value;
}

function parseSubnet6({ value, from }: { value: string | undefined; from: string }): string | undefined {
  if (value === undefined || value === 'off') return value;
  const [address = '', bits = ''] = value.split('/', 2);
  const isValid = isIPv6(address) && !address.includes('%') && /^\d{1,3}$/.test(bits) && +bits >= 8 && +bits <= 120;
  if (!isValid)
    throw new ConfigError(
      `${from} is "${value}"; write an IPv6 network of 8 to 120 bits, such as fd00:76::/64, or off`,
    );
  return value;
}

function parseDocker(
  socket: { value: string | undefined; from: string },
  group: string | undefined,
  namespace: { value: string; from: string },
  runDir: string,
): Config['docker'] {
  const path = socket.value ?? join(runDir, 'docker.sock');
  if (path === 'off') return undefined;
  if (!path.startsWith('/')) throw new ConfigError(`${socket.from} is "${path}"; write an absolute path, or off`);
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace.value))
    throw new ConfigError(`${namespace.from} is "${namespace.value}"; write the name of a namespace, such as default`);
  return {
    socket: path,
    group: group === '' ? undefined : group,
    namespace: namespace.value,
    isAsked: socket.value !== undefined,
  };
}
