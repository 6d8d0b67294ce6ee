/** What is measured of the store, the targets, and the table. Pure. */
import { alignColumns, type Distribution } from './report.ts';

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
  readonly bound: { readonly kind: 'at most' | 'at least'; readonly value: number };
  /** Of kube-apiserver 1.20 with etcd, on the machine of the targets (two cores, generator on the same machine). */
  readonly reference: string;
}

const rows: readonly Row[] = [
  {
    figure: 'create, one client, p50 (ms)',
    digits: 2,
    of: ({ serialCreateMs }) => serialCreateMs.median,
    bound: { kind: 'at most', value: 1.5 },
    reference: '2.3',
  },
  {
    figure: 'creates, 64 clients (per s)',
    digits: 0,
    of: ({ createsPerSecond }) => createsPerSecond,
    bound: { kind: 'at least', value: 3_700 },
    reference: '1480',
  },
  {
    figure: 'merge patches, 64 clients (per s)',
    digits: 0,
    of: ({ patchesPerSecond }) => patchesPerSecond,
    bound: { kind: 'at least', value: 3_600 },
    reference: '1100 to 1290',
  },
  {
    figure: 'gets, 64 clients (per s)',
    digits: 0,
    of: ({ getsPerSecond }) => getsPerSecond,
    bound: { kind: 'at least', value: 5_500 },
    reference: '2300 to 3200',
  },
  {
    figure: 'list of 2,000 (ms)',
    digits: 1,
    of: ({ listMs }) => listMs,
    bound: { kind: 'at most', value: 60 },
    reference: '160',
  },
  {
    figure: 'an event to 100 watchers (ms)',
    digits: 1,
    of: ({ fanOut100Ms }) => fanOut100Ms,
    bound: { kind: 'at most', value: 5 },
    reference: '8 to 12',
  },
  {
    figure: 'an event to 1,000 watchers (ms)',
    digits: 1,
    of: ({ fanOut1000Ms }) => fanOut1000Ms,
    bound: { kind: 'at most', value: 35 },
    reference: '51',
  },
  {
    figure: 'memory with 10,000 objects, RSS (MB)',
    digits: 0,
    of: ({ rssBytes }) => (rssBytes === undefined ? undefined : rssBytes / 1e6),
    bound: { kind: 'at most', value: 200 },
    reference: '740, etcd 100',
  },
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

function verdictOf(value: number | undefined, { kind, value: bound }: Row['bound']): string {
  if (value === undefined) return 'not measured';
  return (kind === 'at most' ? value <= bound : value >= bound) ? 'yes' : 'NO';
}
