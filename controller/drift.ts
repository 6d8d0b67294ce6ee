/**
 * Tells of what was changed behind our back: a count for each kind, and an event on the Container, or on the node for what
 * is the host's. The runtime finds it and puts back what can be put back at once; decide.ts restarts the rest. Effects.
 */
import type { Logger } from 'pino';
import type { Container } from '../crds/index.ts';
import { type ContainerInfo, type Drift, describeDrift } from '../runtime/index.ts';
import { type EventRecorder, type EventSubject, nodeSubject } from './events.ts';

export interface DriftReporterDeps {
  readonly events: Pick<EventRecorder, 'record'>;
  readonly count: (kind: string) => void;
  /** The object of a container of this host, once it is known. */
  readonly objectOf: (containerID: string) => Container | undefined;
  readonly nodeName: string;
  readonly log: Logger;
}

export interface DriftReporter {
  /** Never throws and never waits. */
  report(drift: Drift): void;
  /** The objects are known now: what was kept until then is told. */
  begin(): void;
}

/**
 * Whether a run is frozen, or thawed, though nobody asked for it: it was as it should be, and is not, and what it should
 * be is the same. `settled`: what noteFreezing returned before. Pure.
 */
export function noteFreezing(
  settled: string | undefined,
  { container, shouldPause }: { readonly container: ContainerInfo | undefined; readonly shouldPause: boolean },
): { readonly settled: string | undefined; readonly isDrift: boolean } {
  if (container?.state.kind !== 'running') return { settled: undefined, isDrift: false };
  const { startedAtMs, isPaused = false } = container.state;
  const wanted = `${startedAtMs} ${shouldPause}`;
  if (isPaused === shouldPause) return { settled: wanted, isDrift: false };
  return { settled: undefined, isDrift: settled === wanted };
}

/** More than so many are counted, but not told. */
const maxKept = 1_000;

export function createDriftReporter({ events, count, objectOf, nodeName, log }: DriftReporterDeps): DriftReporter {
  const node = nodeSubject(nodeName);
  const kept: Drift[] = [];
  let hasBegun = false;
  const tell = (drift: Drift): void => {
    const { kind, containerID } = drift;
    const subject: EventSubject | undefined = containerID === undefined ? node : objectOf(containerID);
    if (subject === undefined) log.info({ containerID, drift: kind }, 'drift of a container that has no object');
    else events.record(subject, 'Warning', 'DriftCorrected', describeDrift(drift));
  };
  return {
    report(drift) {
      count(drift.kind);
      if (hasBegun) tell(drift);
      else if (kept.length < maxKept) kept.push(drift);
    },
    begin() {
      hasBegun = true;
      for (const drift of kept.splice(0)) tell(drift);
    },
  };
}
