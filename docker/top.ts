/**
 * `docker top`: ps of the host, cut down to the processes of a container. Effects: runs ps; the reading is pure.
 * Source: moby daemon/top_unix.go.
 */
import { execFile } from 'node:child_process';
import { containerIDOf } from '../crds/index.ts';
import { badParameter, DockerError } from './docker-error.ts';
import type { Call, Route } from './route.ts';
import { checkAwake, type StreamDeps, tell, toDockerError } from './stream-deps.ts';

export function topRoutes(deps: StreamDeps): readonly Route[] {
  return [{ method: 'GET', path: '/containers/{id}/top', handle: (call) => giveTop(deps, call) }];
}

async function giveTop(deps: StreamDeps, call: Call): Promise<void> {
  const reference = call.params.id ?? '';
  const object = deps.find(reference);
  const args = parsePsArgs(call.query.get('ps_args') ?? '');
  checkAwake(deps, object, { what: 'top', reference });
  try {
    const pids = new Set(await deps.runtime.containers.processes(containerIDOf(object)));
    // With the pids given, if ps takes that beside its other arguments: the host may have many others.
    const text = await runPs([...args, '-q', [...pids].join(',')], call.signal).catch(() => runPs(args, call.signal));
    const answer = parsePs(text, pids);
    tell(deps, object, 'top');
    call.json(200, answer);
  } catch (error) {
    throw toDockerError(error, object);
  }
}

/** Arguments as they are, in the words that a shell without quotes would make. Throws DockerError. */
export function parsePsArgs(text: string): readonly string[] {
  const args = text.split(/[ \t\n]+/).filter((one) => one !== '');
  if (text.length > 1_000 || text.includes('\0')) throw badParameter('ps_args: more than 1000 characters, or a NUL');
  // A column of another name that is called PID would hide the real one.
  for (const [, column = ''] of text.matchAll(/\s+([^\s]*)=\s*PID[^\s]*/g))
    if (column !== 'pid') throw badParameter(`specifying "${column}=PID" is not allowed`);
  return args.length === 0 ? ['-ef'] : args;
}

const deadlineMs = 10_000;
const mostBytes = 16 * 1024 * 1024;

function runPs(args: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      signal,
      timeout: deadlineMs,
      maxBuffer: mostBytes,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
    };
    execFile('ps', [...args], options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const isMissing = 'code' in error && error.code === 'ENOENT';
      const why = isMissing ? 'this host has no ps; install the package procps' : stderr.trim() || error.message;
      reject(new DockerError(500, `ps: ${why}`, { cause: error }));
    });
  });
}

export interface Top {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
}

/** Throws DockerError if there is no column PID. */
export function parsePs(text: string, pids: ReadonlySet<number>): Top {
  const [head = '', ...lines] = text.split('\n').filter((line) => line !== '');
  const Titles = head.split(/\s+/).filter((one) => one !== '');
  const at = Titles.indexOf('PID');
  if (at < 0) throw new DockerError(500, "Couldn't find PID field in ps output");
  const Processes = lines.flatMap((line) => {
    const words = line.split(/\s+/).filter((one) => one !== '');
    if (words[at] === '-' || !pids.has(Number(words[at]))) return [];
    // The last column is a command, which has spaces of its own.
    return [[...words.slice(0, Titles.length - 1), words.slice(Titles.length - 1).join(' ')]];
  });
  return { Titles, Processes };
}
