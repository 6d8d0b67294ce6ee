/**
 * The process.json of a further process in a container: that of its first process, with what the request changes.
 * Pure. Source: opencontainers/runtime-spec config.md (process); the rules are those of docker exec.
 */
import { posix } from 'node:path';
import { decideCapabilities } from './capabilities.ts';
import {
  ContainerConfigError,
  type EnvVar,
  type ExecRequest,
  type SecurityConfig,
  type TerminalSize,
} from './interface.ts';
import { isObject, type Json } from './json.ts';
import { formatRlimits } from './kernel-settings.ts';
import type { ProcessUser } from './user.ts';

/** `process` of a config.json, as far as it is looked at; the rest is handed on. */
export interface OciProcess extends Json {
  readonly env: readonly string[];
  readonly user: Readonly<{ uid: number; gid: number }> & Json;
  readonly capabilities?: Readonly<Partial<Record<'bounding' | 'effective' | 'permitted', readonly string[]>>> & Json;
  readonly oomScoreAdj?: number;
}

/** Reads the process of a config.json that we wrote. undefined if it is not one. */
export function parseOciProcess(config: Json | undefined): OciProcess | undefined {
  const found = config?.process;
  if (!isObject(found) || !Array.isArray(found.env) || !isObject(found.user)) return undefined;
  if (typeof found.user.uid !== 'number' || typeof found.user.gid !== 'number') return undefined;
  return found as OciProcess; // the members that are looked at are as we write them
}

/** Throws ContainerConfigError naming the member of the request that cannot be. */
export function checkExecRequest({ args, env = [], workingDir }: ExecRequest): void {
  if (args[0] === undefined || args[0] === '') {
    throw new ContainerConfigError('args', 'there is no program to run; give a command');
  }
  const withNul = args.find((arg) => arg.includes('\0'));
  if (withNul !== undefined) {
    throw new ContainerConfigError(
      'args',
      `argument ${JSON.stringify(withNul)} holds a NUL byte, which no program takes`,
    );
  }
  for (const { name, value } of env) {
    if (name === '' || name.includes('=') || `${name}${value}`.includes('\0')) {
      throw new ContainerConfigError('env', `${JSON.stringify(name)} cannot be an environment variable; rename it`);
    }
  }
  if (workingDir !== undefined && (!workingDir.startsWith('/') || workingDir.includes('\0'))) {
    throw new ContainerConfigError(
      'workingDir',
      `${JSON.stringify(workingDir)} is not an absolute path; start it with /`,
    );
  }
}

/** A size as the kernel keeps it, in 16 bits. */
export function boundSize({ rows, columns }: TerminalSize): TerminalSize {
  const bound = (size: number): number => (Number.isFinite(size) ? Math.min(65_535, Math.max(0, Math.round(size))) : 0);
  return { rows: bound(rows), columns: bound(columns) };
}

/** conmon reads so much at once, and of several lines in it takes the first one again and again (seen in 2.1.6). */
const conmonReadBytes = 199;
const conmonMaxCells = 1_000;

/** A size for conmon's FIFO winsz: a line that fills a read, so that one which comes right after it is not lost. */
export function formatConmonSize(size: TerminalSize): string {
  const { rows, columns } = boundSize(size);
  const text = `${Math.min(rows, conmonMaxCells)} ${Math.min(columns, conmonMaxCells)}`;
  return `${text.padEnd(conmonReadBytes - 1)}\n`;
}

export interface ExecProcessInput {
  readonly base: OciProcess;
  readonly request: ExecRequest;
  readonly security: SecurityConfig;
  /** Looked up in the container, if the request names one. */
  readonly user?: ProcessUser | undefined;
  /** Capabilities that the host has to give. */
  readonly available: readonly string[];
  /** Whether image or container set HOME themselves; else it follows the user. */
  readonly isHomeSet: boolean;
}

export function formatExecProcess(input: ExecProcessInput): OciProcess {
  const { base, request, user, isHomeSet } = input;
  const { terminal: _terminal, consoleSize: _size, args: _args, ...rest } = base;
  const { hasTerminal } = request;
  const size = request.size === undefined ? undefined : boundSize(request.size);
  return {
    ...rest,
    terminal: hasTerminal,
    // Formatted anew: "no limit" is a number that does not survive being read.
    rlimits: formatRlimits(input.security.ulimits ?? []),
    ...(hasTerminal && size !== undefined ? { consoleSize: { height: size.rows, width: size.columns } } : {}),
    args: request.args,
    env: mergeEnv(base.env, [
      ...(user === undefined || isHomeSet ? [] : [{ name: 'HOME', value: user.home }]),
      ...(hasTerminal && !base.env.some((entry) => entry.startsWith('TERM='))
        ? [{ name: 'TERM', value: 'xterm' }]
        : []),
      ...(request.env ?? []),
    ]),
    ...(request.workingDir === undefined ? {} : { cwd: posix.normalize(request.workingDir) }),
    ...(user === undefined ? {} : { user: formatUser(base, user) }),
    ...formatCapabilities(input),
  };
}

function formatUser(base: OciProcess, { uid, gid, additionalGids }: ProcessUser): OciProcess['user'] {
  const { additionalGids: _groups, ...rest } = base.user;
  return { ...rest, uid, gid, ...(additionalGids.length === 0 ? {} : { additionalGids }) };
}

/** Those that the container's own process would have as this user, or all. */
function formatCapabilities({ base, request, security, user, available }: ExecProcessInput): Json {
  const isPrivileged = request.isPrivileged === true;
  if (base.capabilities === undefined || (user === undefined && !isPrivileged)) return {};
  const { uid } = user ?? base.user;
  const capabilities = isPrivileged
    ? { bounding: available, effective: available, permitted: available }
    : decideCapabilities({ security, uid, available: base.capabilities.bounding ?? [] });
  return { capabilities };
}

function mergeEnv(base: readonly string[], changes: readonly EnvVar[]): readonly string[] {
  const merged = new Map<string, string>();
  for (const entry of base) merged.set(entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1));
  for (const { name, value } of changes) merged.set(name, value);
  return [...merged].map(([name, value]) => `${name}=${value}`);
}
