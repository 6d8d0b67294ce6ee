/** What docker inspect and docker ps say of a container. Pure. Source: Engine API 1.50, ContainerInspect and ContainerList. */
import { type Container, containerIDOf, hostnameOf } from '../crds/index.ts';
import type { ImageConfig } from '../runtime/index.ts';
import { formatState, formatStatus, stateOf } from './container-state.ts';
import { createdMs, dockerConfigOf, labelsOf } from './docker-config.ts';
import { unescapeDollars } from './dollars.ts';
import { dockerNameOf } from './names.ts';
import { formatResources } from './resources-spec.ts';
import { formatSecurity } from './security-spec.ts';

export interface InspectInput {
  readonly object: Container;
  /** Of its image; undefined: that is not on this host. */
  readonly image:
    | {
        readonly id: string;
        readonly config: ImageConfig;
        readonly labels?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
  readonly namespace: string;
  readonly nowMs: number;
  readonly execIDs: readonly string[];
  /** Of its links: docker names of the targets, by their objects' names. */
  readonly nameOfLink: (objectName: string) => string;
  readonly networkMode: string;
  readonly networkSettings: object;
  readonly mounts: readonly object[];
  /** HostConfig's PortBindings, Dns and the like. */
  readonly hostNetworkConfig: object;
}

const driver = 'overlay2';

const restartNames = {
  Never: 'no',
  Always: 'always',
  UnlessStopped: 'unless-stopped',
  OnFailure: 'on-failure',
} as const;

/** The program and its arguments as they are run, and in Docker's two lists. */
export function commandOf(
  { spec }: Pick<Container, 'spec'>,
  image: ImageConfig | undefined,
): {
  readonly entrypoint: readonly string[] | null;
  readonly cmd: readonly string[] | null;
  readonly words: readonly string[];
} {
  const command = spec.command?.map(unescapeDollars);
  const args = spec.args?.map(unescapeDollars);
  const entrypoint = command ?? image?.entrypoint ?? [];
  const cmd = args ?? (command === undefined ? (image?.cmd ?? []) : []);
  const listOf = (words: readonly string[]): readonly string[] | null => (words.length === 0 ? null : words);
  return { entrypoint: listOf(entrypoint), cmd: listOf(cmd), words: [...entrypoint, ...cmd] };
}

/** Values that come from Secrets and the like are not shown. */
function envOf({ spec }: Container, image: ImageConfig | undefined): readonly string[] {
  const variables = new Map<string, string>();
  for (const entry of image?.env ?? [])
    variables.set(entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1));
  for (const { name, value, valueFrom } of spec.env ?? [])
    if (valueFrom === undefined) variables.set(name, unescapeDollars(value ?? ''));
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

export function imageAsWritten(object: Container): string {
  const kept = dockerConfigOf(object).Config.Image;
  return typeof kept === 'string' ? kept : object.spec.image;
}

export function formatInspect(input: InspectInput): object {
  const { object, image, namespace, nowMs, execIDs } = input;
  const { status } = object;
  const state = stateOf(object, nowMs);
  const { words } = commandOf(object, image?.config);
  const [path = '', ...args] = words;
  return {
    Id: containerIDOf(object),
    Created: new Date(createdMs(object)).toISOString(),
    Path: path,
    Args: args,
    State: formatState(state),
    Image: status?.imageID ?? image?.id ?? '',
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: '',
    Name: `/${dockerNameOf(object, namespace)}`,
    RestartCount: status?.restartCount ?? 0,
    Driver: driver,
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: execIDs.length === 0 ? null : execIDs,
    HostConfig: formatHostConfig(input),
    GraphDriver: { Name: driver, Data: null },
    Mounts: input.mounts,
    Config: formatConfig(input),
    NetworkSettings: input.networkSettings,
  };
}

function formatConfig({ object, image }: InspectInput): object {
  const { spec } = object;
  const kept = dockerConfigOf(object).Config;
  const { entrypoint, cmd } = commandOf(object, image?.config);
  const ports = Object.fromEntries((image?.config.exposedPorts ?? []).map((port) => [port, {}]));
  const exposed = { ...ports, ...objectIn(kept.ExposedPorts) };
  const volumes = {
    ...Object.fromEntries((image?.config.volumes ?? []).map((path) => [path, {}])),
    ...objectIn(kept.Volumes),
  };
  const isAttached = (name: string): boolean => kept[name] === true;
  return {
    Hostname: hostnameOf(object),
    Domainname: '',
    User: spec.user ?? image?.config.user ?? '',
    AttachStdin: isAttached('AttachStdin'),
    AttachStdout: isAttached('AttachStdout'),
    AttachStderr: isAttached('AttachStderr'),
    ...(Object.keys(exposed).length === 0 ? {} : { ExposedPorts: exposed }),
    Tty: spec.tty ?? false,
    OpenStdin: spec.stdin ?? false,
    StdinOnce: kept.StdinOnce === true || spec.stdinOnce === true,
    Env: envOf(object, image?.config),
    Cmd: cmd,
    ...(kept.Healthcheck === undefined ? {} : { Healthcheck: kept.Healthcheck }),
    Image: imageAsWritten(object),
    Volumes: Object.keys(volumes).length === 0 ? null : volumes,
    WorkingDir: spec.workingDir ?? image?.config.workingDir ?? '',
    Entrypoint: entrypoint,
    OnBuild: null,
    Labels: { ...image?.labels, ...labelsOf(object) },
    ...(spec.stopSignal === undefined ? {} : { StopSignal: spec.stopSignal }),
    ...(kept.StopTimeout === undefined ? {} : { StopTimeout: spec.terminationGracePeriodSeconds }),
  };
}

function objectIn(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}

/** What the request said, then what the spec says now. */
function formatHostConfig({ object, namespace, nameOfLink, networkMode, hostNetworkConfig }: InspectInput): object {
  const { spec } = object;
  const name = dockerNameOf(object, namespace);
  const links = (spec.links ?? []).map(
    ({ name: target, alias = target }) => `/${nameOfLink(target)}:/${name}/${alias}`,
  );
  return {
    Binds: null,
    ContainerIDFile: '',
    ...dockerConfigOf(object).HostConfig,
    LogConfig: {
      Type: 'json-file',
      Config: { 'max-size': String(spec.logging.maxSize), 'max-file': String(spec.logging.maxFiles) },
    },
    NetworkMode: networkMode,
    ...hostNetworkConfig,
    RestartPolicy: {
      Name: restartNames[spec.restartPolicy],
      MaximumRetryCount: spec.restartPolicy === 'OnFailure' ? (spec.restart.maxRetries ?? 0) : 0,
    },
    AutoRemove: spec.ttlSecondsAfterFinished === 0,
    Links: links.length === 0 ? null : links,
    Init: spec.init ? true : undefined,
    Runtime: 'crun',
    ...formatResources(spec),
    ...formatSecurity(spec),
  };
}

/** One entry of the list; sizes are added by who was asked for them. */
export function formatSummary(
  input: Pick<InspectInput, 'object' | 'image' | 'namespace' | 'nowMs' | 'networkMode' | 'mounts'> & {
    readonly ports: readonly object[];
    readonly networks: object;
  },
): object {
  const { object, image, namespace, nowMs } = input;
  const state = stateOf(object, nowMs);
  return {
    Id: containerIDOf(object),
    Names: [`/${dockerNameOf(object, namespace)}`],
    Image: imageAsWritten(object),
    ImageID: object.status?.imageID ?? image?.id ?? '',
    Command: formatCommand(commandOf(object, image?.config).words),
    Created: Math.floor(createdMs(object) / 1000),
    Ports: input.ports,
    Labels: { ...image?.labels, ...labelsOf(object) },
    State: state.name,
    Status: formatStatus(state, nowMs),
    HostConfig: { NetworkMode: input.networkMode },
    NetworkSettings: { Networks: input.networks },
    Mounts: input.mounts,
  };
}

/** Words with spaces are shown in quotes. Source: moby container/view.go, transform. */
export function formatCommand([program = '', ...args]: readonly string[]): string {
  return [program, ...args.map((arg) => (arg.includes(' ') ? `'${arg}'` : arg))].join(' ');
}
