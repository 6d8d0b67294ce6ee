/** Carries out the steps of a stop: the preStop hook, the signal, SIGKILL. Effects; decide.ts has the rules. */
import { preStopOf, type Step, type StopCause } from './decide.ts';
import { keyOf } from './desired.ts';
import type { ReconcileDeps, Work } from './entry.ts';
import type { Stop } from './history.ts';

export async function beginPreStop(
  { because, killAtMs }: Extract<Step, { kind: 'pre-stop' }>,
  work: Work,
  deps: ReconcileDeps,
): Promise<void> {
  const { object, entry, container, desired, secrets } = work;
  const { prober, now } = deps;
  const action = preStopOf(work, because);
  const before = entry.history.stop;
  if (before?.awaitsPreStop !== true) tellKilling(because, work, deps);
  const sinceMs = before?.awaitsPreStop === true ? before.sinceMs : now();
  const unhealthy = unhealthyOf(because, work);
  // Noted before it begins: a controller that ends now knows nothing, and its successor begins anew.
  entry.history = {
    ...entry.history,
    stop: { sinceMs, killAtMs, isWithdrawn: false, awaitsPreStop: true, unhealthy },
  };
  if (action === undefined) return;
  prober.startPreStop({
    ...{ key: keyOf(object), object, containerID: desired.containerID, ip: container?.ip, action, secrets },
    timeoutMs: Math.max(0, killAtMs - now()),
  });
}

export async function sendStop(
  { because, killAtMs }: Extract<Step, { kind: 'stop' }>,
  work: Work,
  deps: ReconcileDeps,
): Promise<void> {
  const { entry, container, desired } = work;
  const { runtime, now } = deps;
  const id = desired.containerID;
  const isAnnounced = entry.history.stop?.awaitsPreStop === true;
  const unhealthy = unhealthyOf(because, work);
  // Noted after the signal: one that could not be sent is sent again.
  await runtime.containers.signal(id, desired.stopSignal ?? container?.stopSignal ?? 15);
  if (container?.state.kind === 'running' && container.state.isPaused === true) await runtime.containers.resume(id);
  entry.history = { ...entry.history, stop: { sinceMs: now(), killAtMs, isWithdrawn: false, unhealthy } };
  if (!isAnnounced) tellKilling(because, work, deps);
}

export async function sendKill({ entry, desired }: Work, { runtime, now }: ReconcileDeps): Promise<void> {
  await runtime.containers.signal(desired.containerID, 9);
  const { stop, health } = entry.history;
  const begun: Stop = stop ?? { sinceMs: now(), killAtMs: now(), isWithdrawn: false, unhealthy: health?.failure };
  entry.history = { ...entry.history, stop: { ...begun, awaitsPreStop: undefined, isWithdrawn: false } };
}

function unhealthyOf(because: StopCause, { entry }: Work): Stop['unhealthy'] {
  return because === 'unhealthy' ? entry.history.health?.failure : undefined;
}

const failedParts = {
  LivenessProbe: 'liveness probe',
  StartupProbe: 'startup probe',
  PostStartHook: 'PostStartHook',
} as const;

/** Of a failed probe in the kubelet's words. */
function tellKilling(because: StopCause, { object, entry, desired }: Work, { events }: ReconcileDeps): void {
  const failure = because === 'unhealthy' ? entry.history.health?.failure : undefined;
  const next = desired.restart.policy === 'Never' ? 'its restartPolicy is Never' : 'will be restarted';
  const cause = because === 'restarted' ? 'something that it depends on was restarted' : because;
  const message =
    failure === undefined
      ? `stopping the container (${cause})`
      : `Container ${object.metadata.name} failed ${failedParts[failure.by]}, ${next}`;
  events.record(object, 'Normal', 'Killing', message);
}
