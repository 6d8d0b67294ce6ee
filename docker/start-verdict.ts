/** Whether a start that was asked for has come off, from what the object's status says. Pure. */
import { type Container, containerIDOf } from '../crds/index.ts';

export type StartVerdict =
  | { readonly kind: 'started' }
  | { readonly kind: 'failed'; readonly status: number; readonly message: string };

/** What somebody has to mend; other reasons to wait are waited for. */
const obstacles = new Set([
  'CreateContainerError',
  'CreateContainerConfigError',
  'HostPortConflict',
  'FailedMount',
  'InvalidSpec',
  'DependencyCycle',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ErrImagePull',
  'ImagePullBackOff',
  'RuntimeCallTimeout',
]);

/**
 * `before`: the object as it was when the start was asked for; `generation`: that of the wish. undefined: not known yet.
 * One that is gone was started and has ended if it was made with --rm; else somebody removed it.
 */
export function judgeStart(
  before: Container,
  current: Container | undefined,
  generation: number,
): StartVerdict | undefined {
  if (current === undefined)
    return before.spec.ttlSecondsAfterFinished === undefined
      ? { kind: 'failed', status: 404, message: `No such container: ${containerIDOf(before)}` }
      : { kind: 'started' };
  const { status } = current;
  if (status === undefined || (status.observedGeneration ?? 0) < generation) return undefined;
  if (status.state === 'Running' || status.state === 'Paused') return { kind: 'started' };
  const last = status.lastTermination;
  const isNewEnd = last !== undefined && last.finishedAt !== before.status?.lastTermination?.finishedAt;
  if (isNewEnd && last.reason === 'StartError')
    return {
      kind: 'failed',
      status: 400,
      message: `failed to create task for container: ${last.message ?? 'the program could not be started'}${wordsOf(last.exitCode)}: unknown`,
    };
  if (isNewEnd) return { kind: 'started' };
  const isTakenBack =
    current.spec.desiredState === 'Stopped' && status.observedGeneration === current.metadata.generation;
  if (isTakenBack)
    return {
      kind: 'failed',
      status: 409,
      message: `container ${containerIDOf(before)} was stopped before it had started`,
    };
  if (status.reason !== undefined && obstacles.has(status.reason))
    return { kind: 'failed', status: 500, message: status.message ?? status.reason };
  return undefined;
}

/** By these words docker's command line tells which exit code is its own. Source: docker/cli, container/run.go, runStartContainerErr. */
function wordsOf(exitCode: number | undefined): string {
  if (exitCode === 127) return ': executable file not found in $PATH';
  return exitCode === 126 ? ': permission denied' : '';
}
