/** Store processes to be killed: each on the data directory of the one before, and loaded while that one still runs. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client, makeDir } from './fixture.ts';

export interface KilledStore {
  readonly client: Client;
  kill(): Promise<void>;
}

export class KillRig {
  readonly dataDir: string;
  readonly #children = new Set<ChildProcess>();
  #standby: ChildProcess | undefined;

  /** On a data directory of its own. */
  static async create(): Promise<KillRig> {
    return new KillRig(await makeDir());
  }

  private constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  /** Opens the store; the process that is to follow begins to load. */
  async start(): Promise<KilledStore> {
    const { child, lines, ended } = await this.#next();
    child.stdin?.write('open\n');
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [unknown];
    assert.equal(typeof line, 'string', `the store ended with ${String(line)}`);
    this.#standby = this.#spawn();
    const client = new Client(JSON.parse(String(line)));
    return {
      client,
      kill: async () => {
        child.kill('SIGKILL');
        await ended;
        this.#children.delete(child);
        await client.close();
      },
    };
  }

  /** Kills it so long after it began to open the store, whether it is done with that or not. */
  async startAndKill(afterMs: number): Promise<void> {
    const { child, ended } = await this.#next();
    this.#standby = this.#spawn();
    child.stdin?.write('open\n');
    const timer = setTimeout(() => child.kill('SIGKILL'), afterMs);
    await ended;
    clearTimeout(timer);
    this.#children.delete(child);
  }

  /** The next process, once it is loaded. */
  async #next() {
    const child = this.#standby ?? this.#spawn();
    this.#standby = undefined;
    const ended = once(child, 'exit');
    assert.ok(child.stdout !== null);
    const lines = createInterface(child.stdout);
    const [loaded] = (await Promise.race([once(lines, 'line'), ended])) as [unknown];
    assert.equal(loaded, 'loaded', `the store ended with ${String(loaded)}`);
    return { child, lines, ended };
  }

  async close(): Promise<void> {
    const ends = [...this.#children].map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    });
    // What still runs may write to the folder.
    await Promise.all(ends);
    await rm(this.dataDir, { recursive: true, force: true });
  }

  #spawn(): ChildProcess {
    const program = join(import.meta.dirname, 'store-process.ts');
    const child = spawn(process.execPath, [program, this.dataDir], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'holdfast-crash-compile-cache') },
    });
    child.stdin?.on('error', () => {}); // it was killed
    this.#children.add(child);
    return child;
  }
}
