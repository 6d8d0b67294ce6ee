/**
 * What of a create request has no field in the spec, but has to come back from inspect: kept with the object, in an
 * annotation. Pure.
 */
import type { Container } from '../crds/index.ts';

export const dockerConfigAnnotation = 'holdfast.dev/docker-config';

/** Made by `docker create`: the host prepares its files before it is first started, so that docker cp works. */
export const prepareAnnotation = 'holdfast.dev/prepare';

/** Members in Docker's own words; what the spec says as well counts there. */
export interface DockerConfig {
  readonly Config: Readonly<Record<string, unknown>>;
  readonly HostConfig: Readonly<Record<string, unknown>>;
  readonly NetworkingConfig: Readonly<Record<string, unknown>>;
  /** Those that Kubernetes would not take as labels. */
  readonly Labels: Readonly<Record<string, string>>;
}

export const emptyConfig: DockerConfig = { Config: {}, HostConfig: {}, NetworkingConfig: {}, Labels: {} };

/** Objects do not change; each is asked several times for every line of docker ps. */
const known = new WeakMap<Container['metadata'], DockerConfig>();

/** Anybody who may write an object may write the annotation: what cannot be read counts as not there. */
export function dockerConfigOf({ metadata }: Pick<Container, 'metadata'>): DockerConfig {
  const text = metadata.annotations?.[dockerConfigAnnotation];
  if (text === undefined) return emptyConfig;
  const config = known.get(metadata) ?? parseDockerConfig(text);
  known.set(metadata, config);
  return config;
}

function parseDockerConfig(text: string): DockerConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return emptyConfig;
  }
  const member = (name: string): Readonly<Record<string, unknown>> => {
    if (!isObject(parsed)) return {};
    const value = parsed[name];
    return isObject(value) ? value : {};
  };
  const labels = Object.entries(member('Labels')).flatMap(([key, value]): [string, string][] =>
    typeof value === 'string' ? [[key, value]] : [],
  );
  return {
    Config: member('Config'),
    HostConfig: member('HostConfig'),
    NetworkingConfig: member('NetworkingConfig'),
    Labels: Object.fromEntries(labels),
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const labelName = /^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;
const labelPrefix = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Whether Kubernetes takes it as a label. Source: Kubernetes, "Labels and Selectors", syntax. */
export function isKubernetesLabel(key: string, value: string): boolean {
  const at = key.indexOf('/');
  const isKey =
    at === -1 ? labelName.test(key) : labelPrefix.test(key.slice(0, at)) && labelName.test(key.slice(at + 1));
  return isKey && (value === '' || labelName.test(value));
}

/** All labels, as docker shows them. */
export function labelsOf(object: Pick<Container, 'metadata'>): Readonly<Record<string, string>> {
  return { ...object.metadata.labels, ...dockerConfigOf(object).Labels };
}

/** When docker made it, RFC 3339 with milliseconds: a creationTimestamp has whole seconds, and a renamed object a new one. */
export const createdAnnotation = 'holdfast.dev/docker-created';

/** Since the epoch. */
export function createdMs({ metadata }: Pick<Container, 'metadata'>): number {
  const stamp = Date.parse(metadata.creationTimestamp);
  const exact = Date.parse(metadata.annotations?.[createdAnnotation] ?? '');
  return Number.isNaN(exact) || exact > stamp + 60_000 ? stamp : exact;
}
