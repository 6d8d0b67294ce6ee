/** Takes the figures of one engine, one after the other; a figure that cannot be taken is reported and left out. Effects. */
import { loadavg } from 'node:os';
import type { Engine } from './engine.ts';
import { observeMemory, observeProcesses } from './processes.ts';
import { type Figures, summarize } from './report.ts';

export interface MeasureOptions {
  /** Containers started and killed one by one; at least 20 for a p95 that means something. */
  readonly samples: number;
  /** Containers applied at once, with which memory and idle CPU are measured. */
  readonly containers: number;
  readonly idleMs: number;
  /** Told what is being done. */
  readonly say: (line: string) => void;
}

const warmUps = 3;
/** After a burst, before memory and idle CPU are looked at. */
const settleMs = 10_000;

export async function measure(engine: Engine, options: MeasureOptions): Promise<Figures> {
  const { samples, containers, idleMs, say } = options;
  const attempt = async <T>(what: string, take: () => Promise<T>): Promise<T | undefined> => {
    say(`${engine.name}: ${what}`);
    try {
      return await take();
    } catch (error) {
      say(`${engine.name}: ${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  const single = await attempt(`${samples} containers one by one, each started and killed`, () => one(engine, samples));
  const names = Array.from({ length: containers }, (_, index) => `many-${index}`);
  const perSecond = await attempt(`${containers} containers at once`, async () => {
    const beganMs = performance.now();
    await Promise.all(names.map((name) => engine.run(name)));
    return containers / ((performance.now() - beganMs) / 1000);
  });
  const resting = await attempt(
    `memory, and CPU for ${idleMs / 1000} s at rest, after ${settleMs / 1000} s of it`,
    async () => {
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      return atRest(engine, idleMs, containers);
    },
  );
  return {
    startMs: single?.startMs,
    restartMs: single?.restartMs,
    perSecond,
    daemonRssBytes: resting?.daemonRssBytes,
    daemonPssBytes: resting?.daemonPssBytes,
    monitorPssBytes: resting?.monitorPssBytes,
    idleCpu: resting?.idleCpu,
    load: resting?.load,
  };
}

/** Each sample is a container of its own, so that every kill is met by the first backoff. */
async function one(engine: Engine, samples: number): Promise<Required<Pick<Figures, 'startMs' | 'restartMs'>>> {
  const starts: number[] = [];
  const restarts: number[] = [];
  for (let sample = -warmUps; sample < samples; sample += 1) {
    const name = `one-${sample + warmUps}`;
    const startedMs = performance.now();
    await engine.run(name);
    const startTookMs = performance.now() - startedMs;

    const pid = await engine.pidOf(name);
    const isBack = engine.runsAgain(name, pid);
    const killedMs = performance.now();
    process.kill(pid, 'SIGKILL');
    await isBack;
    const restartTookMs = performance.now() - killedMs;

    if (sample >= 0) {
      starts.push(startTookMs);
      restarts.push(restartTookMs);
    }
    await engine.remove([name]);
  }
  return { startMs: summarize(starts), restartMs: summarize(restarts) };
}

async function atRest(engine: Engine, idleMs: number, containers: number) {
  const { daemon, monitors } = await engine.processes();
  if (daemon.length === 0) throw new Error('no process of the daemon was found');
  if (monitors.length !== containers)
    throw new Error(`${monitors.length} monitors were found for ${containers} containers`);
  const memory = await observeMemory(daemon);
  const monitorMemory = await observeMemory(monitors);
  const beganMs = performance.now();
  const before = await cpuSecondsOf(daemon);
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  const after = await cpuSecondsOf(daemon);
  return {
    daemonRssBytes: memory.rssBytes,
    daemonPssBytes: memory.pssBytes,
    monitorPssBytes: monitorMemory.pssBytes / monitors.length,
    idleCpu: (after - before) / ((performance.now() - beganMs) / 1000),
    load: loadavg()[0],
  };
}

async function cpuSecondsOf(pids: readonly number[]): Promise<number> {
  const all = await observeProcesses();
  return all.filter(({ pid }) => pids.includes(pid)).reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
}
