/**
 * In what a container's root file system differs from its image. archive.pl compares the two; what it found is folded into
 * changes here, without what was only made to mount something on. Source: moby, pkg/archive/changes.go.
 */
import { type Copying, openOutput } from './archive.ts';
import { type FileChange, RuntimeOperationError } from './interface.ts';

/** A container that made more is not worth the memory. */
const mostChanges = 1_000_000;

export interface ChangesInput {
  readonly rootfs: string;
  readonly upper: string;
  /** Topmost first. */
  readonly layers: readonly string[];
  /** Whether owners in the layers are those that the container sees. */
  readonly hasOwners: boolean;
  /** Where something is mounted. */
  readonly mountPoints: readonly string[];
  readonly signal: AbortSignal;
  /** Told of the comparison as long as it goes on. */
  keep(copying: Copying): void;
}

/** Throws RuntimeOperationError, the signal's reason. */
export async function observeChanges(input: ChangesInput): Promise<readonly FileChange[]> {
  const { rootfs, upper, layers, hasOwners, signal } = input;
  const args = ['changes', 'compared', String(layers.length), rootfs, upper, ...layers, hasOwners ? '1' : '0'];
  const { stream, copying } = await openOutput(args, signal);
  input.keep(copying);
  const found: FoundChange[] = [];
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of stream) {
      const data = Buffer.concat([rest, chunk as Buffer]); // no encoding is set
      const end = data.lastIndexOf(0) + 1;
      found.push(...parseFound(data.subarray(0, end).toString()));
      rest = data.subarray(end);
      if (found.length > mostChanges) {
        throw new RuntimeOperationError('changes', `there are more than ${mostChanges}; look at the files themselves`);
      }
    }
  } finally {
    stream.destroy();
  }
  return foldChanges(found, input.mountPoints);
}

/** Of a folder: M only its time is another, - it is as it was. */
export interface FoundChange {
  readonly mark: 'A' | 'C' | 'D' | 'M' | '-';
  readonly path: string;
}

/** Pure. */
export function parseFound(text: string): readonly FoundChange[] {
  return text.split('\0').flatMap((one) => {
    const [mark, path] = [one.slice(0, 1), one.slice(1)];
    return mark === 'A' || mark === 'C' || mark === 'D' || mark === 'M' || mark === '-' ? [{ mark, path }] : [];
  });
}

const kinds = { A: 'added', C: 'changed', D: 'deleted', M: 'changed', '-': 'changed' } as const;

/** Pure. `found`: a folder comes before what is in it. */
export function foldChanges(found: readonly FoundChange[], mountPoints: readonly string[]): readonly FileChange[] {
  const points = new Set(mountPoints);
  const above = new Set(mountPoints.flatMap(foldersAbove));
  const isHidden = (path: string): boolean => points.has(path) || foldersAbove(path).some((one) => points.has(one));
  /** Folders by what was found directly in them. */
  const [withKept, withNews, withHidden] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const kept: FileChange[] = [];
  // What is in a folder decides about the folder.
  for (const { mark, path } of found.toReversed()) {
    const parent = path.slice(0, path.lastIndexOf('/'));
    const isKept =
      !isHidden(path) &&
      (mark === 'A'
        ? !above.has(path) || withKept.has(path)
        : mark === 'M'
          ? withNews.has(path) || !withHidden.has(path)
          : mark !== '-' || withNews.has(path));
    if (isKept) {
      kept.push({ path, kind: kinds[mark] });
      withKept.add(parent);
      if (mark === 'A' || mark === 'D') withNews.add(parent);
    } else if (mark === 'A' || isHidden(path)) withHidden.add(parent);
  }
  return kept.toReversed();
}

/** /a and /a/b of /a/b/c. */
function foldersAbove(path: string): readonly string[] {
  const parts = path.split('/').slice(1, -1);
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
}
