/** Follows the containers through the API and shows them on the terminal until aborted. Effects. */
import type { Logger } from 'pino';
import { type ApiAccess, callApi, containersPath, parseContainer, startListWatch } from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import { containerIDOf } from '../crds/index.ts';
import { ContainerNotFoundError, type Runtime } from '../runtime/index.ts';
import { formatChange, formatPicture, type Row } from './picture.ts';

export interface LiveDeps {
  readonly access: ApiAccess;
  readonly runtime: Runtime;
  readonly out: NodeJS.WriteStream;
  /** Lines above the table. */
  readonly hints: readonly string[];
  readonly log: Logger;
}

/** More rows than this would not fit; the others are counted. */
const maxRows = 20;
const redrawMs = 1_000;

export function startLive({ access, runtime, out, hints, log }: LiveDeps): { close(): Promise<void> } {
  const containers = new Map<string, Container>();
  const stop = new AbortController();
  const isTerminal = out.isTTY === true;
  let drawnLines = 0;
  const keyOf = ({ metadata }: Container): string => `${metadata.namespace}/${metadata.name}`;

  const note = (object: Container): void => {
    const line = formatChange(containers.get(keyOf(object)), object);
    containers.set(keyOf(object), object);
    if (!isTerminal && line !== undefined) out.write(`${line}\n`);
  };
  const listWatch = startListWatch<Container>({
    access,
    path: containersPath,
    list: (query, signal) => callApi(access, { method: 'GET', path: containersPath, query, signal }),
    parse: parseContainer,
    onReplace: (objects) => {
      const keys = new Set(objects.map(keyOf));
      for (const key of containers.keys()) if (!keys.has(key)) containers.delete(key);
      for (const object of objects) note(object);
    },
    onChange: (kind, object) => {
      if (kind === 'applied') return note(object);
      containers.delete(keyOf(object));
      if (!isTerminal) out.write(`${keyOf(object)}: deleted\n`);
    },
    onActivity: () => {},
    onReconnect: () => {},
    now: Date.now,
    random: Math.random,
    log,
  });

  const draw = async (): Promise<void> => {
    const shown = [...containers.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)).slice(0, maxRows);
    const rows = await Promise.all(
      shown.map(
        async (container): Promise<Row> => ({ container, lastLine: await lastLineOf(runtime, container, stop.signal) }),
      ),
    );
    if (stop.signal.aborted) return;
    const more = containers.size - rows.length;
    const lines = [
      ...hints,
      '',
      ...formatPicture(rows, Date.now(), out.columns ?? 120),
      ...(more > 0 ? [`and ${more} more`] : []),
      '',
      'Ctrl-C ends holdfast; the containers go on. `make down` ends them too.',
    ];
    // Up to where the last picture began, then clear to the end of the screen. Source: ECMA-48 CUU, ED.
    out.write(`${drawnLines > 0 ? `\u001b[${drawnLines}A\r` : ''}\u001b[J${lines.join('\n')}\n`);
    drawnLines = lines.length;
  };
  let drawing: Promise<void> = Promise.resolve();
  const timer = isTerminal
    ? setInterval(() => {
        drawing = drawing.then(draw).catch((error: unknown) => {
          if (!stop.signal.aborted) log.warn({ err: error }, 'the picture could not be drawn');
        });
      }, redrawMs)
    : undefined;
  if (!isTerminal) out.write(`${hints.join('\n')}\n`);

  return {
    close: async () => {
      stop.abort(new Error('the live picture was closed'));
      clearInterval(timer);
      await listWatch.close();
      await drawing;
    },
  };
}

async function lastLineOf(runtime: Runtime, object: Container, signal: AbortSignal): Promise<string | undefined> {
  let text: string | undefined;
  try {
    for await (const entry of runtime.containers.log(containerIDOf(object), { tailLines: 1 }, signal))
      text = (text ?? '') + entry.data.toString('utf8');
  } catch (error) {
    if (!(error instanceof ContainerNotFoundError) && !signal.aborted) throw error;
  }
  return text;
}
