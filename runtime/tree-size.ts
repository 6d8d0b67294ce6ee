/** How much of the disk a folder takes. Effects: runs du. */
import { runCommand } from './command.ts';
import { RuntimeOperationError } from './errors.ts';

const deadlineMs = 600_000;

/**
 * Bytes of the disk, without what is mounted below; files that vanish meanwhile do not count. Reads the whole tree.
 * Throws RuntimeOperationError.
 */
export async function observeTreeBytes(operation: string, path: string, signal: AbortSignal): Promise<number> {
  const args = ['-sx', '--block-size=1', '--', path] as const;
  const { code, stdout, stderr } = await runCommand(operation, ['du', ...args], { deadlineMs, signal });
  const bytes = Number.parseInt(stdout, 10);
  // It ends with 1 when something went away under it, and has counted the rest.
  if ((code === 0 || code === 1) && Number.isSafeInteger(bytes)) return bytes;
  throw new RuntimeOperationError(
    operation,
    `the size of ${path} is not known: ${stderr.trim() || `du ended with ${code}`}`,
  );
}
