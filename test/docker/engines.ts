/** The engines that the same script runs against. Effects; close() undoes all of them and looks for what is left. */
import { join } from 'node:path';
import { startDockerd } from '../dockerd.ts';
import { createInstance, type Instance, type InstanceOptions } from '../instance.ts';
import { assertNoLeaks, snapshotHost } from '../leaks.ts';

export interface DockerEngine {
  /** Of the Engine API. */
  readonly socketPath: string;
  /** Of the daemon itself. */
  readonly pid: number;
  /** The end of what it logged, for failures. */
  log(): string;
  close(): Promise<void>;
}

export interface HoldfastEngine extends DockerEngine {
  readonly instance: Instance;
}

export async function startHoldfastEngine(options: InstanceOptions = {}): Promise<HoldfastEngine> {
  const before = await snapshotHost();
  const instance = await createInstance(options);
  const close = async (): Promise<void> => {
    await instance.close();
    await assertNoLeaks(before, instance);
  };
  try {
    await instance.start();
    return {
      instance,
      socketPath: join(instance.runDir, 'docker.sock'),
      pid: instance.pid,
      log: () => instance.log,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

export async function startDockerdEngine(): Promise<DockerEngine> {
  const daemon = await startDockerd();
  return { socketPath: daemon.socketPath, pid: daemon.rootPid, log: () => '', close: daemon.close };
}

/** Holdfast; or dockerd, if one wants to see that a test asks for nothing but what Docker does. */
export async function startChosenEngine(options: InstanceOptions = {}): Promise<DockerEngine> {
  return await (process.env.HOLDFAST_TEST_ENGINE === 'dockerd' ? startDockerdEngine() : startHoldfastEngine(options));
}
