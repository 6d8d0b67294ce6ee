/** From a spec's probes and hooks to what the prober carries out, with what cannot be. Pure; used by desired.ts. */
import { isIP } from 'node:net';
import type { ContainerSpec } from '../crds/index.ts';
import { expand, type Value } from './expand.ts';

/** What is done once for a probe or a hook. */
export type Action =
  | { readonly kind: 'exec'; readonly command: readonly string[] }
  | {
      readonly kind: 'http';
      readonly scheme: 'http' | 'https';
      /** undefined: the container's address. */
      readonly host?: string | undefined;
      readonly port: number;
      /** With its query; begins with /. */
      readonly path: string;
      readonly headers: readonly { readonly name: string; readonly value: string }[];
    }
  | { readonly kind: 'tcp'; readonly host?: string | undefined; readonly port: number }
  | { readonly kind: 'sleep'; readonly ms: number };

export interface ProbeSettings {
  readonly action: Action;
  /** From the start of the run. */
  readonly initialDelayMs: number;
  readonly periodMs: number;
  readonly timeoutMs: number;
  readonly successThreshold: number;
  readonly failureThreshold: number;
  /** In place of the container's own grace when it is stopped for this probe. */
  readonly graceMs?: number | undefined;
}

export type ProbeKind = 'startup' | 'liveness' | 'readiness';

/** All that is asked for; undefined members are not. */
export interface HealthPlan {
  readonly startup?: ProbeSettings | undefined;
  readonly liveness?: ProbeSettings | undefined;
  readonly readiness?: ProbeSettings | undefined;
  readonly postStart?: Action | undefined;
  readonly preStop?: Action | undefined;
}

type ProbeSpec = NonNullable<ContainerSpec['startupProbe'] | ContainerSpec['readinessProbe']>;
type HookSpec = NonNullable<NonNullable<ContainerSpec['lifecycle']>['postStart']>;
type Handlers = Pick<ProbeSpec, 'exec' | 'httpGet' | 'tcpSocket'> & Pick<HookSpec, 'sleep'>;

const probeHandlers = ['exec', 'httpGet', 'tcpSocket'] as const;
const hookHandlers = ['exec', 'httpGet', 'sleep'] as const;

export function parseHealth(spec: ContainerSpec): {
  readonly plan: HealthPlan;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const actionOf = (
    given: Handlers,
    field: string,
    allowed: readonly (keyof Handlers)[],
    isOptional: boolean,
  ): Action | undefined => {
    const kinds = allowed.filter((kind) => given[kind] !== undefined);
    if (kinds.length === 0 && isOptional) return undefined;
    if (kinds.length !== 1) {
      const seen = kinds.length === 0 ? 'none' : kinds.join(' and ');
      problems.push(`${field}: has ${seen} of ${allowed.join(', ')}; give exactly one`);
      return undefined;
    }
    return parseAction(given, field, spec, problems);
  };
  const probe = (
    given: (ProbeSpec & { readonly terminationGracePeriodSeconds?: number | undefined }) | undefined,
    field: string,
  ): ProbeSettings | undefined => {
    if (given === undefined) return undefined;
    const action = actionOf(given, field, probeHandlers, false);
    if (action === undefined) return undefined;
    const graceSeconds = given.terminationGracePeriodSeconds;
    return {
      action,
      initialDelayMs: given.initialDelaySeconds * 1000,
      periodMs: given.periodSeconds * 1000,
      timeoutMs: given.timeoutSeconds * 1000,
      successThreshold: given.successThreshold,
      failureThreshold: given.failureThreshold,
      ...(graceSeconds === undefined ? {} : { graceMs: graceSeconds * 1000 }),
    };
  };
  const hook = (given: HookSpec | undefined, field: string): Action | undefined =>
    given === undefined ? undefined : actionOf(given, field, hookHandlers, true);
  const plan: HealthPlan = {
    startup: probe(spec.startupProbe, 'spec.startupProbe'),
    liveness: probe(spec.livenessProbe, 'spec.livenessProbe'),
    readiness: probe(spec.readinessProbe, 'spec.readinessProbe'),
    postStart: hook(spec.lifecycle?.postStart, 'spec.lifecycle.postStart'),
    preStop: hook(spec.lifecycle?.preStop, 'spec.lifecycle.preStop'),
  };
  return { plan, problems };
}

