/** What the bench measures: a container engine with a daemon, driven over HTTP and watched over a stream. */

export interface Engine {
  /** Name and version, for the table. */
  readonly name: string;
  /**
   * Sends the container's spec to the daemon (busybox sleep, with network, image present, restarted at once whenever
   * it ends); resolves when the daemon's event stream says that it runs.
   */
  run(container: string): Promise<void>;
  /** Sends the specs of containers for these processes, each started again at once whenever it ends. Does not wait for them. */
  keep(processes: readonly KeptProcess[]): Promise<void>;
  /** Host process id of the container's PID 1. */
  pidOf(container: string): Promise<number>;
  /** Resolves when the event stream says that a successor of process `pid` runs. Call it before killing. */
  runsAgain(container: string, pid: number): Promise<void>;
  /** Ends and removes containers; resolves when all are gone. */
  remove(containers: readonly string[]): Promise<void>;
  /** Runs a program in a container that runs; resolves to its exit code, once its output has come. */
  exec(container: string, command: readonly string[]): Promise<number>;
  /** A terminal with `cat` in a container that runs. */
  openTerminal(container: string): Promise<Terminal>;
  /** Sends the spec of a container with another command, which is not restarted; resolves when it is said to have ended. */
  runToEnd(container: string, command: readonly string[]): Promise<void>;
  /** Processes of the daemon itself, its helpers included, and the processes that each hold one container. */
  processes(): Promise<{ readonly daemon: readonly number[]; readonly monitors: readonly number[] }>;
  /** Removes all containers, ends the daemon and removes everything that it left on the host. */
  close(): Promise<void>;
}

/** A process that tells by itself when it runs (heal.ts). */
export interface KeptProcess {
  readonly name: string;
  /** Arguments after `sh`. */
  readonly args: readonly string[];
  /** Folder with its pipes; a container needs it at the same path. */
  readonly pipesDir: string;
}

export interface Terminal {
  /** Sends one key; resolves when the terminal has given it back. */
  echo(): Promise<void>;
  close(): void;
}

/** An image for the engines: a busybox with `sleep`. */
export interface BenchImage {
  /** A docker-archive. */
  readonly path: string;
  /** The name inside it. */
  readonly name: string;
}

/** The command of every container that is measured. */
export const benchCommand: readonly string[] = ['/bin/sleep', '1000000'];

const waitDeadlineMs = 60_000;

/** Callers wait for a fact about a name to become true; whoever reads the stream calls `changed`. */
export interface Waits {
  until(what: string, isTrue: () => boolean): Promise<void>;
  changed(): void;
}

export function createWaits(): Waits {
  const waiting = new Set<() => void>();
  return {
    until: (what, isTrue) =>
      new Promise((resolve, reject) => {
        if (isTrue()) return resolve();
        const timer = setTimeout(() => {
          waiting.delete(check);
          reject(new Error(`${what} did not happen within ${waitDeadlineMs / 1000} s`));
        }, waitDeadlineMs);
        const check = () => {
          if (!isTrue()) return;
          waiting.delete(check);
          clearTimeout(timer);
          resolve();
        };
        waiting.add(check);
      }),
    changed: () => {
      for (const check of [...waiting]) check();
    },
  };
}
