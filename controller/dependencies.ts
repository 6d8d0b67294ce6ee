/**
 * What a container needs of others: when it may start, when it is restarted with them, and whom it waits for when several
 * stop together. Pure; used by decide.ts.
 */
import type { Desired } from './desired.ts';
import type { Dependency } from './links.ts';

type Needs = Pick<Desired, 'links' | 'dependsOn' | 'needs'>;

/** Why this container may not start yet; undefined when all that it needs is there. */
export function findUnmet(desired: Needs, dependencies: readonly Dependency[]): string | undefined {
  const unmet = dependencies.flatMap((dependency) => {
    const missing = describeUnmet(desired, dependency);
    return missing === undefined ? [] : [missing];
  });
  return unmet.length === 0 ? undefined : unmet.join('; ');
}

function describeUnmet(desired: Needs, dependency: Dependency): string | undefined {
  const { name, state, health, ending } = dependency;
  const isLink = desired.links.some((link) => link.name === name);
  const conditions = desired.needs.filter((need) => need.name === name).map(({ condition }) => condition);
  const what = `waits for container "${name}"`;
  if (state === 'missing')
    return `${what}, which does not exist in this namespace; apply it, or remove it from spec.${isLink ? 'links' : 'dependsOn'}`;
  if (conditions.includes('Completed') && state !== 'completed')
    return `${what} to complete${ending === undefined ? '' : `; its last run ${ending}`}`;
  const isReadyNeeded = conditions.includes('Ready');
  if (state === 'completed' && !isLink && !isReadyNeeded) return undefined;
  // Completed alone asks for no process; a link needs one, and its address.
  if (conditions.length > 0 && conditions.every((one) => one === 'Completed') && !isLink) return undefined;
  if (state !== 'running') return `${what} to ${isReadyNeeded ? 'be ready: it does not run' : 'run'}`;
  if (health?.isStarted === false) return `${what} to have started: ${health.message}`;
  return isReadyNeeded && health?.isReady === false ? `${what} to be ready: ${health.message}` : undefined;
}

/** Runs of the dependencies that this container was started with, by name. */
export type StartedWith = Readonly<Record<string, number>>;

/**
 * A dependency that has been restarted since this container started, and is there again as it is needed; undefined: none that
 * it is to be restarted with. `runMs`: start of this container's run.
 */
export function findRestarted(
  desired: Needs,
  dependencies: readonly Dependency[],
  { startedWith = {}, runMs }: { readonly startedWith: StartedWith | undefined; readonly runMs: number },
): string | undefined {
  return dependencies.find((dependency) => {
    const { name } = dependency;
    if (!desired.needs.some((need) => need.name === name && need.isRestartedWith)) return false;
    if (dependency.runMs === undefined || describeUnmet(desired, dependency) !== undefined) return false;
    // Not known after a restart of the controller without its memory; then the clock tells, once.
    const known = startedWith[name];
    return known === undefined ? dependency.runMs > runMs : known !== dependency.runMs;
  })?.name;
}

/** Takes note of the runs that a container was started with (`at: 'start'`), or of those not known so far. Returns the same object if there are none. */
export function rememberRuns(
  startedWith: StartedWith | undefined,
  { needs }: Needs,
  dependencies: readonly Dependency[],
  at: 'start' | 'rest',
): StartedWith | undefined {
  const known = at === 'start' ? {} : (startedWith ?? {});
  const news = dependencies.flatMap(({ name, runMs }) =>
    runMs !== undefined && known[name] === undefined && needs.some((one) => one.name === name && one.isRestartedWith)
      ? [[name, runMs] as const]
      : [],
  );
  if (news.length === 0) return at === 'start' ? undefined : startedWith;
  return { ...known, ...Object.fromEntries(news) };
}

/** A running container that depends on one that is about to stop. */
export interface Dependent {
  readonly name: string;
  /** It is to stop, too. */
  readonly isGoing: boolean;
  /** How long it may take for that, with those that depend on it. */
  readonly boundMs: number;
}

/** Several that are to stop together are told one after the other, so the others are waited for, too. */
export const gatherMs = 1_000;

export interface Hold {
  readonly untilMs: number;
  readonly message: string;
}

/** Whether a container that is to stop waits for those that depend on it, and how long at the most. */
export function decideHold(input: {
  readonly dependents: readonly Dependent[];
  /** When it first had to wait; undefined: now. */
  readonly heldSinceMs: number | undefined;
  readonly nowMs: number;
}): Hold | undefined {
  const { dependents, nowMs } = input;
  if (dependents.length === 0) return undefined;
  const going = dependents.filter(({ isGoing }) => isGoing);
  const sinceMs = Math.min(input.heldSinceMs ?? nowMs, nowMs);
  const untilMs = sinceMs + Math.max(gatherMs, ...going.map(({ boundMs }) => boundMs));
  if (nowMs >= untilMs) return undefined;
  const names = (going.length > 0 ? going : dependents).map(({ name }) => `"${name}"`).join(', ');
  const message =
    going.length > 0
      ? `stops when ${names} ${going.length === 1 ? 'has' : 'have'} stopped, which need it`
      : `stops in a moment, unless ${names}, which need it, stop first`;
  return { untilMs, message };
}
