/**
 * Errors of the system that say nothing about what was asked for, only that the host has no room for the answer. Who
 * takes them for an answer kills what lives: without a free file descriptor every process looks gone. Pure.
 */

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** No space on a disk, or none that we may use. */
export function isDiskFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** No file descriptor, no memory, no process: the same question may be answered in a moment. */
export function isShortage(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM' || code === 'EAGAIN';
}
