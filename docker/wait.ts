/** `docker wait`: answers when a container has ended. Effects. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { badParameter } from './docker-error.ts';
import type { Gateway } from './gateway-parts.ts';
import type { Route } from './route.ts';

export function waitRoutes(gateway: Gateway): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/containers/{id}/wait',
      handle: async (call) => {
        const object = gateway.find(call.params.id ?? '');
        const condition = call.query.get('condition') ?? '';
        const ending = waitForEnd(gateway, object, condition, call.signal);
        ending.catch(() => {}); // awaited below, once the client knows that it is waited
        // The client starts the container when it has the head of this answer, which is why it must not wait.
        const out = call.stream(200, { 'Content-Type': 'application/json' });
        const StatusCode = await ending;
        out.end(`${JSON.stringify({ StatusCode, Error: null })}\n`);
      },
    },
  ];
}

/** Resolves to the exit code. Throws DockerError for a condition that is not known. */
function waitForEnd(gateway: Gateway, object: Container, condition: string, signal: AbortSignal): Promise<number> {
  switch (condition) {
    case '':
    case 'not-running':
      return isAlive(object) ? nextExit(gateway, object, signal) : Promise.resolve(exitCodeOf(object));
    case 'next-exit':
      return nextExit(gateway, object, signal);
    case 'removed':
      return removal(gateway, object, signal);
    default:
      throw badParameter(`invalid condition: "${condition}"`);
  }
}

function exitCodeOf({ status }: Container): number {
  return status?.lastTermination?.exitCode ?? status?.exitCode ?? 0;
}

/**
 * The next end; or that it runs no more without one: a container that waited for its restart and was stopped has no other.
 * One that goes away before its status told of the end is known to the runtime alone.
 */
async function nextExit({ objects, runtime }: Gateway, object: Container, signal: AbortSignal): Promise<number> {
  const before = object.status?.lastTermination?.finishedAt;
  let last = object;
  const look = (current: Container | undefined): 'ended' | 'gone' | undefined => {
    if (current === undefined) return 'gone';
    // Of one that ran the end is yet to be told.
    const wasAtRest = last.status?.state === 'Restarting';
    last = current;
    const isNewEnd = current.status?.lastTermination?.finishedAt !== before;
    return isNewEnd || (wasAtRest && !isAlive(current)) ? 'ended' : undefined;
  };
  const seen = watchExits({ runtime }, object);
  try {
    const end = await objects.waitFor(object.metadata.uid, look, signal);
    return end === 'gone' ? ((await seen.exitCode()) ?? exitCodeOf(last)) : exitCodeOf(last);
  } finally {
    seen.close();
  }
}

/** Also while it is being removed, as long as it runs. */
function isAlive({ status }: Container): boolean {
  return status?.state === 'Running' || status?.state === 'Paused' || status?.state === 'Restarting';
}

async function removal({ objects, runtime }: Gateway, object: Container, signal: AbortSignal): Promise<number> {
  const seen = watchExits({ runtime }, object);
  let last = object;
  const look = (current: Container | undefined): true | undefined => {
    if (current === undefined) return true;
    last = current;
    return undefined;
  };
  try {
    await objects.waitFor(object.metadata.uid, look, signal);
    return (await seen.exitCode()) ?? exitCodeOf(last);
  } finally {
    seen.close();
  }
}

/** With --rm the object may be gone before its status told of the end: then only the runtime has seen the exit code. */
function watchExits(
  { runtime }: Pick<Gateway, 'runtime'>,
  object: Container,
): { exitCode(): Promise<number | undefined>; close(): void } {
  const id = containerIDOf(object);
  let code: Promise<number | undefined> = Promise.resolve(undefined);
  const close = runtime.subscribe((event) => {
    if (event.kind !== 'exited' || event.id !== id) return;
    const former = code;
    code = runtime.containers.inspect(id).then(
      (info) => (info?.state.kind === 'exited' ? info.state.exit.code : former),
      () => former, // it is gone already; the status told of it, or will
    );
  });
  return { exitCode: () => code, close };
}
