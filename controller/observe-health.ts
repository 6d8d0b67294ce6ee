/** Brings together what the prober knows and what the controller remembers of a container's health. Effects: starts probes. */
import type { Container } from '../crds/index.ts';
import { containerIDOf } from '../crds/index.ts';
import type { ContainerInfo } from '../runtime/index.ts';
import { type Dependent, decideHold, gatherMs, type Hold } from './dependencies.ts';
import { type Desired, keyOf, labelKeys } from './desired.ts';
import type { Entry, ReconcileDeps } from './entry.ts';
import { describeUnready, type Health, isNewHealth } from './health.ts';
import { historyFromStatus } from './history-from-status.ts';
import type { Dependency } from './links.ts';

/** Has a running container probed as its spec says, and takes note of what is known so far. */
export function noteHealth(
  work: {
    readonly object: Container;
    readonly desired: Desired;
    readonly container: ContainerInfo | undefined;
    readonly entry: Entry;
    readonly secrets: readonly string[];
  },
  { prober, view }: Pick<ReconcileDeps, 'prober' | 'view'>,
): void {
  const { object, desired, container, entry, secrets } = work;
  const before = entry.history.health;
  const { stop } = entry.history;
  let health: Health | undefined;
  if (container?.state.kind !== 'running') prober.ended(desired.containerID);
  else
    health = prober.observe({
      ...{ object, containerID: desired.containerID, ip: container.ip, remembered: before, secrets },
      plan: desired.problem === undefined ? desired.health : undefined,
      runMs: container.state.startedAtMs,
      isIdle: container.state.isPaused === true || (stop !== undefined && !stop.isWithdrawn),
    });
  // Counts alone are not remembered: they change with every probe.
  const isOfOldRun = before?.runMs !== health?.runMs;
  if (!isOfOldRun && (before === undefined || health === undefined || !isNewHealth(before, health))) return;
  entry.history = { ...entry.history, health };
  view.stateChanged(entry.key);
}

/** Of a container that runs, as others depend on it; undefined: started and ready. */
export function healthForOthers(
  target: Container,
  run: Extract<ContainerInfo['state'], { kind: 'running' }>,
  { entries }: Pick<ReconcileDeps, 'entries'>,
): Dependency['health'] {
  const { startupProbe, readinessProbe, livenessProbe, lifecycle } = target.spec;
  const entry = entries.get(containerIDOf(target));
  const history = entry?.key === keyOf(target) ? entry.history : historyFromStatus(target.status);
  if (run.isPaused === true) return { isStarted: true, isReady: false, message: 'its processes are frozen' };
  if (history.stop?.isWithdrawn === false) return { isStarted: true, isReady: false, message: 'it is being stopped' };
  if ((startupProbe ?? readinessProbe ?? livenessProbe ?? lifecycle?.postStart) === undefined) return undefined;
  if (history.health?.runMs !== run.startedAtMs)
    return { isStarted: false, isReady: false, message: 'it has just been started' };
  const { isStarted, isReady } = history.health;
  return { isStarted, isReady, message: describeUnready(history.health)?.message ?? '' };
}

/** Whom a container that is to stop waits for. */
export async function observeHold(
  {
    object,
    desired,
    container,
    entry,
  }: {
    readonly object: Container;
    readonly desired: Desired;
    readonly container: ContainerInfo | undefined;
    readonly entry: Entry;
  },
  deps: Pick<ReconcileDeps, 'view' | 'runtime' | 'now'>,
): Promise<Hold | undefined> {
  const { stop } = entry.history;
  const isGoing = object.metadata.deletionTimestamp !== undefined || !desired.shouldRun;
  if (container?.state.kind !== 'running' || !isGoing || stop?.isWithdrawn === false) {
    entry.heldSinceMs = undefined;
    return undefined;
  }
  const nowMs = deps.now();
  const dependents = await observeDependents(keyOf(object), deps);
  const hold = decideHold({ dependents, heldSinceMs: entry.heldSinceMs, nowMs });
  entry.heldSinceMs = Math.min(entry.heldSinceMs ?? nowMs, nowMs);
  return hold;
}

async function observeDependents(
  key: string,
  { view, runtime }: Pick<ReconcileDeps, 'view' | 'runtime'>,
): Promise<Dependent[]> {
  const found = view.dependentsOf(key).flatMap((one) => view.object(one) ?? []);
  const running = await Promise.all(
    found.map(async (object): Promise<Dependent[]> => {
      const container = await runtime.containers.inspect(containerIDOf(object));
      if (container?.state.kind !== 'running' || container.labels[labelKeys.uid] !== object.metadata.uid) return [];
      const isGoing = isGoingObject(object);
      return [{ name: object.metadata.name, isGoing, boundMs: isGoing ? boundMsOf(object, view, new Set([key])) : 0 }];
    }),
  );
  return running.flat();
}

/** How long it may take until it has stopped, with all that depend on it and go, too. */
function boundMsOf(object: Container, view: ReconcileDeps['view'], seen: Set<string>): number {
  const key = keyOf(object);
  if (seen.has(key)) return 0;
  seen.add(key);
  const others = view.dependentsOf(key).flatMap((one) => view.object(one) ?? []);
  const bounds = others.filter(isGoingObject).map((one) => boundMsOf(one, view, seen));
  return Math.max(0, ...bounds) + object.spec.terminationGracePeriodSeconds * 1000 + gatherMs + killMs;
}

/** For a preStop hook that took all of the grace, and for the kernel after SIGKILL. */
const killMs = 5_000;

function isGoingObject({ metadata, spec }: Container): boolean {
  return metadata.deletionTimestamp !== undefined || spec.desiredState === 'Stopped';
}

/** Has those looked at that wait for this one to stop before they do. */
export function wakeHeld(object: Container, desired: Desired, { view }: Pick<ReconcileDeps, 'view'>): void {
  if (!isGoingObject(object)) return;
  for (const name of desired.dependsOn) view.wake(`${object.metadata.namespace}/${name}`);
}
