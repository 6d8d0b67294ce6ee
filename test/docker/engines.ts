/** The engines that the same script runs against. Effects; close() undoes all of them and looks for what is left. */
import { join } from 'node:path';
import { startDockerd } from '../dockerd.ts';
import { createInstance } from '../instance.ts';
import { assertNoLeaks, snapshotHost } from '../leaks.ts';

export interface DockerEngine {
  /** Of the Engine API. */
  readonly socketPath: string;
  /** The end of what its daemon logged, for failures. */
  log(): string;
  close(): Promise<void>;
}

export async function startHoldfastEngine(): Promise<DockerEngine> {
  const before = await snapshotHost();
  const instance = await createInstance();
  const close = async (): Promise<void> => {
    await instance.close();
    await assertNoLeaks(before, instance);
  };
  try {
    await instance.start();
    return { socketPath: join(instance.runDir, 'docker.sock'), log: () => instance.log, close };
  } catch (error) {
    await close();
    throw error;
  }
}

export async function startDockerdEngine(): Promise<DockerEngine> {
  const daemon = await startDockerd();
  return { socketPath: daemon.socketPath, log: () => '', close: daemon.close };
}
