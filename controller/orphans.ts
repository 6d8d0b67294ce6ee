/** Containers whose object is gone: stopped gracefully, then removed. Effects. */
import { type ContainerInfo, VolumeInUseError } from '../runtime/index.ts';
import { decideHalt } from './decide.ts';
import { labelKeys } from './desired.ts';
import type { ReconcileDeps } from './entry.ts';
import { emptyHistory, followClock } from './history.ts';
import { parseKeptAction } from './probe-spec.ts';

/** After SIGKILL: how soon to look again if no exit is reported. */
export const killCheckMs = 500;

/** Returns when to look again, in milliseconds, or undefined once nothing is left of it. */
export async function haltOrphan(key: string, id: string, deps: ReconcileDeps): Promise<number | undefined> {
  const { runtime, log, puller, entries, view, prober } = deps;
  puller.forget(id);
  const container = await runtime.containers.inspect(id);
  if (container?.state.kind === 'running') return await stopOrphan(key, container, deps);
  if (container !== undefined) {
    log.info({ containerID: id, container: key }, 'removing a container whose object is gone');
    await runtime.containers.remove(id);
    await deleteVolumes(container.labels[labelKeys.volumesToDelete]?.split(',') ?? [], key, deps);
  }
  entries.delete(id);
  prober.ended(id);
  view.release(key, id);
  view.stateChanged(key);
  return undefined;
}

/** Deletes named volumes that go with an object that is gone, but for those that another container has. */
export async function deleteVolumes(
  names: readonly string[],
  key: string,
  { runtime, log }: Pick<ReconcileDeps, 'runtime' | 'log'>,
): Promise<void> {
  for (const volume of names) {
    try {
      await runtime.volumes.remove(volume);
    } catch (error) {
      if (!(error instanceof VolumeInUseError)) throw error;
      log.info({ container: key, volume, err: error }, 'a volume outlives its object, since it is in use');
    }
  }
}

async function stopOrphan(key: string, container: ContainerInfo, deps: ReconcileDeps): Promise<number> {
  const { runtime, now, log, entries, prober } = deps;
  const { id, labels } = container;
  const entry = entries.get(id) ?? { key, history: emptyHistory };
  entries.set(id, entry);
  entry.history = followClock(entry.history, now());
  const graceMs = Number(labels[labelKeys.graceMs] ?? 0);
  const action = parseKeptAction(labels[labelKeys.preStop]);
  const preStop = action === undefined ? 'none' : prober.preStopState(id);
  const step = decideHalt({ stop: entry.history.stop, graceMs, preStop, nowMs: now() }, 'orphaned');
  log.info({ containerID: id, container: key, step: step.kind }, 'container without an object');
  const isPaused = container.state.kind === 'running' && container.state.isPaused === true;
  switch (step.kind) {
    case 'wait':
      return step.untilMs - now();
    case 'pre-stop':
      if (isPaused) await runtime.containers.resume(id);
      entry.history = {
        ...entry.history,
        stop: { sinceMs: now(), killAtMs: step.killAtMs, isWithdrawn: false, awaitsPreStop: true },
      };
      if (action !== undefined)
        prober.startPreStop({
          ...{ key, object: undefined, containerID: id, ip: container.ip, action, secrets: [] },
          timeoutMs: Math.max(0, step.killAtMs - now()),
        });
      return step.killAtMs - now();
    case 'stop':
      await runtime.containers.signal(id, stopSignalOf(container));
      if (isPaused) await runtime.containers.resume(id);
      entry.history = { ...entry.history, stop: { sinceMs: now(), killAtMs: step.killAtMs, isWithdrawn: false } };
      return step.killAtMs - now();
    case 'kill':
      await runtime.containers.signal(id, 9);
      return killCheckMs;
    default:
      throw new TypeError(`unknown step: ${JSON.stringify(step satisfies never)}`);
  }
}

/** The signal that asks it to stop: its spec's, as kept in a label, or its image's. */
function stopSignalOf({ labels, stopSignal }: ContainerInfo): number {
  const label = Number(labels[labelKeys.stopSignal]);
  return Number.isInteger(label) && label >= 1 && label <= 64 ? label : stopSignal;
}
