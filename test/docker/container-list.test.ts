/** What `docker ps` shows of a container, and which it shows. */
import assert from 'node:assert/strict';
import type { Container } from '../../crds/index.ts';
import { chooseContainers, type ListContext } from '../../docker/container-list.ts';
import { formatStatus, stateOf } from '../../docker/container-state.ts';
import { parseUntil } from '../../docker/containers.ts';
import { createdAnnotation } from '../../docker/docker-config.ts';
import { DockerError } from '../../docker/docker-error.ts';
import { matchesPattern, parseFilters } from '../../docker/filters.ts';
import { findContainer } from '../../docker/find.ts';
import { formatDuration } from '../../docker/human-time.ts';
import { formatCommand } from '../../docker/inspect.ts';
import { ago, given, nowMs, type Status } from './fixtures.ts';

describe('the state of a container', () => {
  const cases: {
    it: string;
    status: Partial<Status>;
    metadata?: Partial<Container['metadata']>;
    name: string;
    text: string;
  }[] = [
    { it: 'is created before the first start', status: {}, name: 'created', text: 'Created' },
    {
      it: 'is running',
      status: { state: 'Running', startedAt: ago(125), pid: 7 },
      name: 'running',
      text: 'Up 2 minutes',
    },
    { it: 'is paused', status: { state: 'Paused', startedAt: ago(5) }, name: 'paused', text: 'Up 5 seconds (Paused)' },
    {
      it: 'is restarting between two runs',
      status: {
        state: 'Restarting',
        exitCode: 3,
        finishedAt: ago(4),
        lastTermination: { exitCode: 3, finishedAt: ago(4) },
      },
      name: 'restarting',
      text: 'Restarting (3) 4 seconds ago',
    },
    {
      it: 'has exited',
      status: { state: 'Exited', exitCode: 137, finishedAt: ago(3700) },
      name: 'exited',
      text: 'Exited (137) About an hour ago',
    },
    {
      it: 'is being removed',
      status: { state: 'Running' },
      metadata: { deletionTimestamp: ago(1) },
      name: 'removing',
      text: 'Removal In Progress',
    },
  ];
  for (const { it: title, status, metadata, name, text } of cases)
    it(title, () => {
      const state = stateOf(given('web', status, metadata), nowMs);
      assert.equal(state.name, name);
      assert.equal(formatStatus(state, nowMs), text);
    });
  it('has an exit code only when it does not run', () => {
    const last = { exitCode: 9, finishedAt: ago(50) };
    assert.equal(
      stateOf(given('web', { state: 'Running', startedAt: ago(5), lastTermination: last }), nowMs).exitCode,
      0,
    );
    assert.equal(stateOf(given('web', { state: 'Exited', lastTermination: last }), nowMs).exitCode, 9);
  });
});

describe('formatDuration', () => {
  const rows: [number, string][] = [
    [0, 'Less than a second'],
    [1, '1 second'],
    [59, '59 seconds'],
    [60, 'About a minute'],
    [120, '2 minutes'],
    [3_600, 'About an hour'],
    [47 * 3_600, '47 hours'],
    [48 * 3_600, '2 days'],
    [14 * 86_400, '2 weeks'],
    [61 * 86_400, '2 months'],
    [800 * 86_400, '2 years'],
  ];
  for (const [seconds, text] of rows)
    it(`words ${seconds} s as "${text}"`, () => assert.equal(formatDuration(seconds * 1000), text));
});

describe('formatCommand', () => {
  it('puts arguments with spaces into quotes, as docker ps does', () => {
    assert.equal(formatCommand(['sh', '-c', 'sleep 1', 'x']), "sh -c 'sleep 1' x");
    assert.equal(formatCommand([]), '');
  });
});

describe('chooseContainers', () => {
  const running = given(
    'web',
    { state: 'Running', startedAt: ago(60) },
    { creationTimestamp: ago(100), labels: { tier: 'front' } },
  );
  const exited = given('job', { state: 'Exited', exitCode: 3, finishedAt: ago(9) }, { creationTimestamp: ago(50) });
  const created = given('new', {}, { creationTimestamp: ago(50), annotations: { [createdAnnotation]: ago(49.5) } });
  const all = [running, exited, created];
  const context: ListContext = {
    namespace: 'default',
    nowMs,
    imageIDOf: () => undefined,
    networksOf: () => ['bridge'],
    volumesOf: () => [],
    find: (reference) => findContainer(all, reference, 'default'),
  };
  const choose = (options: { all?: boolean; limit?: number; filters?: Record<string, string[]> }): string[] =>
    chooseContainers(
      all,
      { all: options.all ?? false, limit: options.limit, filters: new Map(Object.entries(options.filters ?? {})) },
      context,
    ).map(({ metadata }) => metadata.name);
  const rows: [string, Parameters<typeof choose>[0], string[]][] = [
    ['shows those that run', {}, ['web']],
    ['shows all, the newest first, also within one second', { all: true }, ['new', 'job', 'web']],
    ['shows the last one whatever its state', { limit: 1 }, ['new']],
    ['filters by state', { filters: { status: ['exited'] } }, ['job']],
    ['filters by one of several states', { filters: { status: ['exited', 'created'] } }, ['new', 'job']],
    ['filters by exit code', { filters: { exited: ['3'] } }, ['job']],
    ['filters by label', { all: true, filters: { label: ['tier=front'] } }, ['web']],
    ['needs all labels', { all: true, filters: { label: ['tier=front', 'x'] } }, []],
    ['filters by a part of the name', { all: true, filters: { name: ['e'] } }, ['new', 'web']],
    ['filters by a pattern of the name', { all: true, filters: { name: ['^/?we'] } }, ['web']],
    ['filters by what came before', { all: true, filters: { before: ['job'] } }, ['web']],
    ['filters by what came since', { all: true, filters: { since: ['job'] } }, ['new']],
    ['filters by network', { all: true, filters: { network: ['none'] } }, []],
  ];
  for (const [title, options, wanted] of rows) it(title, () => assert.deepEqual(choose(options), wanted));
  it('refuses states and exit codes that are none', () => {
    assert.throws(() => choose({ filters: { status: ['asleep'] } }), DockerError);
    assert.throws(() => choose({ filters: { exited: ['x'] } }), DockerError);
  });
});

describe('parseFilters', () => {
  const read = (text: string): unknown => [...parseFilters(new URLSearchParams({ filters: text }), ['name', 'status'])];
  it('reads lists, and maps of old', () => {
    assert.deepEqual(read('{"name":["a","b"]}'), [['name', ['a', 'b']]]);
    assert.deepEqual(read('{"status":{"running":true,"paused":false}}'), [['status', ['running']]]);
    assert.deepEqual(read('null'), []);
  });
  for (const text of ['{', '[]', '3', '{"other":["x"]}', '{"name":[3]}', '{"__proto__":["x"]}'])
    it(`refuses ${text}`, () => assert.throws(() => read(text), { status: 400 }));
  it('does not let a pattern hold the daemon up', () => {
    const begun = performance.now();
    assert.equal(matchesPattern('(a+)+$', `${'a'.repeat(60)}!`), false);
    assert.ok(performance.now() - begun < 1_000);
  });
});

describe('parseUntil', () => {
  it('takes durations, seconds and times', () => {
    assert.equal(parseUntil('1h30m', nowMs), nowMs - 5_400_000);
    assert.equal(parseUntil('1700000000', nowMs), 1_700_000_000_000);
    assert.equal(parseUntil('2026-11-24T12:00:00Z', nowMs), nowMs);
    assert.throws(() => parseUntil('soon', nowMs), { status: 400 });
  });
});
