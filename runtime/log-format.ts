/**
 * Lines of the log files that conmon writes in the format of Kubernetes' container runtimes:
 * TIME STREAM P|F TEXT. Pure. P: the text goes on in the next line of the stream; F: a newline followed it.
 */
import type { LogEntry } from './interface.ts';

const space = 0x20;

/** One line without its final newline; undefined if it is not such a line (a write cut short by a full disk). */
export function parseLogLine(line: Buffer): LogEntry | undefined {
  const afterTime = line.indexOf(space);
  if (afterTime < 20) return undefined;
  const afterStream = line.indexOf(space, afterTime + 1);
  if (afterStream < 0) return undefined;
  const stream = line.toString('latin1', afterTime + 1, afterStream);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tag = line[afterStream + 1];
  const isFull = tag === 0x46;
  if ((!isFull && tag !== 0x50) || (line.length > afterStream + 2 && line[afterStream + 2] !== space)) return undefined;
  const text = line.subarray(afterStream + 3);
  return {
    time: line.toString('latin1', 0, afterTime).replace('+00:00', 'Z'),
    stream,
    data: isFull ? Buffer.concat([text, newline]) : Buffer.from(text),
  };
}

const newline = Buffer.from('\n');

/**
 * A line of ours among conmon's, before the first of each run. Its stream is none of a container's, so that readers who
 * do not know of it pass over it. It is rotated and cut along with what it marks.
 */
export function formatRunMark(startedAtMs: number): string {
  return `${new Date(startedAtMs).toISOString()} ${runMark}\n`;
}

const runMark = 'run F';

export function isRunMark(line: Buffer): boolean {
  const length = line.length - runMark.length;
  return (
    length > 20 && length < 32 && line.indexOf(space) === length - 1 && line.toString('latin1', length) === runMark
  );
}

/** Which stream a raw line belongs to; undefined if it is a mark or no such line. */
export function streamOf(line: Buffer): LogEntry['stream'] | undefined {
  const afterTime = line.indexOf(space);
  const name = afterTime < 0 ? '' : line.toString('latin1', afterTime + 1, afterTime + 8);
  return name === 'stdout ' ? 'stdout' : name === 'stderr ' ? 'stderr' : undefined;
}

/** Whether a raw line ends a line of the container (F) rather than going on (P). */
export function endsLine(line: Buffer): boolean {
  const afterTime = line.indexOf(space);
  const afterStream = afterTime < 0 ? -1 : line.indexOf(space, afterTime + 1);
  return afterStream < 0 || line[afterStream + 1] !== 0x50;
}
