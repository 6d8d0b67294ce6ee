/** The chaos in figures: the table and the verdict. Pure. */

import { alignColumns } from '../bench/report.ts';

export interface FaultOutcome {
  readonly kind: string;
  readonly target: string | undefined;
  /** From when it was planned, since the beginning. */
  readonly plannedAtMs: number;
  /** From the fault, or its end if it lasted, to the last thing being well again; undefined: not within the deadline. */
  readonly healedAfterMs: number | undefined;
  /** Of one that was not healed, or could not be done. */
  readonly flaw: string | undefined;
}

export interface ChaosReport {
  readonly seed: number;
  readonly seconds: number;
  readonly containers: number;
  readonly outcomes: readonly FaultOutcome[];
  readonly writes: { readonly acknowledged: number; readonly doubted: number };
  /** How often the checker looked at the host. */
  readonly looks: number;
  readonly daemonStarts: number;
  /** Each list is empty if all is well. */
  readonly lostWrites: readonly string[];
  readonly doubled: readonly string[];
  readonly failures: readonly string[];
}

/** What went wrong, in words; empty: the chaos was survived. */
export function problemsOf(report: ChaosReport): readonly string[] {
  const unhealed = report.outcomes.filter(({ healedAfterMs }) => healedAfterMs === undefined);
  return [
    ...unhealed.map(
      ({ kind, target, plannedAtMs, flaw }) =>
        `not healed: ${kind}${target === undefined ? '' : ` (${target})`} of second ${Math.round(plannedAtMs / 1000)}: ${flaw}`,
    ),
    ...report.lostWrites.map((fact) => `lost: ${fact}`),
    ...report.doubled.map((fact) => `doubled: ${fact}`),
    ...report.failures,
  ];
}

export interface KindSummary {
  readonly kind: string;
  readonly injected: number;
  readonly healed: number;
  readonly medianMs: number | undefined;
  readonly p99Ms: number | undefined;
  readonly maxMs: number | undefined;
}

/** One row for each kind, in order of first appearance, and one for all. */
export function summarizeKinds(outcomes: readonly FaultOutcome[]): readonly KindSummary[] {
  const byKind = Map.groupBy(outcomes, ({ kind }) => kind);
  return [...byKind].map(([kind, own]) => summarizeOne(kind, own)).concat(summarizeOne('all', outcomes));
}

function summarizeOne(kind: string, outcomes: readonly FaultOutcome[]): KindSummary {
  const times = outcomes.flatMap(({ healedAfterMs }) => healedAfterMs ?? []).sort((a, b) => a - b);
  /** Nearest rank. */
  const at = (share: number): number | undefined => times[Math.max(0, Math.ceil(share * times.length) - 1)];
  return {
    kind,
    injected: outcomes.length,
    healed: times.length,
    medianMs: at(0.5),
    p99Ms: at(0.99),
    maxMs: times.at(-1),
  };
}

export function formatReport(report: ChaosReport): string {
  const seconds = (ms: number | undefined): string => (ms === undefined ? '-' : (ms / 1000).toFixed(2));
  const header = ['fault', 'injected', 'healed', 'median s', 'p99 s', 'max s'];
  const rows = summarizeKinds(report.outcomes).map((row) => [
    row.kind,
    String(row.injected),
    String(row.healed),
    seconds(row.medianMs),
    seconds(row.p99Ms),
    seconds(row.maxMs),
  ]);
  const problems = problemsOf(report);
  return [
    alignColumns([header, ...rows]),
    '',
    `seed ${report.seed}, ${report.seconds} s, ${report.containers} containers, looked at ${report.looks} times; the daemon was started ${report.daemonStarts} times`,
    `writes: ${report.writes.acknowledged} acknowledged, ${report.writes.doubted} without an answer, ${report.lostWrites.length} lost`,
    `doubled: ${report.doubled.length}; other failures: ${report.failures.length}`,
    problems.length === 0 ? 'every fault was healed, and nothing was lost or doubled' : problems.join('\n'),
  ].join('\n');
}
