/** What is measured of the store, the targets, and the table. Pure. */
import { alignColumns, type Bound, type Distribution, verdictOf } from './report.ts';

export interface WriteCost {
  /** Stored when the writes were timed. */
  readonly objects: number;
  readonly createMs: number;
  readonly patchMs: number;
}

export interface StoreFigures {
  readonly serialCreateMs: Distribution;
  readonly createsPerSecond: number;
  readonly patchesPerSecond: number;
  readonly getsPerSecond: number;
  readonly listMs: number;
  readonly fanOut100Ms: number | undefined;
  readonly fanOut1000Ms: number | undefined;
  /** undefined: it is not known which process to look at. */
  readonly rssBytes: number | undefined;
  readonly costs: readonly WriteCost[];
}

interface Row {
  readonly figure: string;
  readonly digits: number;
  readonly of: (figures: StoreFigures) => number | undefined;
  readonly bound: Bound;
  /** Of kube-apiserver 1.20 with etcd, on the machine of the targets (two cores, generator on the same machine). */
  readonly reference: string;
}

const atMost = (value: number): Bound => ({ kind: 'at most', value });
const atLeast = (value: number): Bound => ({ kind: 'at least', value });
const row = (
  figure: string,
  of: Row['of'],
  bound: Bound,
  { digits, reference }: Pick<Row, 'digits' | 'reference'>,
): Row => ({ figure, of, bound, digits, reference });
const megabytes = (bytes: number | undefined): number | undefined => (bytes === undefined ? undefined : bytes / 1e6);

const rows: readonly Row[] = [
  row('create, one client, p50 (ms)', (of) => of.serialCreateMs.median, atMost(1.5), { digits: 2, reference: '2.3' }),
  row('creates, 64 clients (per s)', (of) => of.createsPerSecond, atLeast(3_700), { digits: 0, reference: '1480' }),
  row('merge patches, 64 clients (per s)', (of) => of.patchesPerSecond, atLeast(3_600), {
    digits: 0,
    reference: '1100 to 1290',
  }),
  row('gets, 64 clients (per s)', (of) => of.getsPerSecond, atLeast(5_500), { digits: 0, reference: '2300 to 3200' }),
  row('list of 2,000 (ms)', (of) => of.listMs, atMost(60), { digits: 1, reference: '160' }),
  row('an event to 100 watchers (ms)', (of) => of.fanOut100Ms, atMost(5), { digits: 1, reference: '8 to 12' }),
  row('an event to 1,000 watchers (ms)', (of) => of.fanOut1000Ms, atMost(35), { digits: 1, reference: '51' }),
  row('memory with 10,000 objects, RSS (MB)', (of) => megabytes(of.rssBytes), atMost(200), {
    digits: 0,
    reference: '740, etcd 100',
  }),
];

/** A column for each server that was measured; the first is ours, and is judged. */
export function formatStore(measured: readonly { readonly name: string; readonly figures: StoreFigures }[]): string {
  const table = [
    ['the store over HTTPS, ConfigMaps of 1 KB', 'target', ...measured.map(({ name }) => name), 'met', 'reference'],
    ...rows.map(({ figure, digits, of, bound, reference }) => {
      const [ours] = measured;
      return [
        figure,
        `${bound.kind} ${bound.value}`,
        ...measured.map(({ figures }) => of(figures)?.toFixed(digits) ?? '-'),
        ours === undefined ? '' : verdictOf(of(ours.figures), bound),
        reference,
      ];
    }),
  ];
  const costs = measured.map(({ name, figures }) => [
    ['', ...figures.costs.map(({ objects }) => `${objects} objects`)],
    [`${name}: create, p50 (ms)`, ...figures.costs.map(({ createMs }) => createMs.toFixed(2))],
    [`${name}: merge patch, p50 (ms)`, ...figures.costs.map(({ patchMs }) => patchMs.toFixed(2))],
  ]);
  return [
    alignColumns(table),
    'reference: kube-apiserver 1.20 with etcd, measured once on the machine of the targets',
    ...costs.map((cost) => `\n${alignColumns(cost)}`),
  ].join('\n');
}
