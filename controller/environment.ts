/** The environment, command and args of a container, with all references followed. Pure. */
import type { Container, ContainerSpec } from '../crds/index.ts';
import type { EnvVar } from '../runtime/index.ts';
import { distinct } from './distinct.ts';
import { expand, type Value } from './expand.ts';
import type { Source, SourceRef, Sources } from './sources.ts';

type EnvEntry = NonNullable<ContainerSpec['env']>[number];
type ValueFrom = NonNullable<EnvEntry['valueFrom']>;

export interface EnvironmentInput {
  readonly object: Pick<Container, 'metadata' | 'spec'>;
  readonly sources: Sources;
  /** Variables that others bring (links): env may refer to them, and overrides them. */
  readonly given: readonly EnvVar[];
  readonly nodeName: string;
  readonly hostIP: string;
  /** Stands for the container's own address, which is known only when it starts. */
  readonly podIP: string;
}

export interface Environment {
  readonly env: readonly EnvVar[];
  /** With $(NAME) replaced; undefined as in the spec. */
  readonly command: readonly string[] | undefined;
  readonly args: readonly string[] | undefined;
  /** Names of variables whose values come from Secrets, wholly or in part: to be shown to nobody else. */
  readonly secretNames: ReadonlySet<string>;
  /** Those values themselves. */
  readonly secrets: readonly string[];
  /** What is referred to and not there, in the kubelet's words and with the fix. */
  readonly missing: readonly string[];
  /** What is referred to and not heard of yet. */
  readonly unknown: readonly string[];
}

/**
 * Follows Kubernetes: envFrom in order, then env in order, each overriding what came before; references in values see what
 * was defined before them, command and args see all. What is missing or unknown is left out and named in the result.
 */
export function resolveEnvironment(input: EnvironmentInput): Environment {
  const { object, sources, given } = input;
  const { spec, metadata } = object;
  if (given.length === 0 && !hasSomethingToResolve(spec)) return emptyEnvironment;
  const missing: string[] = [];
  const unknown: string[] = [];
  const find = ({ kind, name }: SourceRef, isOptional: boolean | undefined, field: string): Source | undefined => {
    const lookup = sources.get(kind, metadata.namespace, name);
    if (lookup.kind === 'present') return lookup.source;
    if (lookup.kind === 'unknown') unknown.push(`${kind.toLowerCase()} "${name}"`);
    else if (isOptional !== true)
      missing.push(
        `${kind.toLowerCase()} "${name}" not found; create it in namespace "${metadata.namespace}", or set ${field}.optional`,
      );
    return undefined;
  };
  const textOf = (source: Source, ref: SourceRef, key: string): string | undefined => {
    const bytes = source.data.get(key);
    const text = bytes === undefined ? undefined : decodeText(bytes);
    if (bytes !== undefined && text === undefined)
      missing.push(
        `key ${key} in ${ref.kind} ${metadata.namespace}/${ref.name} is no text without NUL, as a variable must be; mount it as a file`,
      );
    return text;
  };

  const variables = new Map<string, Value>(given.map(({ name, value }) => [name, { text: value, isSecret: false }]));
  for (const [index, { prefix = '', configMapRef, secretRef }] of (spec.envFrom ?? []).entries()) {
    for (const ref of [refOf('ConfigMap', configMapRef), refOf('Secret', secretRef)]) {
      if (ref === undefined) continue;
      const field = `spec.envFrom[${index}].${ref.kind === 'Secret' ? 'secretRef' : 'configMapRef'}`;
      const source = find(ref, (configMapRef ?? secretRef)?.optional, field);
      for (const key of source === undefined ? [] : [...source.data.keys()].sort()) {
        if (source === undefined || source.binaryKeys.has(key)) continue;
        const text = textOf(source, ref, key);
        if (text !== undefined) variables.set(prefix + key, { text, isSecret: ref.kind === 'Secret' });
      }
    }
  }

  const valueFrom = ({ secretKeyRef, configMapKeyRef, fieldRef }: ValueFrom, at: string): Value | undefined => {
    if (fieldRef !== undefined) return { text: fieldOf(fieldRef.fieldPath, input), isSecret: false };
    const ref = refOf('Secret', secretKeyRef) ?? refOf('ConfigMap', configMapKeyRef);
    const { key, optional } = secretKeyRef ?? configMapKeyRef ?? { key: '', optional: true };
    if (ref === undefined) return undefined;
    const isSecret = ref.kind === 'Secret';
    const field = `${at}.${isSecret ? 'secretKeyRef' : 'configMapKeyRef'}`;
    const source = find(ref, optional, field);
    if (source === undefined) return undefined;
    if (!source.data.has(key) || source.binaryKeys.has(key)) {
      if (optional !== true)
        missing.push(
          `couldn't find key ${key} in ${ref.kind} ${metadata.namespace}/${ref.name}; add it there, or set ${field}.optional`,
        );
      return undefined;
    }
    const text = textOf(source, ref, key);
    return text === undefined ? undefined : { text, isSecret };
  };
  for (const [index, entry] of (spec.env ?? []).entries()) {
    const value =
      entry.valueFrom === undefined || (entry.value ?? '') !== ''
        ? expand(entry.value ?? '', variables)
        : valueFrom(entry.valueFrom, `spec.env[${index}].valueFrom`);
    if (value !== undefined) variables.set(entry.name, value);
  }

  const secretArguments: string[] = [];
  const expandAll = (texts: readonly string[] | undefined): readonly string[] | undefined =>
    // As in a Pod, an empty list is one that was not given.
    texts === undefined || texts.length === 0
      ? undefined
      : texts.map((text) => {
          const value = expand(text, variables);
          if (value.isSecret) secretArguments.push(value.text);
          return value.text;
        });
  const command = expandAll(spec.command);
  const args = expandAll(spec.args);
  const secretVariables = [...variables].filter(([, { isSecret }]) => isSecret);
  return {
    env: [...variables].map(([name, { text }]) => ({ name, value: text })),
    command,
    args,
    secretNames: new Set(secretVariables.map(([name]) => name)),
    secrets: distinct([...secretVariables.map(([, { text }]) => text), ...secretArguments]),
    missing: distinct(missing),
    unknown: distinct(unknown),
  };
}

