/** The bench's figures, their targets and the table. Pure. */

export interface Distribution {
  readonly median: number;
  readonly p95: number;
  readonly p99: number;
}

/** What was measured of one engine; undefined where the measurement failed. */
export interface Figures {
  readonly startMs: Distribution | undefined;
  readonly restartMs: Distribution | undefined;
  /** With many that run. */
  readonly healMs: Distribution | undefined;
  readonly perSecond: number | undefined;
  readonly execMs: Distribution | undefined;
  readonly echoMs: Distribution | undefined;
  readonly logBytesPerSecond: number | undefined;
  readonly daemonRssBytes: number | undefined;
  readonly daemonPssBytes: number | undefined;
  readonly monitorPssBytes: number | undefined;
  /** Share of one core. */
  readonly idleCpu: number | undefined;
  /** Of the machine over the minute that ends with the measurement of idleCpu: how far that can be believed. */
  readonly load: number | undefined;
}

export interface Bound {
  readonly kind: 'at most' | 'at least';
  readonly value: number;
}

export interface Target {
  readonly figure: string;
  readonly unit: string;
  readonly digits: number;
  /** In the target's unit. */
  readonly value: (figures: Figures) => number | undefined;
  /** Shown beside the value, not judged. */
  readonly p95?: (figures: Figures) => number | undefined;
  /** undefined: shown for comparison only. */
  readonly bound?: Bound;
}

/** Of an engine of which nothing was measured. */
export const noFigures: Figures = {
  startMs: undefined,
  restartMs: undefined,
  healMs: undefined,
  perSecond: undefined,
  execMs: undefined,
  echoMs: undefined,
  logBytesPerSecond: undefined,
  daemonRssBytes: undefined,
  daemonPssBytes: undefined,
  monitorPssBytes: undefined,
  idleCpu: undefined,
  load: undefined,
};

const megabytes = (bytes: number | undefined): number | undefined => (bytes === undefined ? undefined : bytes / 1e6);

/** The figures of "How fast and how small", in the order of the table. */
export function describeTargets(containers: number): readonly Target[] {
  return [
    {
      figure: 'spec applied until it runs',
      unit: 'ms',
      digits: 1,
      value: ({ startMs }) => startMs?.median,
      p95: ({ startMs }) => startMs?.p95,
      bound: { kind: 'at most', value: 45 },
    },
    {
      figure: 'killed until its successor runs, network kept',
      unit: 'ms',
      digits: 1,
      value: ({ restartMs }) => restartMs?.median,
      p95: ({ restartMs }) => restartMs?.p95,
      bound: { kind: 'at most', value: 40 },
    },
    {
      figure: `killed until its successor says that it runs, ${containers} running`,
      unit: 'ms',
      digits: 1,
      value: ({ healMs }) => healMs?.median,
      bound: { kind: 'at most', value: 30 },
    },
    {
      figure: '… p99',
      unit: 'ms',
      digits: 1,
      value: ({ healMs }) => healMs?.p99,
      bound: { kind: 'at most', value: 100 },
    },
    {
      figure: `${containers} applied at once`,
      unit: 'per s',
      digits: 1,
      value: ({ perSecond }) => perSecond,
      bound: { kind: 'at least', value: 25 },
    },
    {
      figure: 'exec of true until its exit code is known',
      unit: 'ms',
      digits: 1,
      value: ({ execMs }) => execMs?.median,
      p95: ({ execMs }) => execMs?.p95,
      bound: { kind: 'at most', value: 25 },
    },
    {
      figure: 'a key until the terminal gives it back',
      unit: 'ms',
      digits: 2,
      value: ({ echoMs }) => echoMs?.median,
      p95: ({ echoMs }) => echoMs?.p95,
      bound: { kind: 'at most', value: 10 },
    },
    {
      figure: 'log of a container at full speed, lines of 100 bytes',
      unit: 'MB/s',
      digits: 1,
      value: ({ logBytesPerSecond }) => megabytes(logBytesPerSecond),
    },
    {
      figure: `daemon memory, ${containers} containers, RSS`,
      unit: 'MB',
      digits: 1,
      value: ({ daemonRssBytes }) => megabytes(daemonRssBytes),
      bound: { kind: 'at most', value: 150 },
    },
    {
      figure: `daemon memory, ${containers} containers, Pss`,
      unit: 'MB',
      digits: 1,
      value: ({ daemonPssBytes }) => megabytes(daemonPssBytes),
    },
    {
      figure: 'each monitor, Pss',
      unit: 'MB',
      digits: 2,
      value: ({ monitorPssBytes }) => megabytes(monitorPssBytes),
      bound: { kind: 'at most', value: 0.6 },
    },
    {
      figure: `idle CPU, ${containers} containers`,
      unit: '% core',
      digits: 2,
      value: ({ idleCpu }) => (idleCpu === undefined ? undefined : idleCpu * 100),
      bound: { kind: 'at most', value: 0.5 },
    },
    { figure: 'load of the machine then', unit: 'processes', digits: 2, value: ({ load }) => load },
  ];
}

/** Median, 95th and 99th percentile (nearest rank) of at least one value. */
export function summarize(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => {
    const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
    if (value === undefined) throw new RangeError('no values to summarize');
    return value;
  };
  const middle = sorted.length / 2;
  const median = Number.isInteger(middle)
    ? ((sorted[middle - 1] ?? at(0.5)) + (sorted[middle] ?? at(0.5))) / 2
    : at(0.5);
  return { median, p95: at(0.95), p99: at(0.99) };
}

export interface Column {
  readonly engine: string;
  /** The engine that the targets are for; the others are shown beside it. */
  readonly isOurs: boolean;
  readonly figures: Figures;
}

/** The table: one row per figure, our column judged against the targets. */
export function formatTable(targets: readonly Target[], columns: readonly Column[]): string {
  const header = ['', 'target', ...columns.map(({ engine }) => engine), 'met'];
  const rows = targets.map((target) => [
    `${target.figure} (${target.unit})`,
    target.bound === undefined ? '' : `${target.bound.kind} ${target.bound.value}`,
    ...columns.map(({ figures }) => formatValue(target, figures)),
    formatVerdict(target, columns.find(({ isOurs }) => isOurs)?.figures),
  ]);
  const lines = alignColumns([header, ...rows]).split('\n');
  return [lines[0], '-'.repeat(Math.max(...lines.map(({ length }) => length))), ...lines.slice(1)].join('\n');
}

/** One line for each row: the first column to the left, the others to the right. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const count = Math.max(...rows.map(({ length }) => length));
  const widths = Array.from({ length: count }, (_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function formatValue(target: Target, figures: Figures): string {
  const value = target.value(figures);
  if (value === undefined) return '-';
  const p95 = target.p95?.(figures);
  return value.toFixed(target.digits) + (p95 === undefined ? '' : ` (p95 ${p95.toFixed(target.digits)})`);
}

function formatVerdict({ bound, value }: Target, figures: Figures | undefined): string {
  const measured = figures === undefined ? undefined : value(figures);
  if (bound === undefined) return '';
  return verdictOf(measured, bound);
}

export function verdictOf(value: number | undefined, bound: Bound): string {
  if (value === undefined) return 'not measured';
  return (bound.kind === 'at most' ? value <= bound.value : value >= bound.value) ? 'yes' : 'NO';
}
