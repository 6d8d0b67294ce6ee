/** Walks every combination of docs/restart-policy.md through the code: each in exactly one row, and each row right. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { backoffDelayMs, drawFor } from '../../client/index.ts';
import { accountFor } from '../../controller/account.ts';
import { accountForImageFailure, accountForStartFailure } from '../../controller/account-failures.ts';
import { decide, type ImageState, type Step } from '../../controller/decide.ts';
import type { Desired } from '../../controller/desired.ts';
import { emptyHistory, type History } from '../../controller/history.ts';
import type { RestartPolicy, Unhealthy } from '../../controller/restart.ts';
import { formatStatus } from '../../controller/status.ts';
import { crdFiles } from '../../crds/index.ts';
import type { ContainerInfo } from '../../runtime/index.ts';
import { container, desired, object } from './fixtures.ts';

const page = readFileSync(new URL('../../docs/restart-policy.md', import.meta.url), 'utf8');

/** Rows of the one table whose heading has these cells. */
function tableOf(...heading: readonly string[]): Record<string, string>[] {
  const lines = page.split('\n');
  const cellsOf = (line: string): string[] =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim());
  const start = lines.findIndex((line) => line.startsWith('|') && cellsOf(line).join('|') === heading.join('|'));
  assert.notEqual(start, -1, `the page has no table with the heading ${heading.join(' | ')}`);
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end).map((line) => {
    const cells = cellsOf(line);
    assert.equal(cells.length, heading.length, `a row with ${cells.length} cells: ${line}`);
    return Object.fromEntries(heading.map((name, index) => [name, cells[index] ?? '']));
  });
}

