/**
 * `docker create`: a request's Config and HostConfig as the spec of a Container. What cannot be honoured is refused by its
 * name, never left out. Networks, ports and mounts are read by network-spec.ts and mounts-spec.ts. Pure.
 * Source: Engine API 1.50, "ContainerCreate"; defaults and checks of moby (daemon/create.go, runconfig).
 */
import { type ContainerSpec, finalizer, hostnameAnnotation, idAsHostname } from '../crds/index.ts';
import { createdAnnotation, dockerConfigAnnotation, isKubernetesLabel, prepareAnnotation } from './docker-config.ts';
import { badParameter } from './docker-error.ts';
import { escapeDollars } from './dollars.ts';
import { type Fields, readFields } from './fields.ts';
import { parseHealthcheck } from './healthcheck.ts';
import { nameAnnotations, objectNameFor } from './names.ts';
import { parseResources } from './resources-spec.ts';
import { parseSecurity } from './security-spec.ts';

/** Fields that are undefined are left to the schema's defaults. */
export type SpecDraft = Draft<ContainerSpec>;

type Draft<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [Field in keyof T]?: Draft<T[Field]> | undefined }
    : T;

/** What the request refers to, looked up before. */
export interface CreateContext {
  /** The docker name, checked. */
  readonly name: string;
  /** The image to run, as the spec names it. */
  readonly image: string;
  /** Of the image: ENTRYPOINT and CMD together, and its variables. */
  readonly imageCommand: readonly string[];
  readonly imageEnv: readonly string[];
  readonly platform: string | undefined;
  /** Name of the object that a link's target is. Throws DockerError. */
  readonly linkTarget: (reference: string) => string;
  /** Since the epoch. */
  readonly nowMs: number;
  /** What of the spec is about networks, ports and mounts, and what is wrong with it. */
  readonly parts: (
    config: Fields,
    hostConfig: Fields,
    networkingConfig: Fields,
  ) => { readonly spec: SpecDraft; readonly links: readonly { readonly name: string; readonly alias: string }[] };
}

export interface ContainerDraft {
  readonly apiVersion: 'holdfast.dev/v1';
  readonly kind: 'Container';
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
    readonly finalizers: readonly string[];
  };
  readonly spec: SpecDraft;
}

/** Docker's default for stop, in seconds. Source: moby container.DefaultStopTimeout. */
export const defaultStopSeconds = 10;

/** The image that a create request names. Throws DockerError. */
export function imageOfRequest(body: unknown): string {
  const problems: string[] = [];
  const image = readFields(body, '', problems).text('Image');
  if (problems.length > 0) throw badParameter(problems.join('; '));
  if (image === undefined) throw badParameter('invalid reference format: Image is empty; name the image to run');
  return image;
}

/** Throws DockerError (400) that names every field that is wrong. */
export function parseCreateRequest(body: unknown, context: CreateContext): ContainerDraft {
  const problems: string[] = [];
  const config = readFields(body, '', problems);
  const host = config.object('HostConfig');
  const networking = config.object('NetworkingConfig');
  const labels = config.textMap('Labels');
  const parts = context.parts(config, host, networking);
  const draft: SpecDraft = {
    image: context.image,
    platform: context.platform,
    desiredState: 'Stopped',
    ...parseCommand(config, context),
    ...parseProcess(config, context),
    ...parseLife(config, host),
    ...parseSecurity(config, host),
    ...parseResources(host),
    ...parts.spec,
    links: parseLinks(host, parts.links, context),
  };
  refuseTheRest(config, host);
  networking.finish();
  if (problems.length > 0) throw badParameter(problems.join('; '));
  const own = Object.entries(labels).filter(([key, value]) => isKubernetesLabel(key, value));
  const others = Object.entries(labels).filter(([key, value]) => !isKubernetesLabel(key, value));
  return {
    apiVersion: 'holdfast.dev/v1',
    kind: 'Container',
    metadata: {
      name: objectNameFor(context.name),
      // The host's controller would add it, with a write of its own.
      finalizers: [finalizer],
      labels: Object.fromEntries(own),
      annotations: {
        ...nameAnnotations(context.name),
        [prepareAnnotation]: 'true',
        [hostnameAnnotation]: idAsHostname,
        [createdAnnotation]: new Date(context.nowMs).toISOString(),
        [dockerConfigAnnotation]: JSON.stringify(keptOf(body, Object.fromEntries(others))),
      },
    },
    spec: draft,
  };
}

/** ENTRYPOINT and CMD. Source: moby daemon/commit.go, merge: a given entrypoint drops the image's command. */
function parseCommand(config: Fields, { imageCommand }: CreateContext): SpecDraft {
  const entrypoint = config.texts('Entrypoint');
  const cmd = config.texts('Cmd') ?? [];
  config.flag('ArgsEscaped');
  const command = entrypoint?.map(escapeDollars) ?? [];
  const args = cmd.map(escapeDollars);
  // --entrypoint "" takes the image's away.
  const isCleared = entrypoint?.length === 1 && entrypoint[0] === '';
  const isGiven = !isCleared && command.length > 0;
  if ((isCleared ? cmd : [...command, ...cmd, ...imageCommand]).length === 0)
    throw badParameter('No command specified');
  if (isCleared) return { command: args };
  return { command: isGiven ? command : undefined, args: args.length === 0 ? undefined : args };
}

