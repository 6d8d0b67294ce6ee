/** `docker logs`. Effects; how an entry is shown is pure. */
import { type Container, containerIDOf } from '../crds/index.ts';
import type { LogEntry } from '../runtime/index.ts';
import { isUp, stateOf } from './container-state.ts';
import { badParameter } from './docker-error.ts';
import { booleanOf, type Call, type Route } from './route.ts';
import type { StreamDeps } from './stream-deps.ts';
import { contentTypeOf, formatFrame } from './stream-frames.ts';

export function logRoutes(deps: StreamDeps): readonly Route[] {
  return [{ method: 'GET', path: '/containers/{id}/logs', handle: (call) => giveLogs(deps, call) }];
}

async function giveLogs(deps: StreamDeps, call: Call): Promise<void> {
  const { runtime, now } = deps;
  const { query, signal } = call;
  const object = deps.find(call.params.id ?? '');
  const [stdout, stderr] = [booleanOf(query, 'stdout'), booleanOf(query, 'stderr')];
  if (!stdout && !stderr) throw badParameter('Bad parameters: you must choose at least one stream');
  const [sinceMs, untilMs] = [timeOf(query, 'since'), timeOf(query, 'until')];
  const tail = query.get('tail') ?? '';
  const id = containerIDOf(object);
  const { tty: isRaw = false } = object.spec;
  const follow = booleanOf(query, 'follow') && isUp(stateOf(object, now()));
  const ending = new AbortController();
  const forget = follow ? endWithContainer(deps, object, ending) : () => {};
  try {
    const isThere = (await runtime.containers.inspect(id)) !== undefined;
    const out = call.stream(200, { 'Content-Type': contentTypeOf(isRaw, call.version) });
    out.on('error', () => {}); // the client went away: the signal says so
    const entries = !isThere
      ? []
      : runtime.containers.log(
          id,
          {
            ...{ follow, sinceMs, untilMs, ending: ending.signal },
            // Docker takes anything but a number for all.
            tailLines: /^\d{1,15}$/.test(tail) ? Number(tail) : undefined,
            streams: stdout && stderr ? 'all' : stdout ? 'stdout' : 'stderr',
          },
          signal,
        );
    const format = createLogFormat({ hasTimes: booleanOf(query, 'timestamps'), isRaw });
    for await (const entry of entries) {
      if (out.destroyed) return;
      if (!out.write(format(entry))) {
        await new Promise<void>((resolve) => {
          for (const event of ['drain', 'close']) out.once(event, () => resolve());
        });
      }
    }
    out.end();
  } finally {
    forget();
    ending.abort();
  }
}

/** Follows over restarts, and until nothing will come any more. */
function endWithContainer({ objects, now }: StreamDeps, object: Container, ending: AbortController): () => void {
  const id = containerIDOf(object);
  const look = (): void => {
    const isOn = objects.list().some((one) => containerIDOf(one) === id && isUp(stateOf(one, now())));
    if (!isOn) ending.abort();
  };
  const forget = objects.subscribe(look);
  look();
  return forget;
}

/** Seconds since the epoch, with a fraction, or a time as RFC 3339 writes it; 0 and nothing are no limit. Throws DockerError. */
export function timeOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name) ?? '';
  if (text === '' || text === '0') return undefined;
  const ms = /^-?\d{1,15}(\.\d{1,9})?$/.test(text) ? Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(ms)) throw badParameter(`invalid value for "${name}": ${JSON.stringify(text)}`);
  return ms;
}

/** Lines may come in parts; only their beginnings bear the time. */
export function createLogFormat({
  hasTimes,
  isRaw,
}: {
  readonly hasTimes: boolean;
  readonly isRaw: boolean;
}): (entry: LogEntry) => Buffer {
  const isOpen = { stdout: false, stderr: false };
  return ({ stream, time, data }) => {
    const text = hasTimes && !isOpen[stream] ? Buffer.concat([Buffer.from(`${time} `), data]) : data;
    isOpen[stream] = data.at(-1) !== 0x0a;
    return isRaw ? text : formatFrame(stream, text);
  };
}
