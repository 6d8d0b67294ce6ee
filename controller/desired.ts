/** From a Container object to what the host should have: parsed, checked across fields, hashed. Pure. */
import { hash } from 'node:crypto';
import type { Backoff } from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import { addressPlaceholderOf, containerIDOf, hostnameOf, parseRename, renamedFromAnnotation } from '../crds/index.ts';
import type { ContainerConfig, EnvVar, HostEntry, LogLimits, PullPolicy } from '../runtime/index.ts';
import { distinct } from './distinct.ts';
import { environmentSpec, findEnvironmentProblems } from './environment.ts';
import { parseExitCodes } from './exit-codes.ts';
import { dnsConfigOf, findIdentityProblems, identityOf } from './identity.ts';
import { findNetworkProblems } from './networks.ts';
import { parsePorts } from './ports.ts';
import { type HealthPlan, parseHealth } from './probe-spec.ts';
import { parseBytes, parseDurationMs, parseSignal } from './quantity.ts';
import type { RestartRules } from './restart.ts';
import { parseSecurity } from './security.ts';
import { parseSignalRequest, type SignalRequest } from './signal-request.ts';
import { parseVolumes, volumesToDelete } from './volumes.ts';

/** A container as the host should have it, in the runtime's words; what depends on other containers comes later. */
export interface Desired {
  readonly containerID: string;
  readonly image: string;
  /** os/architecture[/variant]; undefined: the host's. */
  readonly platform: string | undefined;
  readonly pullPolicy: PullPolicy;
  readonly shouldRun: boolean;
  /** To be made also while it is not to run, so that files can be copied into it and it starts sooner. */
  readonly isPrepared: boolean;
  /** Frozen, while it runs. */
  readonly shouldPause: boolean;
  /** How long the object outlives the end of its container; undefined: for good. */
  readonly ttlMs: number | undefined;
  readonly signalRequest: SignalRequest | undefined;
  readonly restart: RestartRules;
  /** undefined: what the image says. */
  readonly stopSignal: number | undefined;
  readonly graceMs: number;
  readonly links: readonly Link[];
  /** Names that must have started first; links are among them. */
  readonly dependsOn: readonly string[];
  /** What must be true of them, and what follows from their restarts; links that are nothing more are not here. */
  readonly needs: readonly Need[];
  readonly health: HealthPlan;
  /** All of the configuration that is known before the image, the links and what the environment refers to are. */
  readonly config: Omit<
    ContainerConfig,
    'imageID' | 'labels' | 'dnsNames' | 'isDualStack' | 'networks' | keyof Environment
  >;
  /** Named volumes, by their names on this host, that go with the object; undefined without any. */
  readonly volumesToDelete: readonly string[] | undefined;
  /** Changes when the container must be replaced. */
  readonly specHash: string;
  /** Changes when the image is asked for with other credentials; undefined: with none, or they are not known yet. */
  readonly credentialsHash?: string | undefined;
  /** Why it may not be started or changed as it stands; what runs is left alone. */
  readonly problem?: SpecProblem | undefined;
}

/** What of the configuration comes from other objects, wholly or in part. */
type Environment = Pick<ContainerConfig, 'hosts' | 'env' | 'entrypoint' | 'cmd' | 'files' | 'keepsImageVolumes'>;

export interface Link {
  readonly name: string;
  readonly alias: string;
}

/** One entry of spec.dependsOn. */
export interface Need {
  readonly name: string;
  readonly condition: 'Started' | 'Ready' | 'Completed';
  /** It is restarted when that one has been. */
  readonly isRestartedWith: boolean;
}

/** A value of the spec that the schema lets through and that cannot be. */
export interface SpecProblem {
  readonly reason: 'InvalidSpec' | 'DependencyCycle';
  /** Names the field, the value seen and the fix. */
  readonly message: string;
}

/** Labels by which a container of the runtime is known again. Stored with it, so that they survive the store. */
export const labelKeys = {
  uid: 'holdfast.dev/uid',
  namespace: 'holdfast.dev/namespace',
  name: 'holdfast.dev/name',
  specHash: 'holdfast.dev/spec-hash',
  /** Of hosts, env, limits, log and names as last applied. */
  mutableHash: 'holdfast.dev/mutable-hash',
  graceMs: 'holdfast.dev/grace-ms',
  /** Number of the signal that asks it to stop; without the label, what the image says. */
  stopSignal: 'holdfast.dev/stop-signal',
  /** Named volumes that go with the object, separated by commas. */
  volumesToDelete: 'holdfast.dev/volumes-to-delete',
  /** What is done before it is asked to stop: an Action (probe-spec.ts) as JSON. */
  preStop: 'holdfast.dev/pre-stop',
  /** Names of containers that it stops before, separated by commas. */
  dependsOn: 'holdfast.dev/depends-on',
} as const;

