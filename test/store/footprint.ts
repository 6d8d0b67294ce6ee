/** What this process holds: memory after a collection, file descriptors, and whatever keeps it alive. For tests of leaks. */
import { readdirSync } from 'node:fs';
import { collectGarbage } from '../collect-garbage.ts';

export interface Footprint {
  readonly heapBytes: number;
  /** Outside of the heap: buffers. */
  readonly bufferBytes: number;
  readonly fileDescriptors: number;
  /** Sockets, timers and the like, by their kind. */
  readonly handles: ReadonlyMap<string, number>;
}

/** Collects garbage first. Effects: none that last. */
export function observeFootprint(): Footprint {
  collectGarbage();
  collectGarbage(); // what finalizers let go of
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const handles = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) handles.set(kind, (handles.get(kind) ?? 0) + 1);
  return {
    heapBytes: heapUsed,
    bufferBytes: arrayBuffers,
    fileDescriptors: readdirSync('/proc/self/fd').length,
    handles,
  };
}

/** What grew by more than is usual; empty: nothing. Pure. */
export function growthOf(
  before: Footprint,
  after: Footprint,
  allowed: { bytes: number; handles: number },
): readonly string[] {
  const grown: string[] = [];
  const compare = (what: string, was: number, is: number, most: number): void => {
    if (is - was > most) grown.push(`${what}: ${was}, then ${is}`);
  };
  compare('bytes of the heap', before.heapBytes, after.heapBytes, allowed.bytes);
  compare('bytes of buffers', before.bufferBytes, after.bufferBytes, allowed.bytes);
  compare('file descriptors', before.fileDescriptors, after.fileDescriptors, allowed.handles);
  for (const [kind, count] of after.handles) compare(kind, before.handles.get(kind) ?? 0, count, allowed.handles);
  return grown;
}
