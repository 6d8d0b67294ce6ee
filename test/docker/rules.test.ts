import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Container, containerIDOf, formatRenamedFrom, renamedFromAnnotation } from '../../crds/index.ts';
import { chooseContainers, type ListContext } from '../../docker/container-list.ts';
import { formatStatus, stateOf } from '../../docker/container-state.ts';
import { parseUntil } from '../../docker/containers.ts';
import { createdAnnotation, dockerConfigOf, isKubernetesLabel } from '../../docker/docker-config.ts';
import { DockerError } from '../../docker/docker-error.ts';
import { escapeDollars, unescapeDollars } from '../../docker/dollars.ts';
import { eventsOf } from '../../docker/event-rules.ts';
import { matchesPattern, parseFilters } from '../../docker/filters.ts';
import { findContainer } from '../../docker/find.ts';
import { formatDuration } from '../../docker/human-time.ts';
import { formatCommand } from '../../docker/inspect.ts';
import { dockerNameOf, generateName, isDockerName, nameAnnotations, objectNameFor } from '../../docker/names.ts';
import { createMatcher, parseVersion, type Route } from '../../docker/route.ts';
import { formatSignal, parseSignal } from '../../docker/signals.ts';
import { judgeStart } from '../../docker/start-verdict.ts';
import { object } from '../controller/fixtures.ts';
import { takeSeed } from '../seed.ts';

const nowMs = Date.parse('2026-11-24T12:00:00Z');
const ago = (seconds: number): string => new Date(nowMs - seconds * 1000).toISOString();
type Status = NonNullable<Container['status']>;

function given(name: string, status: Partial<Status> = {}, metadata: Partial<Container['metadata']> = {}): Container {
  const base = object({ name });
  return {
    ...base,
    metadata: { ...base.metadata, uid: `uid-${name}`, creationTimestamp: ago(600), ...metadata },
    status: status as Status, // partial on purpose: a status is what was written so far
  };
}

describe('docker names', () => {
  const cases: { name: string; object: string | RegExp }[] = [
    { name: 'web', object: 'web' },
    { name: 'web-1', object: 'web-1' },
    { name: 'web_test', object: /^web-test-[0-9a-f]{8}$/ },
    { name: 'namespaceA', object: /^namespacea-[0-9a-f]{8}$/ },
    { name: 'a.b', object: /^a-b-[0-9a-f]{8}$/ },
    { name: `x${'y'.repeat(200)}`, object: /^xy{51}-[0-9a-f]{8}$/ },
  ];
  for (const { name, object: wanted } of cases)
    it(`stands for the object ${wanted} when it is ${name.slice(0, 20)}`, () => {
      assert.ok(isDockerName(name));
      assert.match(objectNameFor(name), typeof wanted === 'string' ? new RegExp(`^${wanted}$`) : wanted);
      const annotations = nameAnnotations(name);
      const shown = dockerNameOf(
        { metadata: { ...object().metadata, name: objectNameFor(name), annotations } },
        'default',
      );
      assert.equal(shown, name);
    });
  it('gives each docker name an object of its own that Kubernetes takes', () => {
    const names = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,80}$/);
    fc.assert(
      fc.property(names, names, (a, b) => {
        assert.match(objectNameFor(a), /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
        assert.equal(objectNameFor(a) === objectNameFor(b), a === b);
      }),
      { seed: takeSeed(20_261_128) },
    );
  });
  it('believes no annotation that its object does not stand for', () => {
    const annotations = { 'holdfast.dev/docker-name': 'other' };
    assert.equal(dockerNameOf({ metadata: { ...object().metadata, name: 'web', annotations } }, 'default'), 'web');
  });
  it('names objects of other namespaces as others find them', () => {
    const metadata = { ...object().metadata, name: 'web', namespace: 'shop' };
    assert.equal(dockerNameOf({ metadata }, 'default'), 'web.shop');
  });
  it('generates an adjective and a surname, with digits when such a name is taken', () => {
    assert.match(
      generateName(() => 0.5, 0),
      /^[a-z]+_[a-z]+$/,
    );
    assert.match(
      generateName(() => 0.5, 2),
      /^[a-z]+_[a-z]+\d+$/,
    );
    assert.ok(isDockerName(generateName(() => 0.999_999, 0)));
    assert.ok(isDockerName(generateName(() => 0, 0)));
  });
});

