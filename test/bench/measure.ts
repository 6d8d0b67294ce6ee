/** Takes the figures of one engine, one after the other; a figure that cannot be taken is reported and left out. Effects. */
import { loadavg } from 'node:os';
import type { Engine } from './engine.ts';
import { type Keeper, measureHealing } from './heal.ts';
import { observeMemory, observeProcesses } from './processes.ts';
import { type Distribution, type Figures, noFigures, summarize } from './report.ts';

export interface MeasureOptions {
  /** Containers started and killed one by one; at least 20 for a p95 that means something. */
  readonly samples: number;
  /** Containers applied at once, with which memory and idle CPU are measured. */
  readonly containers: number;
  readonly idleMs: number;
  readonly figures: 'all' | 'streams' | 'heal';
  /** Told what is being done. */
  readonly say: (line: string) => void;
}

const warmUps = 3;
const streamed = 'streamed';
const logged = 'logged';
const logBytes = 100_000_000;
/** After a burst, before memory and idle CPU are looked at. */
const settleMs = 10_000;

export async function measure(engine: Engine, options: MeasureOptions): Promise<Figures> {
  const { samples, containers, idleMs, say } = options;
  const isAll = options.figures === 'all';
  const attempt = async <T>(what: string, take: () => Promise<T>): Promise<T | undefined> => {
    say(`${engine.name}: ${what}`);
    try {
      return await take();
    } catch (error) {
      say(`${engine.name}: ${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  if (options.figures === 'heal') return { ...noFigures, healMs: await healing(engine, options) };
  const single = isAll
    ? await attempt(`${samples} containers one by one, each started and killed`, () => one(engine, samples))
    : undefined;
  await attempt('a container for streams', () => engine.run(streamed));
  const execMs = await attempt(`${samples} programs in a container, one by one`, () => execs(engine, samples));
  const echoMs = await attempt(`${samples * 5} keys to a terminal`, () => echoes(engine, samples * 5));
  await attempt('its end', () => engine.remove([streamed]));
  const logBytesPerSecond = await attempt(`a log of ${logBytes / 1e6} MB`, () => logging(engine));
  if (!isAll) return { ...noFigures, execMs, echoMs, logBytesPerSecond };
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
  await attempt('their end', () => engine.remove(names));
  return {
    startMs: single?.startMs,
    restartMs: single?.restartMs,
    healMs: await healing(engine, options),
    perSecond,
    execMs,
    echoMs,
    logBytesPerSecond,
    daemonRssBytes: resting?.daemonRssBytes,
    daemonPssBytes: resting?.daemonPssBytes,
    monitorPssBytes: resting?.monitorPssBytes,
    idleCpu: resting?.idleCpu,
    load: resting?.load,
  };
}

/** How often each of those that run is killed, for a p99 that means something. */
const healRounds = 2;

/** Also of those that keep no containers. What they kept is taken down when they are closed. */
export async function healing(
  keeper: Keeper,
  { containers, say }: Pick<MeasureOptions, 'containers' | 'say'>,
): Promise<Distribution | undefined> {
  const what = `${keeper.name}: ${containers} that run, each killed ${healRounds} times, one by one`;
  say(what);
  try {
    return await measureHealing(keeper, { processes: containers, rounds: healRounds });
  } catch (error) {
    say(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

async function execs(engine: Engine, samples: number): Promise<Distribution> {
  const times: number[] = [];
  for (let sample = -warmUps; sample < samples; sample += 1) {
    const beganMs = performance.now();
    const code = await engine.exec(streamed, ['true']);
    if (code !== 0) throw new Error(`true ended with ${code}`);
    if (sample >= 0) times.push(performance.now() - beganMs);
  }
  return summarize(times);
}

async function echoes(engine: Engine, samples: number): Promise<Distribution> {
  const terminal = await engine.openTerminal(streamed);
  try {
    const times: number[] = [];
    for (let sample = -warmUps; sample < samples; sample += 1) {
      const beganMs = performance.now();
      await terminal.echo();
      if (sample >= 0) times.push(performance.now() - beganMs);
      // As nobody types faster; and so that each key is one message.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return summarize(times);
  } finally {
    terminal.close();
  }
}

/** Bytes that the container wrote, by the time from its spec to its end. */
async function logging(engine: Engine): Promise<number> {
  const line = 'x'.repeat(99);
  const beganMs = performance.now();
  await engine.runToEnd(logged, ['sh', '-c', `yes ${line} | head -c ${logBytes}`]);
  const seconds = (performance.now() - beganMs) / 1_000;
  await engine.remove([logged]);
  return logBytes / seconds;
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
