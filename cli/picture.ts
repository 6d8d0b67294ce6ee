/** The live picture: the containers as a table, drawn anew in place on a terminal, or a line per change elsewhere. Formatting is pure. */
import type { Container } from '../crds/index.ts';

export interface Row {
  readonly container: Container;
  /** Last line of its log; undefined if it has none. */
  readonly lastLine?: string | undefined;
}

/** Seconds, minutes, hours or days, as kubectl prints an age. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** The table as lines no longer than `width`. */
export function formatPicture(rows: readonly Row[], nowMs: number, width: number): string[] {
  const cells = rows.map(({ container, lastLine }) => {
    const { metadata, status } = container;
    const next =
      status?.backoff?.nextRestartAt === undefined
        ? ''
        : ` in ${formatAge(Date.parse(status.backoff.nextRestartAt) - nowMs)}`;
    const since =
      status?.state === 'Running' && status.startedAt !== undefined
        ? formatAge(nowMs - Date.parse(status.startedAt))
        : '';
    return [
      `${metadata.namespace}/${metadata.name}`,
      status?.state ?? 'New',
      `${status?.reason ?? ''}${next}`,
      String(status?.restartCount ?? 0),
      since,
      status?.podIP ?? '',
      toPrintable(lastLine ?? ''),
    ];
  });
  const table = [['CONTAINER', 'STATE', 'REASON', 'RESTARTS', 'UP', 'IP', 'LAST LINE OF ITS LOG'], ...cells];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd()
      .slice(0, width),
  );
}

/** One line for a change of state; undefined when nothing that matters changed. */
export function formatChange(before: Container | undefined, after: Container): string | undefined {
  const key = (one: Container | undefined): string =>
    `${one?.status?.state} ${one?.status?.reason} ${one?.status?.restartCount} ${one?.metadata.deletionTimestamp === undefined}`;
  if (after.status === undefined || key(before) === key(after)) return undefined;
  const { metadata, status } = after;
  const parts = [
    status.state,
    status.reason,
    status.reason === undefined ? undefined : status.message,
    (status.restartCount ?? 0) > 0 ? `restarts ${status.restartCount}` : undefined,
  ];
  return toPrintable(
    `${metadata.namespace}/${metadata.name}: ${parts.filter((part) => part !== undefined && part !== '').join(', ')}`,
  );
}

/** A log line is the container's word: no control character of it may reach the terminal. */
function toPrintable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, ' ').trimEnd();
}
