/** HEALTHCHECK as a readiness probe, and back: it says how the container is, and restarts nothing, as in Docker. Pure. */
import type { ContainerSpec, ContainerStatus } from '../crds/index.ts';
import { escapeDollars } from './dollars.ts';
import type { Fields } from './fields.ts';

type Probe = ContainerSpec['readinessProbe'];

const nanosecondsPerSecond = 1_000_000_000;
/** Source: Dockerfile reference, HEALTHCHECK. */
const defaults = { intervalSeconds: 30, timeoutSeconds: 30, retries: 3 };

/** undefined: none. Fields that are given count; a probe's period and timeout are whole seconds, at least one. */
export function parseHealthcheck(check: Fields): Probe {
  const [kind, ...words] = check.texts('Test') ?? [];
  const seconds = (name: string, fallback: number): number => {
    const nanoseconds = check.count(name);
    if (nanoseconds === undefined) return fallback;
    if (nanoseconds < 1_000_000) check.problem(name, 'cannot be less than 1ms');
    return Math.max(1, Math.round(nanoseconds / nanosecondsPerSecond));
  };
  const periodSeconds = seconds('Interval', defaults.intervalSeconds);
  const timeoutSeconds = seconds('Timeout', defaults.timeoutSeconds);
  seconds('StartPeriod', 0); // judged when the state is asked for, see healthOf
  seconds('StartInterval', 0);
  const failureThreshold = check.count('Retries') ?? defaults.retries;
  check.finish();
  switch (kind) {
    case undefined:
    case '':
    case 'NONE':
      return undefined;
    case 'CMD':
    case 'CMD-SHELL': {
      if (words.length === 0) check.problem('Test', 'names no program');
      const command = (kind === 'CMD' ? words : ['/bin/sh', '-c', words.join(' ')]).map(escapeDollars);
      return {
        exec: { command },
        initialDelaySeconds: 0,
        periodSeconds,
        timeoutSeconds,
        successThreshold: 1,
        failureThreshold,
      };
    }
    default:
      check.problem('Test', `Unknown healthcheck type '${kind}' (expected 'CMD'); write CMD, CMD-SHELL or NONE first`);
      return undefined;
  }
}

export type Health = 'none' | 'starting' | 'healthy' | 'unhealthy';

/** `startPeriodSeconds`: so long after the start a check that fails counts as one that is starting. */
export function healthOf(
  { readinessProbe }: Pick<ContainerSpec, 'readinessProbe'>,
  status: ContainerStatus | undefined,
  { startPeriodSeconds, nowMs }: { readonly startPeriodSeconds: number; readonly nowMs: number },
): Health {
  if (readinessProbe === undefined || status?.state !== 'Running') return 'none';
  if (status.ready === true) return 'healthy';
  const startedMs = Date.parse(status.startedAt ?? '');
  const { periodSeconds, failureThreshold, timeoutSeconds } = readinessProbe;
  // Not Ready means: not yet, or failed as often as is allowed.
  const firstVerdictSeconds = startPeriodSeconds + failureThreshold * (periodSeconds + timeoutSeconds);
  return nowMs < startedMs + firstVerdictSeconds * 1000 ? 'starting' : 'unhealthy';
}
