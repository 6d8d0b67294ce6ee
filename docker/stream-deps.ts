/** What the endpoints need that carry streams, files and figures; and how they find a container that can give them. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { type ContainerInfo, ContainerNotFoundError, ContainerNotRunningError } from '../runtime/index.ts';
import { stateOf } from './container-state.ts';
import { prepareAnnotation } from './docker-config.ts';
import { badParameter, conflict, type DockerError, notFound } from './docker-error.ts';
import { attributesOf } from './event-rules.ts';
import type { Gateway } from './gateway-parts.ts';

export type StreamDeps = Pick<Gateway, 'runtime' | 'objects' | 'events' | 'namespace' | 'now' | 'log' | 'find'>;

export function tell(
  { events, namespace }: StreamDeps,
  object: Container,
  action: string,
  more: Readonly<Record<string, string>> = {},
): void {
  const Attributes = { ...attributesOf(object, namespace), ...more };
  events.emit({ Type: 'container', Action: action, Actor: { ID: containerIDOf(object), Attributes } });
}

/** Texts: moby daemon/errors.go. */
export function notRunning(id: string): DockerError {
  return conflict(`Container ${id} is not running`);
}

/** What is to be done in a container. */
export interface Attempt {
  /** As "exec". */
  readonly what: string;
  /** The container, as the client calls it. */
  readonly reference: string;
}

/** It runs and answers. Throws DockerError. Source: moby daemon/exec.go, getActiveContainer. */
export function checkAwake({ now }: Pick<StreamDeps, 'now'>, object: Container, { what, reference }: Attempt): void {
  const { name } = stateOf(object, now());
  const id = containerIDOf(object);
  if (name === 'restarting') throw conflict(`Container ${id} is restarting, wait until the container is running`);
  if (name === 'paused') throw conflict(`Container ${reference} is paused, unpause the container before ${what}`);
  if (name !== 'running') throw notRunning(id);
}

/** What the runtime says of a container that is gone, or does not run, in Docker's words. */
export function toDockerError(error: unknown, object: Container): unknown {
  const id = containerIDOf(object);
  if (error instanceof ContainerNotFoundError) return notFound(`No such container: ${id}`);
  if (error instanceof ContainerNotRunningError) return notRunning(id);
  return error;
}

const preparedDeadlineMs = 30_000;
const lookMs = 20;

/** The container as the host has it: one that was created just now is waited for. undefined: the host has none. */
export async function prepared(
  { runtime, objects }: Pick<StreamDeps, 'runtime' | 'objects'>,
  object: Container,
  signal: AbortSignal,
): Promise<ContainerInfo | undefined> {
  const endMs = performance.now() + preparedDeadlineMs;
  for (;;) {
    const info = await runtime.containers.inspect(containerIDOf(object));
    const isAwaited = object.metadata.annotations?.[prepareAnnotation] === 'true';
    if (info !== undefined || !isAwaited || performance.now() > endMs) return info;
    signal.throwIfAborted();
    if (objects.get(object.metadata.uid) === undefined) return undefined;
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}

/** A whole number of the query that is there; Go's words for one that is none. Throws DockerError. */
export function numberOf(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? '';
  if (!/^[+-]?\d{1,9}$/.test(text)) throw badParameter(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}