function hasSomethingToResolve({ env, envFrom, command, args }: ContainerSpec): boolean {
  return [env, envFrom, command, args].some((list) => list !== undefined && list.length > 0);
}

const emptyEnvironment: Environment = {
  env: [],
  command: undefined,
  args: undefined,
  secretNames: new Set(),
  secrets: [],
  missing: [],
  unknown: [],
};

function refOf(kind: SourceRef['kind'], ref: { readonly name: string } | undefined): SourceRef | undefined {
  return ref === undefined ? undefined : { kind, name: ref.name };
}

/** undefined for what cannot be an environment variable: bytes that are not UTF-8, or a NUL among them. */
function decodeText(bytes: Buffer): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // Not UTF-8: the caller says so.
  }
}

/** A field of the object. The schema lets no other path through. An absent label or annotation is '', as in Kubernetes. */
function fieldOf(path: string, { object: { metadata }, nodeName, hostIP, podIP }: EnvironmentInput): string {
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/s.exec(path);
  const key = subscript?.[2];
  if (key !== undefined) return (subscript?.[1] === 'labels' ? metadata.labels : metadata.annotations)?.[key] ?? '';
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace;
    case 'metadata.uid':
      return metadata.uid;
    case 'spec.nodeName':
      return nodeName;
    case 'status.hostIP':
      return hostIP;
    case 'status.podIP':
      return podIP;
    default:
      return '';
  }
}

/** Whether env refers to an address of the host, which takes a system call to find out. */
export function needsHostIP({ env }: Pick<ContainerSpec, 'env'>): boolean {
  return (env ?? []).some(({ valueFrom }) => valueFrom?.fieldRef?.fieldPath === 'status.hostIP');
}

/** What is wrong with env and envFrom in themselves. */
export function findEnvironmentProblems({ env, envFrom }: Pick<ContainerSpec, 'env' | 'envFrom'>): string[] {
  const problems: string[] = [];
  const countOf = (object: object): number => Object.values(object).filter((member) => member !== undefined).length;
  for (const [index, { name, value, valueFrom }] of (env ?? []).entries()) {
    if (valueFrom === undefined) continue;
    const field = `spec.env[${index}]`;
    if ((value ?? '') !== '') problems.push(`${field}: "${name}" has both value and valueFrom; give one of them`);
    if (countOf(valueFrom) !== 1)
      problems.push(
        `${field}.valueFrom: "${name}" has ${countOf(valueFrom)} sources; give exactly one of secretKeyRef, configMapKeyRef and fieldRef`,
      );
  }
  for (const [index, { configMapRef, secretRef }] of (envFrom ?? []).entries()) {
    const count = countOf({ configMapRef, secretRef });
    if (count !== 1)
      problems.push(`spec.envFrom[${index}]: has ${count} sources; give exactly one of configMapRef and secretRef`);
  }
  return problems;
}

/** The part of the spec that the environment comes from, without what it refers to: a change of it replaces the container. */
export function environmentSpec({ env, envFrom, command, args }: ContainerSpec): object {
  return {
    entrypoint: command?.length === 0 ? undefined : command,
    cmd: args?.length === 0 ? undefined : args,
    env: (env ?? []).map(({ name, value, valueFrom }) =>
      valueFrom === undefined ? { name, value: value ?? '' } : { name, valueFrom },
    ),
    envFrom: envFrom?.length === 0 ? undefined : envFrom,
  };
}
