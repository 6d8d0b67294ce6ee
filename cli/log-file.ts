/** The daemon's own log file: two files of at most 10 MiB, so that it can never fill the disk. Effects. */
import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

const maxSizeBytes = 10 * 2 ** 20;

/** A destination for pino that writes at once, and renames the file to FILE.1 when it is full. */
export function openLogFile(path: string): { write(line: string): void } {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let fd = openSync(path, 'a', 0o600);
  let sizeBytes = statSync(path).size;
  return {
    write: (line) => {
      try {
        if (sizeBytes >= maxSizeBytes) {
          renameSync(path, `${path}.1`);
          closeSync(fd);
          fd = openSync(path, 'a', 0o600);
          sizeBytes = 0;
        }
        sizeBytes += writeSync(fd, line);
      } catch {
        // A full disk must not end the daemon; the line is lost, the containers are not.
      }
    },
  };
}