describe('findContainer', () => {
  const [web, db] = [given('web'), given('db')];
  const all = [web, db];
  const id = containerIDOf(web);
  const find = (reference: string): string => findContainer(all, reference, 'default').metadata.name;
  it('takes a full id, a name, a name with its slash, and the beginning of an id', () => {
    for (const reference of [id, 'web', '/web', id.slice(0, 12), id.slice(0, 5)])
      assert.equal(find(reference), 'web', reference);
  });
  it('says so when there is none', () => {
    assert.throws(() => find('nope'), { status: 404, message: 'No such container: nope' });
  });
  it('refuses a beginning that several ids have', () => {
    const many = Array.from({ length: 40 }, (_, index) => given(`c${index}`));
    const first = containerIDOf(many[0] ?? web).slice(0, 1);
    assert.throws(() => findContainer(many, first, 'default'), {
      status: 400,
      message: `Multiple IDs found with provided prefix: ${first}`,
    });
  });
  it('finds the object that has the container while another takes it over', () => {
    const heir = given('web2', {}, { annotations: { [renamedFromAnnotation]: formatRenamedFrom(web) } });
    const before = { ...web, status: { ...web.status, containerID: id } as Status }; // partial on purpose
    assert.equal(findContainer([heir, before], id, 'default').metadata.name, 'web');
    assert.equal(findContainer([heir], id, 'default').metadata.name, 'web2');
  });
});

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

describe('routes', () => {
  const handle = async (): Promise<void> => {};
  const routes: Route[] = [
    { method: 'GET', path: '/images/json', handle },
    { method: 'GET', path: '/images/{name...}/json', handle },
    { method: 'DELETE', path: '/images/{name...}', handle },
    { method: 'GET', path: '/containers/{id}/json', handle },
  ];
  const match = createMatcher(routes);
  it('matches names with slashes where they may have some', () => {
    assert.deepEqual(match('GET', '/images/a/b%3A1/json'), {
      kind: 'found',
      route: routes[1],
      params: { name: 'a/b:1' },
    });
    assert.deepEqual(match('GET', '/images/json'), { kind: 'found', route: routes[0], params: {} });
    assert.equal(match('GET', '/containers/a/b/json').kind, 'none');
  });
  it('tells another method from another path, and takes no broken escapes', () => {
    assert.equal(match('PUT', '/images/json').kind, 'other-method');
    assert.equal(match('GET', '/containers/%ff%/json').kind, 'none');
    assert.equal(match('GET', '/containers/a%00b/json').kind, 'none');
  });
  const versions: [string, number | 'refused'][] = [
    ['/v1.41/_ping', 41],
    ['/_ping', 50],
    ['/v1.24/_ping', 24],
    ['/v1.12/_ping', 'refused'],
    ['/v1.51/_ping', 'refused'],
  ];
  for (const [path, wanted] of versions)
    it(`reads the version of ${path}`, () => {
      const version = parseVersion(path);
      assert.equal(version.kind === 'known' ? version.minor : 'refused', wanted);
    });
});