function parseAction(given: Handlers, field: string, spec: ContainerSpec, problems: string[]): Action | undefined {
  const { exec, httpGet, tcpSocket, sleep } = given;
  const hostOf = (host: string | undefined): string | undefined => host ?? (spec.hostNetwork ? '127.0.0.1' : undefined);
  if (exec !== undefined) {
    if (exec.command.length === 0 || exec.command[0] === '') {
      problems.push(`${field}.exec.command: names no program; write it like ["cat", "/tmp/healthy"]`);
      return undefined;
    }
    const variables = plainVariables(spec);
    return { kind: 'exec', command: exec.command.map((word) => expand(word, variables).text) };
  }
  if (httpGet !== undefined) {
    const port = parsePort(httpGet.port, `${field}.httpGet.port`, spec, problems);
    const scheme = httpGet.scheme === 'HTTPS' ? 'https' : 'http';
    const path = httpGet.path.startsWith('/') ? httpGet.path : `/${httpGet.path}`;
    const host = hostOf(httpGet.host);
    if (!URL.canParse(formatUrl(scheme, host ?? '127.0.0.1', 80, path))) {
      problems.push(`${field}.httpGet: host "${host ?? ''}" and path "${path}" make no URL; correct them`);
      return undefined;
    }
    if (port === undefined) return undefined;
    return { kind: 'http', scheme, host, port, path, headers: httpGet.httpHeaders ?? [] };
  }
  if (tcpSocket !== undefined) {
    const port = parsePort(tcpSocket.port, `${field}.tcpSocket.port`, spec, problems);
    return port === undefined ? undefined : { kind: 'tcp', host: hostOf(tcpSocket.host), port };
  }
  return sleep === undefined ? undefined : { kind: 'sleep', ms: sleep.seconds * 1000 };
}

/** A path may have anything in it that is text, so it is never resolved against the rest, which it could replace. */
export function formatUrl(scheme: 'http' | 'https', host: string, port: number, path: string): string {
  return `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}${path}`;
}

/** By number, or by its name in spec.ports. */
function parsePort(
  given: number | string,
  field: string,
  { ports = [] }: ContainerSpec,
  problems: string[],
): number | undefined {
  const named = typeof given === 'string' ? ports.find(({ name }) => name === given)?.containerPort : undefined;
  const port = named ?? Number(given);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  problems.push(
    `${field}: ${JSON.stringify(given)} is neither a port from 1 to 65535 nor the name of one of spec.ports; correct it, or name the port there`,
  );
  return undefined;
}

/** What $(NAME) may stand for here, as in Kubernetes: variables whose values stand in the spec itself. */
function plainVariables({ env = [] }: ContainerSpec): ReadonlyMap<string, Value> {
  return new Map(
    env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, { text: value, isSecret: false }]])),
  );
}

/** A hook as it was kept as text in a label of the container; undefined for anything else. */
export function parseKeptAction(text: string | undefined): Action | undefined {
  if (text === undefined) return undefined;
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return undefined; // No label of ours: whoever asks goes on without a hook.
  }
  if (typeof raw !== 'object' || raw === null) return undefined;
  const action = raw as Partial<Record<string, unknown>>;
  const isText = (value: unknown): value is string => typeof value === 'string';
  const isPort = (value: unknown): value is number => Number.isInteger(value);
  const host = isText(action.host) ? action.host : undefined;
  switch (action.kind) {
    case 'exec':
      return Array.isArray(action.command) && action.command.every(isText)
        ? { kind: 'exec', command: action.command }
        : undefined;
    case 'http': {
      const { scheme, port, path, headers } = action;
      if ((scheme !== 'http' && scheme !== 'https') || !isPort(port) || !isText(path)) return undefined;
      return {
        kind: 'http',
        scheme,
        host,
        port,
        path,
        headers: Array.isArray(headers) ? headers.flatMap(parseHeader) : [],
      };
    }
    case 'sleep':
      return typeof action.ms === 'number' ? { kind: 'sleep', ms: action.ms } : undefined;
    default:
      return undefined;
  }
}

function parseHeader(raw: unknown): { name: string; value: string }[] {
  if (typeof raw !== 'object' || raw === null || !('name' in raw) || !('value' in raw)) return [];
  return typeof raw.name === 'string' && typeof raw.value === 'string' ? [{ name: raw.name, value: raw.value }] : [];
}
