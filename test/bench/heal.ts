/**
 * How long a killed process is away: many run, one after the other is killed. The same for whoever keeps processes, since
 * each process tells by itself that it runs: it writes its name into a pipe, and then waits for ever. Effects.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { run } from '../instance.ts';
import { createWaits, type KeptProcess, type Waits } from './engine.ts';
import { type Distribution, summarize } from './report.ts';

/** Whoever starts a process again that was killed. */
export interface Keeper {
  /** Name and version, for the table. */
  readonly name: string;
  /** Starts these, each to be started again at once whenever it ends. */
  keep(processes: readonly KeptProcess[]): Promise<void>;
}

export interface HealOptions {
  readonly processes: number;
  /** Each process is killed so many times, in rounds. */
  readonly rounds: number;
}

/** Between two kills, so that each is a kill of its own and not one of a storm. */
const restMs = 50;
/** Between two rounds: dockerd and our resetAfter count on the process having run for a while. */
const roundRestMs = 1_000;

export async function measureHealing(keeper: Keeper, { processes, rounds }: HealOptions): Promise<Distribution> {
  const pipesDir = await mkdtemp(join(tmpdir(), 'holdfast-bench-heal-'));
  const waits = createWaits();
  const starts = new Map<string, number>();
  let pipe: ChildProcess | undefined;
  try {
    const made = await run(
      'mkfifo',
      ['up', 'never'].map((name) => join(pipesDir, name)),
    );
    if (made.code !== 0) throw new Error(`mkfifo: ${made.stderr}`);
    pipe = listen(join(pipesDir, 'up'), starts, waits);
    const kept = Array.from({ length: processes }, (_, index): KeptProcess => {
      const name = `kept-${index}`;
      // It has no child that could outlive it: opening a pipe that nobody writes to waits for ever.
      const script = `echo $0 > ${pipesDir}/up; read -r forever < ${pipesDir}/never`;
      return { name, args: ['-c', script, name], pipesDir };
    });
    await keeper.keep(kept);
    await waits.until(`the start of all by ${keeper.name}`, () => kept.every(({ name }) => starts.has(name)));
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await wait(roundRestMs);
      const pids = await observePids(pipesDir);
      for (const { name } of kept) {
        const pid = pids.get(name);
        if (pid === undefined) throw new Error(`${name} does not run, or runs more than once`);
        const before = starts.get(name) ?? 0;
        const killedMs = performance.now();
        process.kill(pid, 'SIGKILL');
        await waits.until(`the restart of ${name} by ${keeper.name}`, () => (starts.get(name) ?? 0) > before);
        times.push(performance.now() - killedMs);
        await wait(restMs);
      }
    }
    return summarize(times);
  } finally {
    pipe?.kill('SIGKILL');
    await rm(pipesDir, { recursive: true, force: true });
  }
}

/** Counts the names that are written into the pipe. */
function listen(path: string, starts: Map<string, number>, waits: Waits): ChildProcess {
  // Opened for both, the pipe never ends, however many write to it one after the other.
  const child = spawn('sh', ['-c', 'exec cat <>"$0"', path], { stdio: ['ignore', 'pipe', 'ignore'] });
  let rest = '';
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const name of lines) starts.set(name, (starts.get(name) ?? 0) + 1);
    waits.changed();
  });
  return child;
}

/** Host process ids by name: those that wait at the pipes of this folder. A name that is there twice is left out. */
async function observePids(pipesDir: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const doubled = new Set<string>();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [program = '', , script = '', name] = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')) // it has ended
      .split('\0');
    if (name === undefined || !/(^|\/)sh$/.test(program) || !script.includes(`${pipesDir}/never`)) continue;
    if (found.has(name)) doubled.add(name);
    found.set(name, Number(pid));
  }
  for (const name of doubled) found.delete(name);
  return found;
}