/** "true": the container is made while spec.desiredState is Stopped. */
export const prepareAnnotation = 'holdfast.dev/prepare';

/** The work queue's key of an object. */
export function keyOf(object: { readonly metadata: { readonly namespace: string; readonly name: string } }): string {
  return `${object.metadata.namespace}/${object.metadata.name}`;
}

const minLogBytes = 4096;
const pullPolicies = { Always: 'always', IfNotPresent: 'if-not-present', Never: 'never' } as const;

/** Parses the spec of a stored object. The store's schema has checked single fields; here they meet. Values with a `problem` are stand-ins. */
export function parseDesired(object: Container): Desired {
  const { spec, metadata } = object;
  const problems: string[] = [];
  const must = <T>(value: T | undefined, field: string, seen: unknown, fix: string, fallback: T): T => {
    if (value !== undefined) return value;
    problems.push(`spec.${field}: ${JSON.stringify(seen)} ${fix}`);
    return fallback;
  };
  const duration = (field: string, value: string): number =>
    must(
      parseDurationMs(value),
      field,
      value,
      'is not a duration of at most ten years; write it like 500ms, 1s or 1m30s',
      0,
    );

  const backoff: Backoff = {
    initialMs: duration('backoff.initial', spec.backoff.initial),
    maxMs: duration('backoff.max', spec.backoff.max),
    resetAfterMs: duration('backoff.resetAfter', spec.backoff.resetAfter),
    factor: spec.backoff.factor,
    jitter: spec.backoff.jitter,
  };
  if (backoff.initialMs > backoff.maxMs) {
    problems.push(
      `spec.backoff.initial: "${spec.backoff.initial}" is more than spec.backoff.max "${spec.backoff.max}"; lower the one or raise the other`,
    );
  }

  const { maxRetries, maxDuration } = spec.restart;
  const exitCodes = parseExitCodes(spec.restart.exitCodes);
  problems.push(...exitCodes.problems);

  const security = parseSecurity(spec);
  problems.push(...security.problems);
  const log: LogLimits = {
    maxSizeBytes: must(
      parseBytes(spec.logging.maxSize),
      'logging.maxSize',
      spec.logging.maxSize,
      'is not a quantity of bytes; write it like 10Mi',
      0,
    ),
    maxFiles: spec.logging.maxFiles,
  };
  if (log.maxSizeBytes < minLogBytes)
    problems.push(`spec.logging.maxSize: ${JSON.stringify(spec.logging.maxSize)} is less than the least, 4Ki`);

  const stopSignal =
    spec.stopSignal === undefined
      ? undefined
      : must(
          parseSignal(spec.stopSignal),
          'stopSignal',
          spec.stopSignal,
          'is not a signal of Linux; write it like SIGTERM, HUP or 15',
          15,
        );

  const { ports, problems: portProblems } = parsePorts(spec);
  problems.push(...portProblems);

  const links = (spec.links ?? []).map(({ name, alias }) => ({ name, alias: alias ?? name }));
  const aliases = links.map(({ alias }) => alias.toLowerCase());
  for (const alias of new Set(aliases.filter((one, index) => aliases.indexOf(one) !== index))) {
    problems.push(`spec.links: the alias "${alias}" is given twice; each link needs an alias of its own`);
  }

  const rename = parseRename(object);
  if (rename.kind === 'malformed') {
    problems.push(
      `metadata.annotations["${renamedFromAnnotation}"]: ${JSON.stringify(rename.value)} names no other object; write it like NAME/UID, or remove it`,
    );
  }
  problems.push(...findEnvironmentProblems(spec), ...findIdentityProblems(spec), ...findNetworkProblems(spec));
  const { volumes, mounts, problems: volumeProblems } = parseVolumes(object);
  problems.push(...volumeProblems);

  const health = parseHealth(spec);
  problems.push(...health.problems);

  const id = containerIDOf(object);
  const config: Desired['config'] = {
    id,
    name: keyOf(object),
    workingDir: spec.workingDir,
    hasStdin: spec.stdin,
    isStdinOnce: spec.stdinOnce,
    hasTerminal: spec.tty,
    ...identityOf(spec),
    hasInit: spec.init ? true : undefined,
    hostname: hostnameOf(object),
    addressPlaceholder: addressPlaceholderOf(id),
    readonlyRootfs: spec.securityContext.readOnlyRootFilesystem,
    volumes,
    mounts,
    ports,
    ...security.config,
    log,
    dns: dnsConfigOf(metadata.namespace, spec),
  };
  return {
    containerID: config.id,
    image: spec.image,
    platform: spec.platform,
    pullPolicy: pullPolicies[spec.imagePullPolicy],
    shouldRun: spec.desiredState !== 'Stopped',
    isPrepared: metadata.annotations?.[prepareAnnotation] === 'true',
    shouldPause: spec.desiredState === 'Paused',
    ttlMs: spec.ttlSecondsAfterFinished === undefined ? undefined : spec.ttlSecondsAfterFinished * 1000,
    signalRequest: parseSignalRequest(object),
    restart: {
      policy: spec.restartPolicy,
      backoff,
      maxRetries,
      maxDurationMs: maxDuration === undefined ? undefined : duration('restart.maxDuration', maxDuration),
      exitCodes: exitCodes.rules,
    },
    stopSignal,
    graceMs: spec.terminationGracePeriodSeconds * 1000,
    links,
    dependsOn: distinct([...links, ...(spec.dependsOn ?? [])].map(({ name }) => name)),
    needs: (spec.dependsOn ?? []).map(({ name, condition, restartOn }) => ({
      name,
      condition,
      isRestartedWith: restartOn === 'Restart',
    })),
    health: health.plan,
    config,
    volumesToDelete: volumesToDelete(object),
    specHash: hashOf(immutablePart(spec, config, links)),
    problem: problems.length > 0 ? { reason: 'InvalidSpec', message: problems.join('; ') } : undefined,
  };
}

