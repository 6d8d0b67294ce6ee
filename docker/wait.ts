/** `docker wait`: answers when a container has ended. Effects. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { isUp, stateOf } from './container-state.ts';
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
      return isUp(stateOf(object, gateway.now()))
        ? nextExit(gateway, object, signal)
        : Promise.resolve(exitCodeOf(object));
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

async function nextExit({ objects, runtime }: Gateway, object: Container, signal: AbortSignal): Promise<number> {
  const before = object.status?.lastTermination?.finishedAt;
  const seen = watchExits({ runtime }, object);
  try {
    return await objects.waitFor(
      object.metadata.uid,
      (current) => {
        if (current === undefined) return seen.exitCode() ?? exitCodeOf(object);
        return current.status?.lastTermination?.finishedAt !== before ? exitCodeOf(current) : undefined;
      },
      signal,
    );
  } finally {
    seen.close();
  }
}

async function removal({ objects, runtime }: Gateway, object: Container, signal: AbortSignal): Promise<number> {
  const seen = watchExits({ runtime }, object);
  let last = object;
  try {
    return await objects.waitFor(
      object.metadata.uid,
      (current) => {
        if (current !== undefined) {
          last = current;
          return undefined;
        }
        return seen.exitCode() ?? exitCodeOf(last);
      },
      signal,
    );
  } finally {
    seen.close();
  }
}

/** With --rm the object may be gone before its status told of the end: then only the runtime has seen the exit code. */
function watchExits(
  { runtime }: Pick<Gateway, 'runtime'>,
  object: Container,
): { exitCode(): number | undefined; close(): void } {
  const id = containerIDOf(object);
  let code: number | undefined;
  const close = runtime.subscribe((event) => {
    if (event.kind !== 'exited' || event.id !== id) return;
    runtime.containers.inspect(id).then(
      (info) => {
        if (info?.state.kind === 'exited') code = info.state.exit.code;
      },
      () => {}, // it is gone already; the status told of it, or will
    );
  });
  return { exitCode: () => code, close };
}
