/** A container's log as the bytes that the log subresource answers. Pure. */
import type { LogEntry } from '../runtime/index.ts';

export interface LogForm {
  readonly timestamps?: boolean | undefined;
  readonly limitBytes?: number | undefined;
}

/** The log as bytes, as the kubelet gives it: with `timestamps`, each line starts with its time in RFC 3339. */
export async function* formatLog(
  entries: AsyncIterable<LogEntry>,
  { timestamps, limitBytes }: LogForm,
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