const valuesOf = new Map(
  tableOf('word', 'values').map(({ word = '', values = '' }) => [
    word,
    [...values.matchAll(/`([^`]+)`/g)].map(([, value]) => value ?? ''),
  ]),
);
const inputs = ['desiredState', 'restartPolicy', 'ending', 'history'] as const;
type Combination = Record<(typeof inputs)[number], string>;
const rows = tableOf(...inputs, 'then', 'status.reason', 'exits in a row');
const clockRows = tableOf('clock', 'the wait ends at');

function* combinations(): Generator<Combination> {
  for (const desiredState of valuesOf.get('desiredState') ?? [])
    for (const restartPolicy of valuesOf.get('restartPolicy') ?? [])
      for (const ending of valuesOf.get('ending') ?? [])
        for (const history of valuesOf.get('history') ?? []) yield { desiredState, restartPolicy, ending, history };
}

function matches(row: Record<string, string>, combination: Combination): boolean {
  return inputs.every((input) => row[input] === '*' || row[input]?.split(', ').includes(combination[input]));
}

const startedAtMs = 100_000_000;
const endedAtMs = startedAtMs + 500;
const hourMs = 3_600_000;
const maxRetries = 5;
const before = { failures: 2, failingMs: 3_000 };
const histories: Readonly<Record<string, Pick<History, 'failures' | 'failingMs'>>> = {
  'within bounds': before,
  'long run': { failures: maxRetries, failingMs: hourMs },
  'retries used up': { failures: maxRetries, failingMs: 3_000 },
  'time used up': { failures: 2, failingMs: hourMs },
};
const codes: Readonly<Record<string, { code: number; signal?: number; oomKilled?: true; hostWentDown?: true }>> = {
  'exit 0': { code: 0 },
  'exit 1': { code: 1 },
  signal: { code: 139, signal: 11 },
  'OOM kill': { code: 137, signal: 9, oomKilled: true },
  unseen: { code: -1 },
  reboot: { code: -1, hostWentDown: true },
  'Success rule': { code: 10 },
  'Failure rule': { code: 11 },
  'Fatal rule': { code: 134, signal: 6 },
  'asked to stop': { code: 143, signal: 15 },
  // What a program says that ends well when it is told to.
  LivenessProbe: { code: 0 },
  StartupProbe: { code: 10 },
  PostStartHook: { code: 134, signal: 6 },
};
const unhealthy: Readonly<Record<string, Unhealthy>> = {
  LivenessProbe: 'LivenessProbe',
  StartupProbe: 'StartupProbe',
  PostStartHook: 'PostStartHook',
};

const parsed = new Map<string, Desired>();

function wantedFor({ desiredState, restartPolicy }: Combination): Desired {
  const key = `${desiredState} ${restartPolicy}`;
  const known = parsed.get(key);
  if (known !== undefined) return known;
  const made = desired({
    spec: {
      // The page's words are the schema's, as a test below shows.
      desiredState: desiredState as 'Running',
      restartPolicy: restartPolicy as RestartPolicy,
      restart: {
        maxRetries,
        maxDuration: '1h',
        exitCodes: [
          { action: 'Success', codes: [10] },
          { action: 'Failure', codes: ['11-12'] },
          { action: 'Fatal', signals: ['ABRT'] },
        ],
      },
    },
  });
  parsed.set(key, made);
  return made;
}

interface Seen {
  readonly history: History;
  readonly container: ContainerInfo | undefined;
  readonly image: ImageState;
  readonly endedAtMs: number;
}

/** The ending happens, and is seen at nowMs. */
function happen({ ending, history }: Combination, wanted: Desired, nowMs: number): Seen {
  const isLong = history === 'long run';
  const began = isLong ? endedAtMs - wanted.restart.backoff.resetAfterMs : startedAtMs;
  const past = { ...emptyHistory, seenStartMs: began, ...histories[history] };
  const present: ImageState = { kind: 'present', imageID: 'sha256:1' };
  const exit = codes[ending];
  if (exit === undefined) {
    // There was no run to be long: an earlier one was, and was seen while it lasted.
    const running = container({ kind: 'running', pid: 1, startedAtMs: began });
    const after = isLong ? accountFor(past, { ...wanted, shouldRun: true }, running, endedAtMs) : past;
    const failure = { of: 'start', reason: 'RunContainerError', message: 'x', exitCode: 127 } as const;
    const seen = { container: undefined, image: present, endedAtMs: nowMs };
    switch (ending) {
      case 'cannot run': {
        const exited = { code: 127, signal: undefined, oomKilled: false, finishedAtMs: endedAtMs };
        return {
          ...seen,
          endedAtMs,
          container: container({ kind: 'exited', startedAtMs: undefined, exit: exited }),
          history: accountForStartFailure(after, wanted, { ...failure, finishedAtMs: endedAtMs }, nowMs),
        };
      }
      case 'host fault': {
        const fault = { of: 'create', reason: 'CreateContainerError', message: 'x', exitCode: undefined } as const;
        return { ...seen, history: accountForStartFailure(after, wanted, fault, nowMs) };
      }
      case 'image fault':
        return {
          ...seen,
          image: { kind: 'unknown' },
          history: accountForImageFailure(after, wanted, { reason: 'ErrImagePull', message: 'x' }, nowMs),
        };
      default:
        throw new Error(`the page has an ending that the test does not know: ${ending}`);
    }
  }
  const by = unhealthy[ending];
  const isOurs = by !== undefined || ending === 'asked to stop';
  const stop = {
    ...{ sinceMs: endedAtMs - 100, killAtMs: endedAtMs + 1_000, isWithdrawn: false },
    unhealthy: by === undefined ? undefined : { by, message: 'x' },
  };
  const exited = container({
    ...{ kind: 'exited', startedAtMs: began },
    exit: { signal: undefined, oomKilled: false, finishedAtMs: endedAtMs, ...exit },
  });
  const known = { ...past, stop: isOurs ? stop : undefined };
  return { container: exited, image: present, endedAtMs, history: accountFor(known, wanted, exited, nowMs) };
}

function nextOf(seen: Seen, wanted: Desired, nowMs: number): { step: Step; history: History } {
  const { image } = seen;
  const history = accountFor(seen.history, wanted, seen.container, nowMs);
  const input = { isDeleting: false, hasFinalizer: true, mutableHash: 'm', dependencies: [], hasPredecessor: false };
  return { history, step: decide({ ...input, desired: wanted, container: seen.container, image, history, nowMs }) };
}

const starts = new Set<Step['kind']>(['start', 'create', 'ensure-image']);

/** What the row says, as the code has it. */
function check(row: Record<string, string>, combination: Combination, clock: string): void {
  const wanted = wantedFor(combination);
  const sees = { 'set back before it was seen': -hourMs, 'set forward': hourMs, suspended: hourMs }[clock] ?? 100;
  const seenAtMs = endedAtMs + sees;
  const seen = happen(combination, wanted, seenAtMs);
  const n = histories[combination.history]?.failures;
  const failures = { 'n+1': (n ?? 0) + 1, n, '1': 1, '0': 0 }[row['exits in a row'] ?? ''];
  const nowMs = clock === 'set back during the wait' ? seenAtMs - hourMs : seenAtMs;
  const { step, history } = nextOf(seen, wanted, nowMs);
  assert.equal(history.failures, failures, 'exits in a row');
  const { reason } = formatStatus({
    ...{ object: object(), desired: wanted, container: seen.container, image: seen.image, nodeName: 'host' },
    ...{ history, step, nowMs },
  });
  switch (row.then) {
    case 'stays down':
      assert.equal(reason, row['status.reason']);
      assert.deepEqual(step, { kind: 'settled' });
      assert.deepEqual(nextOf({ ...seen, history }, wanted, nowMs + 1e12).step, { kind: 'settled' });
      return;
    case 'starts at once':
      assert.equal(row['status.reason'], '');
      assert.ok(starts.has(step.kind), step.kind);
      return;
    case 'waits, then tries again':
    case 'waits, then starts': {
      const { retry } = history;
      assert.equal(retry?.reason, row['status.reason']);
      const attempt = retry?.isHostFault === true ? 1 : history.failures;
      const delayMs = backoffDelayMs(wanted.restart.backoff, attempt, drawFor('no jitter'));
      assert.equal(retry?.delayMs, delayMs);
      // What the host could not do is dated by nobody else: it happened when it was seen.
      const isFresh = seen.endedAtMs === nowMs;
      const rule = isFresh ? 'ending + wait' : clockRows.find((one) => one.clock === clock)?.['the wait ends at'];
      const ends = { 'ending + wait': seen.endedAtMs + delayMs, 'now + wait': nowMs + delayMs, now: nowMs };
      const dueAtMs = ends[rule as keyof typeof ends];
      assert.equal(step.kind === 'wait' ? step.untilMs : nowMs, dueAtMs, 'the end of the wait');
      if (dueAtMs > nowMs) {
        assert.equal(reason, row['status.reason']);
        assert.equal(nextOf({ ...seen, history }, wanted, dueAtMs - 1).step.kind, 'wait');
      }
      const kind = nextOf({ ...seen, history }, wanted, dueAtMs).step.kind;
      assert.ok(starts.has(kind), `at ${dueAtMs} ms (now ${nowMs}): ${kind}`);
      return;
    }
    default:
      assert.fail(`a row says "${row.then}", which means nothing`);
  }
}

describe('docs/restart-policy.md', () => {
  it('has words and rows to walk', () => {
    const sizes = [...inputs, 'clock'].map((word) => valuesOf.get(word)?.length ?? 0);
    assert.deepEqual(sizes, [3, 4, 16, 4, 5]);
    assert.ok(rows.length >= 20, `${rows.length} rows`);
    assert.deepEqual(clockRows.map(({ clock }) => clock).sort(), [...(valuesOf.get('clock') ?? [])].sort());
  });
  it('knows every desired state and policy of the schema', () => {
    const schema = readFileSync(crdFiles[0] ?? '', 'utf8');
    for (const [word, field] of [
      ['desiredState', 'desiredState'],
      ['restartPolicy', 'restartPolicy'],
    ] as const) {
      const list = new RegExp(`${field}:\\n\\s+type: string\\n\\s+enum: \\[([^\\]]+)\\]`)
        .exec(schema)?.[1]
        ?.split(', ');
      assert.deepEqual(list?.sort(), [...(valuesOf.get(word) ?? [])].sort());
    }
  });
  it('has exactly one row for every combination', () => {
    for (const combination of combinations()) {
      const count = rows.filter((row) => matches(row, combination)).length;
      assert.equal(count, 1, `${count} rows for ${JSON.stringify(combination)}`);
    }
  });
  it('has no row that matches nothing', () => {
    const all = [...combinations()];
    for (const row of rows)
      assert.ok(
        all.some((one) => matches(row, one)),
        JSON.stringify(row),
      );
  });
  for (const clock of valuesOf.get('clock') ?? [])
    it(`says what the code does, with the clock ${clock}`, () => {
      for (const combination of combinations())
        for (const row of rows.filter((one) => matches(one, combination)))
          try {
            check(row, combination, clock);
          } catch (error) {
            throw new Error(`${JSON.stringify(combination)} is not as in ${JSON.stringify(row)}`, { cause: error });
          }
    });
  it('draws the states that a status can have, and every reason of the table', () => {
    const diagram = /```mermaid\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    const drawn = [...diagram.matchAll(/(\w+|\[\*\]) --> (\w+)/g)].flatMap(([, from, to]) => [from, to]);
    const states = ['Created', 'Exited', 'Paused', 'Restarting', 'Running', '[*]'];
    assert.deepEqual([...new Set(drawn)].sort(), states);
    for (const { 'status.reason': reason = '' } of rows) assert.ok(diagram.includes(reason), reason);
  });
});