/** What cannot change in a running process: of the configuration all but name, limits and log; links only by their names. */
function immutablePart(spec: Container['spec'], config: Desired['config'], links: readonly Link[]): object {
  const { image, platform } = spec;
  const changeable = { name: undefined, limits: undefined, log: undefined, addressPlaceholder: undefined };
  return { ...config, ...changeable, image, platform, links, ...environmentSpec(spec) };
}

/** What can be changed in place, as it should be now; environment, command and args count from the next start. */
export interface Mutable {
  readonly hosts: readonly HostEntry[];
  readonly env: readonly EnvVar[];
  readonly entrypoint: readonly string[] | undefined;
  readonly cmd: readonly string[] | undefined;
  readonly limits: ContainerConfig['limits'];
  readonly log: LogLimits;
  readonly dnsNames: readonly string[];
  /** Of one on networks of its own; undefined: as in Desired.config. */
  readonly dns: ContainerConfig['dns'];
  readonly networks: ContainerConfig['networks'];
  readonly isDualStack: boolean | undefined;
  readonly files: ContainerConfig['files'];
  readonly keepsImageVolumes: boolean;
}

/** Changes when something is to be changed in place. */
export function mutableHashOf(desired: Desired, mutable: Mutable): string {
  const { graceMs, stopSignal, volumesToDelete, dependsOn, health } = desired;
  const onStop = { preStop: health.preStop, dependsOn: dependsOn.length === 0 ? undefined : dependsOn };
  return hashOf({ ...mutable, graceMs, stopSignal, volumesToDelete, ...onStop });
}

/** All labels of a container; the hashes tell later what it was made from. */
export function labelsOf(object: Container, desired: Desired, mutable: Mutable): Record<string, string> {
  return {
    [labelKeys.uid]: object.metadata.uid,
    [labelKeys.namespace]: object.metadata.namespace,
    [labelKeys.name]: object.metadata.name,
    [labelKeys.specHash]: desired.specHash,
    [labelKeys.mutableHash]: mutableHashOf(desired, mutable),
    [labelKeys.graceMs]: String(desired.graceMs),
    ...(desired.stopSignal === undefined ? {} : { [labelKeys.stopSignal]: String(desired.stopSignal) }),
    ...(desired.health.preStop === undefined ? {} : { [labelKeys.preStop]: JSON.stringify(desired.health.preStop) }),
    ...(desired.dependsOn.length === 0 ? {} : { [labelKeys.dependsOn]: desired.dependsOn.join(',') }),
    ...(desired.volumesToDelete === undefined
      ? {}
      : { [labelKeys.volumesToDelete]: desired.volumesToDelete.join(',') }),
  };
}

/** A short digest that is the same for equal values, whatever the order of their keys. */
export function hashOf(value: unknown): string {
  return hash('sha256', canonical(value), 'hex').slice(0, 16);
}

/** What is not there is left out before the rest is put in order: of a container's configuration that is half. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  let text = '';
  if (Array.isArray(value)) {
    for (const one of value) text += text === '' ? canonical(one) : `,${canonical(one)}`;
    return `[${text}]`;
  }
  // Each object can be asked for its members by name.
  const members = value as Readonly<Record<string, unknown>>;
  const keys = Object.keys(members).filter((key) => members[key] !== undefined);
  for (const key of keys.sort()) {
    const member = `${JSON.stringify(key)}:${canonical(members[key])}`;
    text += text === '' ? member : `,${member}`;
  }
  return `{${text}}`;
}
