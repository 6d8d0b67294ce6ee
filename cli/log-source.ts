/** Serves the store's log subresource from this host's runtime: entries to bytes. Effects on nothing but the runtime's log. */
import type { LogEntry, Runtime } from '../runtime/index.ts';

export interface LogQuery {
  readonly follow?: boolean | undefined;
  readonly tailLines?: number | undefined;
  readonly sinceMs?: number | undefined;
  readonly timestamps?: boolean | undefined;
  readonly limitBytes?: number | undefined;
}

/** The log as bytes, as the kubelet gives it: with `timestamps`, each line starts with its time in RFC 3339. */
export async function* formatLog(
  entries: AsyncIterable<LogEntry>,
  { timestamps, limitBytes }: Pick<LogQuery, 'timestamps' | 'limitBytes'>,
): AsyncGenerator<Buffer> {
  let left = limitBytes ?? Number.POSITIVE_INFINITY;
  const isOpenLine = { stdout: false, stderr: false };
  for await (const entry of entries) {
    const data =
      timestamps === true && !isOpenLine[entry.stream]
        ? Buffer.concat([Buffer.from(`${entry.time} `), entry.data])
        : entry.data;
    isOpenLine[entry.stream] = entry.data.at(-1) !== 0x0a;
    const part = data.length > left ? data.subarray(0, left) : data;
    left -= part.length;
    if (part.length > 0) yield part;
    if (left <= 0) return;
  }
}

/** Throws ContainerNotFoundError when the container is not on this host. */
export async function openContainerLog(
  runtime: Runtime,
  id: string,
  query: LogQuery,
  signal: AbortSignal,
): Promise<AsyncIterable<Buffer>> {
  const { follow, tailLines, sinceMs } = query;
  return formatLog(runtime.containers.log(id, { follow, tailLines, sinceMs }, signal), query);
}