describe('texts of docker in specs', () => {
  it('come back as they were, whatever dollars they have', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('$', '(', ')', 'A', ' ') }),
        (text) => unescapeDollars(escapeDollars(text)) === text,
      ),
      { seed: takeSeed(20_261_128) },
    );
    assert.equal(escapeDollars('$(HOME) $$'), '$$(HOME) $$$$');
  });
  it('know which labels Kubernetes takes', () => {
    const rows: [string, string, boolean][] = [
      ['com.docker.compose.project', 'shop', true],
      ['a/b', '', true],
      ['com.docker.compose.project.working_dir', '/srv/shop', false],
      ['', 'x', false],
      ['a b', 'x', false],
      ['x', 'y'.repeat(64), false],
      ['A/b', 'x', false],
    ];
    for (const [key, value, wanted] of rows) assert.equal(isKubernetesLabel(key, value), wanted, `${key}=${value}`);
  });
  it('read nothing from an annotation that somebody spoilt', () => {
    for (const text of ['{', '[]', 'null', '{"Config":3,"Labels":{"a":1}}']) {
      const config = dockerConfigOf(given('web', {}, { annotations: { 'holdfast.dev/docker-config': text } }));
      assert.deepEqual(config, { Config: {}, HostConfig: {}, NetworkingConfig: {}, Labels: {} });
    }
  });
});

describe('judgeStart', () => {
  const former = given('web', {
    state: 'Exited',
    lastTermination: { exitCode: 1, finishedAt: ago(60), reason: 'Error' },
    observedGeneration: 1,
  });
  const verdictOn = (status: Partial<Status>): ReturnType<typeof judgeStart> =>
    judgeStart(former, given('web', { observedGeneration: 2, ...status }), 2);
  const last = { exitCode: 127, finishedAt: ago(0), reason: 'StartError', message: 'no such program' };
  it('waits for a status that knows of the wish', () => {
    assert.equal(judgeStart(former, given('web', { state: 'Running', observedGeneration: 1 }), 2), undefined);
    assert.equal(verdictOn({ state: 'Created', reason: 'ContainerCreating' }), undefined);
    assert.equal(verdictOn({ state: 'Exited', lastTermination: former.status?.lastTermination }), undefined);
  });
  it('sees that it runs, that it has run already, and that it is gone already', () => {
    assert.deepEqual(verdictOn({ state: 'Running' }), { kind: 'started' });
    assert.deepEqual(
      verdictOn({ state: 'Exited', lastTermination: { exitCode: 0, finishedAt: ago(0), reason: 'Completed' } }),
      { kind: 'started' },
    );
    const once = { ...former, spec: { ...former.spec, ttlSecondsAfterFinished: 0 } };
    assert.deepEqual(judgeStart(once, undefined, 2), { kind: 'started' });
  });
  it('tells of one that somebody removed, or stopped, before it had started', () => {
    const id = containerIDOf(former);
    assert.deepEqual(judgeStart(former, undefined, 2), {
      kind: 'failed',
      status: 404,
      message: `No such container: ${id}`,
    });
    const stopped = given('web', { observedGeneration: 3, state: 'Created' }, { generation: 3 });
    const halted = { ...stopped, spec: { ...stopped.spec, desiredState: 'Stopped' as const } };
    assert.deepEqual(judgeStart(former, halted, 2), {
      kind: 'failed',
      status: 409,
      message: `container ${id} was stopped before it had started`,
    });
  });
  it('tells of a program that is missing in the words by which docker knows it', () => {
    const verdict = verdictOn({ state: 'Exited', lastTermination: last });
    assert.equal(verdict?.kind, 'failed');
    assert.match(
      verdict?.kind === 'failed' ? verdict.message : '',
      /no such program.*executable file not found in \$PATH: unknown$/,
    );
  });
  it('tells of what stands in the way', () => {
    assert.deepEqual(verdictOn({ state: 'Created', reason: 'HostPortConflict', message: 'port 80 is taken' }), {
      kind: 'failed',
      status: 500,
      message: 'port 80 is taken',
    });
  });
});

