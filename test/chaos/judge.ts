/** Compares what should run with what runs. Pure: the watcher (watcher.ts) looks, and remembers since when. */
import type { Run } from './host-view.ts';
import type { Account } from './write-ledger.ts';

export type Complaint =
  /** It should run and does not. */
  | { readonly kind: 'missing'; readonly name: string }
  /** It runs and should not, or its spec was changed since. */
  | { readonly kind: 'unwanted'; readonly name: string; readonly value: string }
  /** It runs more than once. */
  | { readonly kind: 'doubled'; readonly name: string; readonly runs: readonly Run[] };

export interface JudgeInput {
  readonly accounts: readonly Account[];
  readonly runs: readonly Run[];
  /** Those whose process may be there or not, as they end by themselves. */
  readonly mayRest: ReadonlySet<string>;
}

export function judge({ accounts, runs, mayRest }: JudgeInput): readonly Complaint[] {
  const byName = Map.groupBy(runs, ({ name }) => name);
  const complaints: Complaint[] = [];
  for (const [name, own] of byName) if (own.length > 1) complaints.push({ kind: 'doubled', name, runs: own });
  for (const { name, sure, doubtful } of accounts) {
    const own = byName.get(name) ?? [];
    // What is in doubt may be so or so.
    const wanted = [sure, doubtful].filter((one) => one !== undefined);
    const mayRun = (value: string): boolean => wanted.some((one) => one.shouldRun && one.value === value);
    for (const { value } of own) if (!mayRun(value)) complaints.push({ kind: 'unwanted', name, value });
    const mustRun = doubtful === undefined && sure?.shouldRun === true && !mayRest.has(name);
    if (mustRun && !own.some(({ value }) => mayRun(value))) complaints.push({ kind: 'missing', name });
  }
  const known = new Set(accounts.map(({ name }) => name));
  for (const { name, value } of runs) if (!known.has(name)) complaints.push({ kind: 'unwanted', name, value });
  return complaints;
}

/** By which a complaint is known again at the next look. */
export function idOf(complaint: Complaint): string {
  return `${complaint.kind} ${complaint.name}${complaint.kind === 'unwanted' ? ` ${complaint.value}` : ''}`;
}
