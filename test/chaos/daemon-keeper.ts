/** Keeps the daemon up as systemd's Restart=always would, and notes when it ended without being killed by the chaos. Effects. */
import { setTimeout as wait } from 'node:timers/promises';
import type { Instance } from '../instance.ts';
import { until } from '../until.ts';
import { observeProcess } from './host-view.ts';

const lookEveryMs = 20;

export class DaemonKeeper {
  readonly #instance: Instance;
  readonly #closing = new AbortController();
  readonly #keeping: Promise<void>;
  #isKilled = false;
  starts = 0;
  /** The end of its log, each time that it ended by itself. */
  readonly ownEnds: string[] = [];

  /** Of an instance that was started. */
  constructor(instance: Instance) {
    this.#instance = instance;
    this.#keeping = this.#keep();
  }

  /** Resolves when it is dead. */
  async kill(): Promise<void> {
    // One that is being started is killed as well: but only once it has begun.
    await until(() => this.#pid() !== undefined, 'a daemon to kill', 60_000);
    const pid = this.#pid();
    if (pid === undefined) return;
    this.#isKilled = true;
    process.kill(pid, 'SIGKILL');
    await until(() => observeProcess(pid) === undefined, 'the daemon to be dead', 60_000);
  }

  /** What is wrong with the daemon. */
  async findFlaw(): Promise<string | undefined> {
    const answer = await fetch(`${this.#instance.metricsUrl}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(
      () => undefined, // it does not answer
    );
    return answer?.status === 200 ? undefined : 'the daemon is not ready';
  }

  /** Leaves the daemon as it is. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#keeping;
  }

  #pid(): number | undefined {
    try {
      return observeProcess(this.#instance.pid)?.pid;
    } catch {
      return undefined; // it was not started yet
    }
  }

  async #keep(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await wait(lookEveryMs, undefined, { signal: this.#closing.signal }).catch(() => {}); // Aborted: the loop ends.
      if (this.#closing.signal.aborted || this.#pid() !== undefined) continue;
      if (!this.#isKilled) this.ownEnds.push(this.#instance.log.slice(-2_000));
      this.#isKilled = false;
      await this.#instance.stop('SIGKILL'); // Forgets the one that has ended.
      this.starts += 1;
      // Whatever it fails for, a full disk or another kill: it is tried again at once.
      await this.#instance.start().catch(() => {});
    }
  }
}