describe('eventsOf', () => {
  const actions = (
    before: Container | undefined,
    after: Container | undefined,
    others: readonly Container[] = [],
  ): string[] => eventsOf({ before, after }, { namespace: 'default', others, nowMs }).map(({ Action }) => Action);
  const web = given('web');
  const running = given('web', { state: 'Running', startedAt: ago(9) });
  const ended = given('web', {
    state: 'Exited',
    startedAt: ago(9),
    lastTermination: { exitCode: 0, startedAt: ago(9), finishedAt: ago(1), reason: 'Completed' },
  });
  const stopped: Container = { ...ended, spec: { ...ended.spec, desiredState: 'Stopped' } };
  const heir = given('web2', {}, { annotations: { [renamedFromAnnotation]: formatRenamedFrom(web) } });
  const rows: [string, string[], string[]][] = [
    ['create', actions(undefined, web), ['create']],
    ['start', actions(web, running), ['start']],
    ['an end', actions(running, ended), ['die']],
    ['a stop', actions(running, stopped), ['die', 'stop']],
    ['a run that was over before anybody looked', actions(web, ended), ['start', 'die']],
    [
      'a run that was over, and of which only the end is told',
      actions(
        web,
        given('web', {
          state: 'Exited',
          lastTermination: { exitCode: 0, startedAt: ago(9), finishedAt: ago(1), reason: 'Completed' },
        }),
      ),
      ['start', 'die'],
    ],
    [
      'a run of which first the beginning is told and then the end, and never that it goes on',
      [
        ...actions(web, given('web', { state: 'Created', startedAt: ago(9) })),
        ...actions(given('web', { state: 'Created', startedAt: ago(9) }), ended),
      ],
      ['start', 'die'],
    ],
    ['a removal', actions(ended, undefined), ['destroy']],
    [
      'a rename, of which the former object is no removal',
      [...actions(undefined, heir), ...actions(web, undefined, [heir])],
      ['rename'],
    ],
    [
      'pause and unpause',
      [
        ...actions(running, given('web', { state: 'Paused', startedAt: ago(9) })),
        ...actions(given('web', { state: 'Paused', startedAt: ago(9) }), running),
      ],
      ['pause', 'unpause'],
    ],
    ['nothing that matters', actions(running, running), []],
  ];
  for (const [title, got, wanted] of rows) it(`tells of ${title}`, () => assert.deepEqual(got, wanted));
  it('tells of an end for want of memory and of its exit code', () => {
    const killed = given('web', {
      state: 'Restarting',
      startedAt: ago(9),
      lastTermination: { exitCode: 137, startedAt: ago(9), finishedAt: ago(1), reason: 'OOMKilled' },
    });
    const events = eventsOf({ before: running, after: killed }, { namespace: 'default', others: [], nowMs });
    assert.deepEqual(
      events.map(({ Action }) => Action),
      ['oom', 'die'],
    );
    assert.equal(events[1]?.Actor.Attributes.exitCode, '137');
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

describe('signals', () => {
  const names: readonly (readonly [string, string])[] = [
    ['TERM', 'SIGTERM'],
    ['sigusr1', 'SIGUSR1'],
    ['9', 'SIGKILL'],
    ['RTMIN', 'SIGRTMIN'],
    ['SIGRTMIN+3', 'SIGRTMIN+3'],
    ['37', 'SIGRTMIN+3'],
    ['RTMAX', 'SIGRTMIN+30'],
  ];
  for (const [text, name] of names)
    it(`knows ${name} by ${text}`, () => assert.equal(formatSignal(parseSignal(text)), name));
  it('refuses what is none', () => {
    for (const text of [
      '',
      '0',
      '65',
      '-1',
      'NOPE',
      'RTMIN+31',
      'RTMAX+1',
      'RTMIN-1',
      'constructor',
      '__proto__',
      '1e1',
    ])
      assert.throws(() => parseSignal(text), { status: 400, message: `Invalid signal: ${text}` });
  });
});

describe('formatCommand', () => {
  it('puts arguments with spaces into quotes, as docker ps does', () => {
    assert.equal(formatCommand(['sh', '-c', 'sleep 1', 'x']), "sh -c 'sleep 1' x");
    assert.equal(formatCommand([]), '');
  });
});