function parseProcess(config: Fields, { imageEnv }: CreateContext): SpecDraft {
  const tty = config.flag('Tty');
  const stdin = config.flag('OpenStdin');
  const stdinOnce = config.flag('StdinOnce');
  for (const name of ['AttachStdin', 'AttachStdout', 'AttachStderr']) config.flag(name);
  config.refuse('Domainname', [], 'a container has no domain of its own; leave it out');
  config.refuse('MacAddress', [], 'addresses are given by Holdfast; leave it out');
  config.refuse('NetworkDisabled', [], 'use --network none');
  config.refuse('OnBuild', [], 'it is for builds');
  config.raw('Shell'); // for builds alone
  return {
    env: parseEnv(config, imageEnv),
    user: config.text('User'),
    workingDir: config.text('WorkingDir'),
    hostname: config.text('Hostname'),
    tty: tty ? true : undefined,
    stdin: stdin ? true : undefined,
    // With a terminal, a client that goes away leaves it open, as in Docker.
    stdinOnce: stdin && stdinOnce && !tty ? true : undefined,
  };
}

function parseEnv(config: Fields, imageEnv: readonly string[]): ContainerSpec['env'] {
  const variables = new Map<string, string>();
  for (const entry of config.texts('Env') ?? []) {
    const at = entry.indexOf('=');
    if (at > 0) variables.set(entry.slice(0, at), entry.slice(at + 1));
    else if (at === 0 || entry === '') config.problem('Env', `invalid environment variable: ${entry}`);
    else if (imageEnv.some((one) => one.startsWith(`${entry}=`)))
      config.problem('Env', `a variable of the image, "${entry}", cannot be taken away; give it an empty value`);
  }
  if (variables.size === 0) return undefined;
  return [...variables].map(([name, value]) => ({ name, value: escapeDollars(value) }));
}

const restartPolicies = {
  '': 'Never',
  no: 'Never',
  always: 'Always',
  'unless-stopped': 'UnlessStopped',
  'on-failure': 'OnFailure',
} as const;

export function isRestartPolicy(name: string): name is keyof typeof restartPolicies {
  return Object.hasOwn(restartPolicies, name);
}

/** Of HostConfig.RestartPolicy, also in `docker update`. */
export function parseRestartPolicy(policy: Fields): Pick<SpecDraft, 'restartPolicy' | 'restart'> {
  const name = policy.text('Name') ?? '';
  const retries = policy.integer('MaximumRetryCount') ?? 0;
  policy.finish();
  if (!isRestartPolicy(name)) {
    policy.problem(
      'Name',
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
    return {};
  }
  if (retries < 0) policy.problem('MaximumRetryCount', 'maximum retry count cannot be negative');
  if (retries > 0 && name !== 'on-failure')
    policy.problem('MaximumRetryCount', `maximum retry count cannot be used with restart policy '${name}'`);
  return {
    restartPolicy: restartPolicies[name],
    ...(retries > 0 ? { restart: { maxRetries: retries } } : {}),
  };
}

function parseLife(config: Fields, host: Fields): SpecDraft {
  const isRemoved = host.flag('AutoRemove');
  const restart = parseRestartPolicy(host.object('RestartPolicy'));
  if (isRemoved && restart.restartPolicy !== 'Never')
    host.problem('AutoRemove', "can't create 'AutoRemove' container with restart policy");
  const timeout = config.integer('StopTimeout') ?? defaultStopSeconds;
  return {
    ...restart,
    ttlSecondsAfterFinished: isRemoved ? 0 : undefined,
    stopSignal: config.text('StopSignal'),
    // A negative one waits for ever in Docker; a day is the longest that the spec takes as such.
    terminationGracePeriodSeconds: timeout < 0 ? longestGraceSeconds : timeout,
    init: host.flag('Init') ? true : undefined,
    readinessProbe: parseHealthcheck(config.object('Healthcheck')),
    logging: parseLogging(host.object('LogConfig')),
    imageVolumes: { reclaimPolicy: isRemoved ? 'Delete' : 'Retain' },
  };
}

/** As long as the schema takes. */
export const longestGraceSeconds = 86_400;

/** json-file and local both mean what Holdfast has: rotated, and read by docker logs. */
function parseLogging(log: Fields): SpecDraft['logging'] {
  log.refuse('Type', ['json-file', 'local'], 'logs are kept on this host; use json-file or leave it out');
  const options = log.textMap('Config');
  log.finish();
  const { 'max-size': maxSize, 'max-file': maxFile, compress, mode, ...others } = options;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) log.problem('Config', `unknown log opt '${unknown}'; known are max-size and max-file`);
  if (compress !== undefined && compress !== 'false')
    log.problem('Config', 'compress: rotated logs are not compressed; leave it out');
  if (mode !== undefined && mode !== 'blocking') log.problem('Config', 'mode: only blocking can be had; leave it out');
  const [, number, unit = ''] = /^(\d{1,15})([bkmg]?)b?$/i.exec(maxSize ?? '0') ?? [];
  if (number === undefined) log.problem('Config', `invalid max-size: "${maxSize}"; write it like 10m`);
  const bytes =
    Number(number) * 1024 ** Math.max(0, ' kmg'.indexOf(unit.toLowerCase() === 'b' ? ' ' : unit.toLowerCase() || ' '));
  if (maxFile !== undefined && !/^[1-9]\d{0,2}$/.test(maxFile)) log.problem('Config', `invalid max-file: "${maxFile}"`);
  return {
    ...(maxSize === undefined ? {} : { maxSize: bytes }),
    ...(maxFile === undefined ? {} : { maxFiles: Number(maxFile) }),
  };
}

