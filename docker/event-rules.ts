/** Which of Docker's events a change of an object stands for. Pure. */
import { type Container, containerIDOf, parseRename } from '../crds/index.ts';
import { stateOf } from './container-state.ts';
import { dockerConfigOf, labelsOf } from './docker-config.ts';
import { dockerNameOf } from './names.ts';
import type { Change } from './objects.ts';

export interface DockerEvent {
  readonly Type: 'container' | 'image' | 'volume' | 'network' | 'daemon';
  /** create, start, die, … */
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
}

export interface EventContext {
  readonly namespace: string;
  /** All objects, after the change. */
  readonly others: readonly Container[];
  readonly nowMs: number;
}

/** In the order in which Docker tells of them. */
export function eventsOf({ before, after }: Change, context: EventContext): readonly DockerEvent[] {
  const object = after ?? before;
  if (object === undefined) return [];
  const say = (Action: string, more: Readonly<Record<string, string>> = {}): DockerEvent => ({
    Type: 'container',
    Action,
    Actor: { ID: containerIDOf(object), Attributes: { ...attributesOf(object, context.namespace), ...more } },
  });
  if (before === undefined) {
    const rename = parseRename(object);
    return rename.kind === 'from' ? [say('rename', { oldName: `/${rename.name}` })] : [say('create')];
  }
  if (after === undefined) {
    const goesOn = context.others.some((one) => containerIDOf(one) === containerIDOf(object));
    return goesOn ? [] : [say('destroy')];
  }
  const events: DockerEvent[] = [];
  const [was, is] = [before.status, after.status];
  const hasEnded =
    is?.lastTermination?.finishedAt !== was?.lastTermination?.finishedAt && is?.lastTermination !== undefined;
  const hasStarted = is?.startedAt !== undefined && is.startedAt !== was?.startedAt;
  const isNewRun = hasStarted && is.startedAt !== is.lastTermination?.startedAt;
  // One run may have begun and ended since, or one ended and the next begun.
  const endedRun = hasEnded ? is.lastTermination.startedAt : undefined;
  const isUnseenRun = endedRun !== undefined && endedRun !== was?.startedAt;
  if ((hasStarted && !isNewRun) || isUnseenRun) events.push(say('start'));
  if (hasEnded) {
    const { exitCode = 0, reason } = is.lastTermination;
    if (reason === 'OOMKilled') events.push(say('oom'));
    events.push(say('die', { exitCode: String(exitCode) }));
    if (after.spec.desiredState === 'Stopped') events.push(say('stop'));
  }
  // Of a very short run the first status may tell that it began, but not that it goes on.
  if (isNewRun) events.push(say('start'));
  if (was?.state === 'Running' && is?.state === 'Paused') events.push(say('pause'));
  if (was?.state === 'Paused' && is?.state === 'Running') events.push(say('unpause'));
  const [healthBefore, health] = [before, after].map((one) => stateOf(one, context.nowMs).health);
  if (health !== healthBefore && (health === 'healthy' || health === 'unhealthy'))
    events.push(say(`health_status: ${health}`));
  return events;
}

export function attributesOf(object: Container, namespace: string): Readonly<Record<string, string>> {
  const image = dockerConfigOf(object).Config.Image;
  return {
    ...labelsOf(object),
    image: typeof image === 'string' ? image : object.spec.image,
    name: dockerNameOf(object, namespace),
  };
}
