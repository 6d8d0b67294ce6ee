/** `holdfast down`: ends the daemon, stops the containers gracefully, and removes all that they left on the host. Effects. */
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { afterPreStopMs, labelKeys, parseKeptAction, planStop, runAction } from '../controller/index.ts';
import { type ContainerInfo, createRuntime, type Runtime, removeHostState } from '../runtime/index.ts';
import type { Config } from './config.ts';
import { findInstance, lockInstance } from './instance-lock.ts';

const daemonDeadlineMs = 30_000;
/** Longest wait for a container, whatever grace its spec gives: somebody sits before the terminal. */
const maxGraceMs = 60_000;
const pollMs = 50;

export async function down(config: Config, log: Logger, say: (line: string) => void): Promise<void> {
  const pid = await findInstance(config.dataDir);
  if (pid !== undefined) {
    say(`stopping holdfast (process ${pid})`);
    process.kill(pid, 'SIGTERM');
    await until(
      async () => (await findInstance(config.dataDir)) === undefined,
      daemonDeadlineMs,
      `process ${pid} did not end within 30 s; end it with kill -9 ${pid} and run this again`,
    );
  }
  const lock = await lockInstance(config.dataDir);
  try {
    const { dataDir, runDir, bridge, subnet, subnet6, registriesConf } = config;
    const runtimeDeps = { dataDir, runDir, bridge, subnet, subnet6, registriesConf, log, metrics: new Registry() };
    // Nothing starts any more, so no network is made ready.
    const runtime = await createRuntime({ ...runtimeDeps, netnsPoolSize: 0 });
    try {
      await stopAll(runtime, say);
    } finally {
      await runtime.close();
    }
    await removeHostState(runtimeDeps);
    say('all containers of this instance are gone; their objects are kept and start again with the next `holdfast up`');
  } finally {
    await lock.close();
  }
}

/**
 * Stops everything that runs, dependents before what they depend on, the others at once, and kills what does not obey. Each
 * stop has a bound, so one that is stuck delays those that wait for it no longer than that.
 */
async function stopAll(runtime: Runtime, say: (line: string) => void): Promise<void> {
  const running = (await runtime.containers.list()).filter(({ state }) => state.kind === 'running');
  const stopped = new Map<string, PromiseWithResolvers<void>>(
    running.map(({ id }) => [id, Promise.withResolvers<void>()]),
  );
  const waves = planStop(running.map(({ id, labels }) => ({ id, labels })));
  await Promise.all(
    running.map(async (container) => {
      const { id } = container;
      try {
        await Promise.all((waves.get(id) ?? []).map((one) => stopped.get(one)?.promise));
        await stopOne(runtime, container, say);
      } finally {
        stopped.get(id)?.resolve();
      }
    }),
  );
}

async function stopOne(runtime: Runtime, container: ContainerInfo, say: (line: string) => void): Promise<void> {
  const { id, name, state, ip, stopSignal, labels } = container;
  say(`stopping ${name}`);
  const graceMs = Math.min(maxGraceMs, Number(labels[labelKeys.graceMs] ?? 10_000));
  const deadlineMs = Date.now() + graceMs;
  const isPaused = state.kind === 'running' && state.isPaused === true;
  const preStop = parseKeptAction(labels[labelKeys.preStop]);
  if (preStop !== undefined && graceMs > 0) {
    if (isPaused) await runtime.containers.resume(id);
    const request = { action: preStop, containerID: id, ip, timeoutMs: graceMs, secrets: [] };
    const { result } = await runAction(request, runtime.containers, new AbortController().signal);
    // Which secrets the container has nobody knows here, so nothing is told of what its hook said.
    if (result === 'failure' || result === 'unknown') say(`the preStop hook of ${name} failed`);
  }
  await runtime.containers.signal(id, stopSignal);
  if (isPaused && preStop === undefined) await runtime.containers.resume(id);
  const hasEnded = async (): Promise<boolean> => (await runtime.containers.inspect(id))?.state.kind !== 'running';
  const killAtMs = preStop === undefined ? deadlineMs : Math.max(deadlineMs, Date.now() + afterPreStopMs);
  while (Date.now() < killAtMs && !(await hasEnded())) await new Promise((resolve) => setTimeout(resolve, pollMs));
  // Their objects stay, and their volumes wait for the next `holdfast up`.
  await runtime.containers.remove(id, { volumes: 'keep' });
}

async function until(condition: () => Promise<boolean>, deadlineMs: number, otherwise: string): Promise<void> {
  const endMs = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(otherwise);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