/** NAME[:ALIAS]. Source: docker/cli opts.ValidateLink. */
function parseLinks(
  host: Fields,
  ofNetworks: readonly { readonly name: string; readonly alias: string }[],
  { linkTarget }: CreateContext,
): ContainerSpec['links'] {
  const links = (host.texts('Links') ?? []).flatMap((text) => {
    const [reference = '', alias, ...more] = text.split(':');
    if (reference === '' || more.length > 0) {
      host.problem('Links', `bad format for links: ${text}`);
      return [];
    }
    const shown =
      alias === undefined || alias === '' ? reference.replace(/^\//, '') : (alias.split('/').at(-1) ?? alias);
    return [{ name: linkTarget(reference), alias: shown }];
  });
  const known = new Set(links.map(({ alias }) => alias));
  const more = ofNetworks.filter(({ alias }) => !known.has(alias));
  const all = [...links, ...more.map(({ name, alias }) => ({ name: linkTarget(name), alias }))];
  return all.length === 0 ? undefined : all;
}

const windows = 'it is for Windows';
const noDevices = 'limits on devices cannot be set yet; leave it out';
/** Fields of HostConfig that cannot be honoured, with the values that mean the default all the same, and why. */
const refused: readonly (readonly [string, readonly unknown[], string])[] = [
  ['Annotations', [], 'OCI annotations are not handed on; use labels'],
  ['Cgroup', [], 'a cgroup cannot be shared; leave it out'],
  ['Isolation', ['default'], windows],
  ['CpuCount', [], windows],
  ['CpuPercent', [], windows],
  ['IOMaximumIOps', [], windows],
  ['IOMaximumBandwidth', [], windows],
  ['StorageOpt', [], 'the size of the root file system cannot be limited; leave it out'],
  ['VolumeDriver', ['local'], 'only the driver local can be had'],
  ['Runtime', ['runc', 'crun', 'io.containerd.runc.v2'], 'the runtime is chosen by Holdfast; leave it out'],
  ['DeviceRequests', [], 'GPUs and other device drivers cannot be had; name devices with --device'],
  ['DeviceCgroupRules', [], 'name devices with --device'],
  ['BlkioWeight', [], noDevices],
  ['BlkioWeightDevice', [], noDevices],
  ['BlkioDeviceReadBps', [], noDevices],
  ['BlkioDeviceWriteBps', [], noDevices],
  ['BlkioDeviceReadIOps', [], noDevices],
  ['BlkioDeviceWriteIOps', [], noDevices],
];

function refuseTheRest(config: Fields, host: Fields): void {
  for (const [name, allowed, why] of refused) host.refuse(name, allowed, why);
  host.text('ContainerIDFile'); // the client's affair
  host.raw('ConsoleSize'); // of the client's terminal, which it tells again
  config.text('Image');
  host.finish();
  config.finish();
}

const keptConfig = [
  'Image',
  'AttachStdin',
  'AttachStdout',
  'AttachStderr',
  'ExposedPorts',
  'Volumes',
  'StdinOnce',
  'StopTimeout',
  'Healthcheck',
];
/** In other words in the spec, and read from there. */
const notKeptHost = new Set([
  'RestartPolicy',
  'AutoRemove',
  'Memory',
  'NanoCpus',
  'ReadonlyRootfs',
  'Privileged',
  'Links',
]);

/** Only what says something; secrets are in none of it. */
function keptOf(body: unknown, labels: Readonly<Record<string, string>>): object {
  const problems: string[] = []; // were told already
  const config = readFields(body, '', problems);
  const members = (name: string): [string, unknown][] => {
    const value = name === '' ? body : config.raw(name);
    return typeof value === 'object' && value !== null ? Object.entries(value) : [];
  };
  const said = (entries: [string, unknown][]): object =>
    Object.fromEntries(entries.filter(([, value]) => !isNothing(value)));
  return {
    Config: said(members('').filter(([name]) => keptConfig.includes(name))),
    HostConfig: said(members('HostConfig').filter(([name]) => !notKeptHost.has(name))),
    NetworkingConfig: said(members('NetworkingConfig')),
    Labels: labels,
  };
}

function isNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
