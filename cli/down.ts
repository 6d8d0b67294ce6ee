/** `holdfast down`: ends the daemon, stops the containers gracefully, and removes all that they left on the host. Effects. */
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { labelKeys } from '../controller/index.ts';
import { createRuntime, type Runtime, removeHostState } from '../runtime/index.ts';
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
    const runtime = await createRuntime(runtimeDeps);
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

/** Stops everything that runs, latest first, all at once; kills what does not obey. */
async function stopAll(runtime: Runtime, say: (line: string) => void): Promise<void> {
  const running = (await runtime.containers.list()).filter(({ state }) => state.kind === 'running');
  await Promise.all(
    running.map(async ({ id, name, state, stopSignal, labels }) => {
      say(`stopping ${name}`);
      await runtime.containers.signal(id, stopSignal);
      if (state.kind === 'running' && state.isPaused === true) await runtime.containers.resume(id);
      const graceMs = Math.min(maxGraceMs, Number(labels[labelKeys.graceMs] ?? 10_000));
      const hasEnded = async (): Promise<boolean> => (await runtime.containers.inspect(id))?.state.kind !== 'running';
      const deadlineMs = Date.now() + graceMs;
      while (Date.now() < deadlineMs && !(await hasEnded()))
        await new Promise((resolve) => setTimeout(resolve, pollMs));
      // Their objects stay, and their volumes wait for the next `holdfast up`.
      await runtime.containers.remove(id, { volumes: 'keep' });
    }),
  );
}

async function until(condition: () => Promise<boolean>, deadlineMs: number, otherwise: string): Promise<void> {
  const endMs = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(otherwise);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
