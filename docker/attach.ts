/** `docker attach`, and what `docker run` does before it starts: the streams of a container's own process. Effects. */
import type { Duplex } from 'node:stream';
import { type Container, containerIDOf } from '../crds/index.ts';
import type { AttachRequest, StreamSession } from '../runtime/index.ts';
import { stateOf } from './container-state.ts';
import { conflict } from './docker-error.ts';
import { pump } from './pump.ts';
import { booleanOf, type Call, type Route } from './route.ts';
import { numberOf, type StreamDeps, tell, toDockerError } from './stream-deps.ts';
import { contentTypeOf, formatFrame, parseDetachKeys } from './stream-frames.ts';

export function attachRoutes(deps: StreamDeps): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/containers/{id}/attach',
      handle: (call) => attach(deps, call, { hasFrames: true, take: (type) => call.hijack(type) }),
    },
    {
      method: 'GET',
      path: '/containers/{id}/attach/ws',
      handle: (call) => attach(deps, call, { hasFrames: false, take: () => call.webSocket() }),
    },
    {
      method: 'POST',
      path: '/containers/{id}/resize',
      handle: async (call) => {
        const object = deps.find(call.params.id ?? '');
        const size = { rows: numberOf(call.query, 'h'), columns: numberOf(call.query, 'w') };
        try {
          await deps.runtime.containers.resize(containerIDOf(object), size);
        } catch (error) {
          throw toDockerError(error, object);
        }
        call.empty(200);
      },
    },
  ];
}

/** How a client has its connection. */
interface Way {
  /** Whether standard output and error are told apart; a terminal has only one. */
  readonly hasFrames: boolean;
  readonly take: (contentType: string) => Promise<Duplex>;
}

async function attach(deps: StreamDeps, call: Call, way: Way): Promise<void> {
  const { now } = deps;
  const { query } = call;
  const reference = call.params.id ?? '';
  const object = deps.find(reference);
  const detachKeys = parseDetachKeys(query.get('detachKeys'));
  const state = stateOf(object, now()).name;
  // Texts: moby daemon/attach.go.
  if (state === 'paused') throw conflict(`container ${reference} is paused, unpause the container before attach`);
  if (state === 'restarting')
    throw conflict(`container ${reference} is restarting, wait until the container is running`);
  const { tty: hasTerminal = false, stdin: hasInput = false, stdinOnce = false } = object.spec;
  const isRaw = hasTerminal || !way.hasFrames;
  const contentType = contentTypeOf(isRaw, call.version);
  const wants = {
    stdin: booleanOf(query, 'stdin') && hasInput,
    stdout: booleanOf(query, 'stdout'),
    stderr: booleanOf(query, 'stderr'),
  };
  const hasLog = booleanOf(query, 'logs');
  if (!booleanOf(query, 'stream'))
    return await giveLog(deps, call, { object, isRaw, take: () => way.take(contentType), wants, hasLog });
  const session = await open(deps, object, { hasStdin: wants.stdin, hasLog, run: 'present-or-next' }, call.signal);
  const forget = closeWhenGone(deps, object, session);
  try {
    const connection = await way.take(contentType);
    tell(deps, object, 'attach');
    const end = await pump({
      ...{ connection, session, isRaw, wants },
      detachKeys: hasTerminal ? detachKeys : undefined,
      endsInput: !hasTerminal && stdinOnce,
    });
    if (end === 'detached') tell(deps, object, 'detach');
  } finally {
    forget();
    await session.close();
  }
}

async function open(
  { runtime }: StreamDeps,
  object: Container,
  request: AttachRequest,
  signal: AbortSignal,
): Promise<StreamSession> {
  try {
    return await runtime.containers.attach(containerIDOf(object), request, signal);
  } catch (error) {
    throw toDockerError(error, object);
  }
}

/** A run that is awaited will not be when its object is gone; one that goes on has an end of its own. */
function closeWhenGone({ objects }: StreamDeps, object: Container, session: StreamSession): () => void {
  const id = containerIDOf(object);
  const isGone = (): boolean => !objects.list().some((one) => containerIDOf(one) === id);
  const look = (): void => {
    if (session.isWaiting === true && isGone()) void session.close();
  };
  const forget = objects.subscribe(look);
  look();
  return forget;
}

/** What there is until now, and no more. */
async function giveLog(
  { runtime }: StreamDeps,
  call: Call,
  given: {
    readonly object: Container;
    readonly isRaw: boolean;
    readonly take: () => Promise<Duplex>;
    readonly wants: { readonly stdout: boolean; readonly stderr: boolean };
    readonly hasLog: boolean;
  },
): Promise<void> {
  const { object, isRaw, take, wants, hasLog } = given;
  const id = containerIDOf(object);
  const connection = await take();
  connection.on('error', () => {}); // the client went away
  try {
    const isThere = hasLog && (await runtime.containers.inspect(id)) !== undefined;
    if (!isThere) return;
    for await (const { stream, data } of runtime.containers.log(id, {}, call.signal)) {
      if (connection.destroyed) return;
      if (!wants[stream]) continue;
      if (!connection.write(isRaw ? data : formatFrame(stream, data)))
        await new Promise<void>((resolve) => {
          for (const event of ['drain', 'close']) connection.once(event, () => resolve());
        });
    }
  } finally {
    connection.end();
  }
}
