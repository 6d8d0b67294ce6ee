/**
 * What `docker exec` was asked to run: kept in memory from the request on, some minutes beyond the end, and not longer than
 * the container. Effects: timers.
 */

import { containerIDOf } from '../crds/index.ts';
import type { ExecRequest, StreamSession } from '../runtime/index.ts';
import { DockerError, notFound } from './docker-error.ts';
import type { Gateway } from './gateway-parts.ts';

export interface ExecInstance {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly containerID: string;
  readonly request: ExecRequest;
  readonly wants: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  readonly detachKeys: Buffer;
  /** created, then starting and running, then exited; a start that failed is an exit. */
  state: 'created' | 'starting' | 'running' | 'exited';
  exitCode?: number | undefined;
  pid: number;
  session?: StreamSession | undefined;
  /** Asked for before there was a terminal. */
  size?: { readonly rows: number; readonly columns: number } | undefined;
}

export interface ExecInstances {
  /** Throws DockerError when there are too many. */
  add(instance: ExecInstance): void;
  /** Throws DockerError: there is none. */
  get(id: string): ExecInstance;
  idsOf(containerID: string): readonly string[];
  /** It is remembered for a while. */
  ended(instance: ExecInstance, exitCode: number | undefined): void;
  close(): void;
}

const mostInstances = 4_096;
/** Source: moby daemon/exec.go, execCommandGC. */
const keptMs = 5 * 60_000;

export function createExecInstances({ objects }: Pick<Gateway, 'objects'>): ExecInstances {
  /** The oldest first. */
  const known = new Map<string, ExecInstance>();
  const timers = new Set<NodeJS.Timeout>();
  const forgetLater = (id: string): void => {
    const timer = setTimeout(() => {
      known.delete(id);
      timers.delete(timer);
    }, keptMs).unref();
    timers.add(timer);
  };
  const forgetGone = objects.subscribe(({ before, after }) => {
    if (before === undefined || after !== undefined) return;
    const gone = containerIDOf(before);
    // One that is renamed has another object by now.
    if (objects.list().some((one) => containerIDOf(one) === gone)) return;
    for (const [id, { containerID }] of known) if (containerID === gone) known.delete(id);
  });
  return {
    add: (instance) => {
      if (known.size >= mostInstances) {
        const idle = [...known.values()].find(({ state }) => state === 'created' || state === 'exited');
        if (idle === undefined)
          throw new DockerError(503, `${mostInstances} commands run already by docker exec; end some of them first`);
        known.delete(idle.id);
      }
      known.set(instance.id, instance);
    },
    get: (id) => {
      const found = known.get(id);
      if (found === undefined) throw notFound(`No such exec instance: ${id.slice(0, 100)}`);
      return found;
    },
    idsOf: (containerID) =>
      [...known.values()]
        .filter((one) => one.containerID === containerID && one.state === 'running')
        .map(({ id }) => id),
    ended: (instance, exitCode) => {
      instance.state = 'exited';
      instance.exitCode = exitCode;
      instance.session = undefined;
      instance.pid = 0;
      forgetLater(instance.id);
    },
    close: () => {
      forgetGone();
      for (const timer of timers) clearTimeout(timer);
      known.clear();
    },
  };
}
