/** What docker's requests about images mean, and what is told of images, in tables. */
import assert from 'node:assert/strict';
import { DockerError } from '../../docker/docker-error.ts';
import { applyChanges } from '../../docker/image-changes.ts';
import { pullErrorOf, registryErrorOf } from '../../docker/image-errors.ts';
import { filterImages, filterPruned } from '../../docker/image-filters.ts';
import { findAmong } from '../../docker/image-find.ts';
import {
  chainIDs,
  formatFamiliar,
  joinImageName,
  matchesPath,
  namesOf,
  parseImageName,
} from '../../docker/image-reference.ts';
import { decideRemoval, deletedOf, type Removal, type RemovalInput } from '../../docker/image-removal.ts';
import { searchResults, searchUrl } from '../../docker/image-search.ts';
import { formatImageHistory, formatImageInspect, formatImageSummary, sumLayers } from '../../docker/image-view.ts';
import { formatBar, formatSize, pullMessages } from '../../docker/pull-messages.ts';
import { parseAuthConfig, parseRegistryAuth } from '../../docker/registry-auth.ts';
import { type ImageDescription, ImagePullError, type LayerProgress, RegistryError } from '../../runtime/index.ts';

const id = (digit: string): string => `sha256:${digit.repeat(64)}`;
const layer = (digit: string, sizeBytes: number) => ({ diffID: id(digit), sizeBytes });

function image(change: Partial<ImageDescription> = {}): ImageDescription {
  return {
    id: id('a'),
    names: ['docker.io/library/web:1'],
    sizeBytes: 30,
    config: { entrypoint: [], cmd: [], env: [], workingDir: '', user: '', exposedPorts: [], volumes: [] },
    configuration: {},
    platform: { os: 'linux', architecture: 'amd64', variant: '' },
    createdAtMs: 1_000_000,
    labels: {},
    layers: [layer('1', 10), layer('2', 20)],
    manifestDigests: [],
    ...change,
  };
}

const refusal = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof DockerError, String(error));
    return `${error.status} ${error.message}`;
  }
  return assert.fail('it was not refused');
};

describe('names of images', () => {
  for (const [canonical, shown] of [
    ['docker.io/library/nginx:1', 'nginx:1'],
    ['docker.io/team/nginx:1', 'team/nginx:1'],
    ['localhost:5000/library/nginx:1', 'localhost:5000/library/nginx:1'],
    ['docker.io/library/nginx@sha256:00', 'nginx@sha256:00'],
    ['docker.io/library/a/b:1', 'library/a/b:1'],
  ] as const)
    it(`shows ${canonical} as ${shown}`, () => assert.equal(formatFamiliar(canonical), shown));
  for (const [repo, tag, want] of [
    ['nginx', '', 'docker.io/library/nginx:latest'],
    ['nginx', '1', 'docker.io/library/nginx:1'],
    ['nginx:2', '1', 'docker.io/library/nginx:1'],
    ['localhost:5000/a', '1', 'localhost:5000/a:1'],
    ['nginx', id('0'), `docker.io/library/nginx@${id('0')}`],
    ['nginx:1', id('0'), `docker.io/library/nginx@${id('0')}`],
  ] as const)
    it(`joins "${repo}" and "${tag}"`, () => assert.equal(joinImageName(repo, tag).canonical, want));
  it('are refused as docker refuses them', () => {
    assert.equal(
      refusal(() => parseImageName('Web')),
      '400 invalid reference format: repository name must be lowercase',
    );
    for (const text of ['', ' ', '--x', 'a b', 'a:b:c', 'docker-archive:/x', 'docker://nginx', 'a'.repeat(5000)])
      assert.equal(
        refusal(() => parseImageName(text)),
        '400 invalid reference format',
        text.slice(0, 20),
      );
  });
  it('has the digests of an image in each of its repositories, and no archive among them', () => {
    const names = [
      'docker.io/library/a:1',
      'docker.io/library/a:2',
      'r.io/b:1',
      'docker-archive:/x.tar',
      'docker.io/library/c:1 (linux/arm64)',
    ];
    const { tags, digests } = namesOf({ names, manifestDigests: [id('0')] });
    assert.deepEqual(
      tags.map(({ canonical }) => canonical),
      ['docker.io/library/a:1', 'docker.io/library/a:2', 'r.io/b:1'],
    );
    assert.deepEqual(
      digests.map(({ canonical }) => canonical),
      [`docker.io/library/a@${id('0')}`, `r.io/b@${id('0')}`],
    );
  });
  it('are looked for before beginnings of ids, which must be of one image', () => {
    const all = [
      image({ id: id('a'), names: ['docker.io/library/bbb:latest'] }),
      image({ id: id('b'), names: [] }),
      image({ id: `sha256:${'a'.repeat(63)}b`, names: [] }),
    ];
    assert.equal(findAmong(all, 'bbb')?.info.id, id('a'));
    assert.equal(findAmong(all, 'bb')?.info.id, id('b'));
    assert.equal(findAmong(all, 'sha256:bbb')?.info.id, id('b'));
    assert.equal(findAmong(all, id('a'))?.name, undefined);
    assert.equal(findAmong(all, 'a'.repeat(63)), undefined, 'two begin so');
    assert.equal(findAmong(all, 'c'), undefined);
  });
});

describe('patterns of paths', () => {
  for (const [pattern, text, want] of [
    ['*', 'web', true],
    ['*', 'a/web', false],
    ['*/web', 'a/web', true],
    ['w?b', 'web', true],
    ['w?b', 'w/b', false],
    ['w[a-f]b', 'web', true],
    ['w[^a-f]b', 'web', false],
    ['web:*', 'web:1.2', true],
    ['we', 'web', false],
    ['w\\*b', 'w*b', true],
    ['w\\*b', 'wxb', false],
    ['[', '[', true],
    ['', '', true],
    [`${'*a'.repeat(30)}b`, 'a'.repeat(200), false],
  ] as const)
    it(`${want ? 'takes' : 'leaves'} "${text.slice(0, 20)}" by "${pattern.slice(0, 20)}"`, () =>
      assert.equal(matchesPath(pattern, text), want));
});

describe('decideRemoval', () => {
  const user = { id: 'c'.repeat(64), imageID: id('a'), isRunning: false };
  const digest = id('0');
  const web = 'docker.io/library/web:1';
  const given: RemovalInput = { image: image(), name: web, isForced: false, users: [] };
  const short = 'a'.repeat(12);
  const rows: { it: string; given: Partial<RemovalInput>; want: Removal }[] = [
    { it: 'removes an image with its last name', given: {}, want: { kind: 'remove', untagged: ['web:1'] } },
    {
      it: 'takes the digests in a repository along with its last tag',
      given: { image: image({ manifestDigests: [digest] }) },
      want: { kind: 'remove', untagged: ['web:1', `web@${digest}`] },
    },
    {
      it: 'only takes a name of several',
      given: { image: image({ names: [web, 'docker.io/library/web:2'], manifestDigests: [digest] }), users: [user] },
      want: { kind: 'untag', names: [web], untagged: ['web:1'] },
    },
    {
      it: 'takes a name with its digests while another repository has one',
      given: { image: image({ names: [web, 'r.io/b:1'], manifestDigests: [digest] }) },
      want: { kind: 'untag', names: [web], untagged: ['web:1', `web@${digest}`] },
    },
    {
      it: 'refuses the last name of an image in use',
      given: { users: [user] },
      want: {
        kind: 'conflict',
        message: `conflict: unable to remove repository reference "web:1" (must force) - container ${'c'.repeat(12)} is using its referenced image ${short}`,
      },
    },
    {
      it: 'only takes the last name by force',
      given: { users: [{ ...user, isRunning: true }], isForced: true },
      want: { kind: 'untag', names: [web], untagged: ['web:1'] },
    },
    {
      it: 'removes by id with the only name',
      given: { name: undefined },
      want: { kind: 'remove', untagged: ['web:1'] },
    },
    {
      it: 'removes by id what has no name',
      given: { name: undefined, image: image({ names: [] }) },
      want: { kind: 'remove', untagged: [] },
    },
    {
      it: 'refuses by id what has several names',
      given: { name: undefined, image: image({ names: [web, 'r.io/b:1'] }) },
      want: {
        kind: 'conflict',
        message: `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
      },
    },
    {
      it: 'removes by id with all names by force',
      given: { name: undefined, image: image({ names: [web, 'r.io/b:1'] }), isForced: true },
      want: { kind: 'remove', untagged: ['web:1', 'r.io/b:1'] },
    },
    {
      it: 'never removes by id what a running container has',
      given: { name: undefined, isForced: true, users: [user, { ...user, isRunning: true }] },
      want: {
        kind: 'conflict',
        message: `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container ${'c'.repeat(12)}`,
      },
    },
    {
      it: 'refuses by id what a stopped container has',
      given: { name: undefined, users: [user] },
      want: {
        kind: 'conflict',
        message: `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container ${'c'.repeat(12)}`,
      },
    },
    {
      it: 'leaves by force what a stopped container has, without names',
      given: { name: undefined, isForced: true, users: [user] },
      want: { kind: 'untag', names: [web], untagged: ['web:1'] },
    },
  ];
  for (const row of rows) it(row.it, () => assert.deepEqual(decideRemoval({ ...given, ...row.given }), row.want));

  it('tells of the layers that go, by their chains, the uppermost first', () => {
    const [lower, upper] = chainIDs(image().layers);
    assert.equal(lower, id('1'));
    const { deleted, freedBytes } = deletedOf(image(), [image({ layers: [layer('1', 10)] })]);
    assert.deepEqual([deleted, freedBytes], [[id('a'), upper], 20]);
    assert.deepEqual(
      deletedOf(image(), [image({ layers: [layer('2', 20)] })]).deleted,
      [id('a'), upper, lower],
      'on another it is another layer',
    );
  });
});

describe('filters of images', () => {
  const one = image({ id: id('1'), labels: { a: 'b' }, createdAtMs: 1_000 });
  const two = image({ id: id('2'), names: ['r.io/team/db:2'], createdAtMs: 2_000 });
  const three = image({ id: id('3'), names: [], createdAtMs: undefined });
  const images = [one, two, three];
  const filter = (filters: Record<string, string[]>, more: { beforeMs?: number; sinceMs?: number } = {}) =>
    filterImages({
      images,
      filters: new Map(Object.entries(filters)),
      beforeMs: undefined,
      sinceMs: undefined,
      nowMs: 10_000,
      ...more,
    })
      .map(({ image: { id: found } }) => found.slice(-1))
      .join('');
  const rows: [string, string, Parameters<typeof filter>[0], Parameters<typeof filter>[1]?][] = [
    ['lists the newest first', '213', {}],
    ['by label', '1', { label: ['a=b'] }],
    ['those without a name', '3', { dangling: ['true'] }],
    ['those with one', '21', { dangling: ['0'] }],
    ['by repository', '2', { reference: ['r.io/*/db'] }],
    ['by name and tag', '1', { reference: ['nothing', 'web:1'] }],
    ['before another', '13', {}, { beforeMs: 2_000 }],
    ['since another', '2', {}, { sinceMs: 1_000 }],
    ['by age', '13', { until: ['8s500ms'] }],
    ['by time', '13', { until: ['1970-01-01T00:00:02Z'] }],
  ];
  for (const [title, want, filters, more] of rows) it(title, () => assert.equal(filter(filters, more), want));
  it('refuse what is no value', () => {
    assert.match(
      refusal(() => filter({ dangling: ['maybe'] })),
      /^400 invalid filter 'dangling=\[maybe\]'/,
    );
    assert.match(
      refusal(() => filter({ until: ['soon'] })),
      /^400 failed to parse value as time or duration: "soon"/,
    );
    assert.match(
      refusal(() => filter({ until: ['1s', '2s'] })),
      /more than one until/,
    );
  });
  it('choose what a prune removes: never what is used or known by an archive', () => {
    const archive = image({ id: id('4'), names: ['docker-archive:/x'] });
    const prune = (filters: Record<string, string[]>) =>
      filterPruned([...images, archive], {
        filters: new Map(Object.entries(filters)),
        used: new Set([two.id]),
        nowMs: 10_000,
      })
        .map(({ id: found }) => found.slice(-1))
        .join('');
    assert.equal(prune({}), '3');
    assert.equal(prune({ dangling: ['false'] }), '134');
    assert.equal(prune({ dangling: ['false'], 'label!': ['a'] }), '34');
    assert.equal(prune({ dangling: ['false'], label: ['a=b'] }), '1');
  });
});

describe('changes of docker import', () => {
  for (const [change, want] of [
    ['CMD ["a","b"]', { Cmd: ['a', 'b'] }],
    ['CMD a b', { Cmd: ['/bin/sh', '-c', 'a b'] }],
    ['entrypoint [broken', { Entrypoint: ['/bin/sh', '-c', '[broken'] }],
    ['ENV A=1 B="two words" C=x\\ y', { Env: ['A=1', 'B=two words', 'C=x y'] }],
    ['ENV A a value', { Env: ['A=a value'] }],
    ['ENV A=1\nENV A=2', { Env: ['A=2'] }],
    ['EXPOSE 80 53/UDP', { ExposedPorts: { '80/tcp': {}, '53/udp': {} } }],
    ['LABEL a=b "c d"="e f"', { Labels: { a: 'b', 'c d': 'e f' } }],
    ['VOLUME ["/a", "/b"]', { Volumes: { '/a': {}, '/b': {} } }],
    ['VOLUME /a /b', { Volumes: { '/a': {}, '/b': {} } }],
    ['WORKDIR /a\nWORKDIR b', { WorkingDir: '/a/b' }],
    ['USER me', { User: 'me' }],
    ['STOPSIGNAL SIGQUIT', { StopSignal: 'SIGQUIT' }],
    ['HEALTHCHECK NONE', { Healthcheck: { Test: ['NONE'] } }],
    [
      'HEALTHCHECK --interval=5s --retries=2 CMD ls /x',
      { Healthcheck: { Test: ['CMD-SHELL', 'ls /x'], Interval: 5e9, Retries: 2 } },
    ],
    ['ONBUILD RUN x', { OnBuild: ['RUN x'] }],
  ] as const)
    it(`are read: ${change.replace('\n', '; ')}`, () => assert.deepEqual(applyChanges([change]), want));
  for (const [change, says] of [
    ['RUN x', /run is not a valid change command/],
    ['constructor x', /constructor is not a valid change command/],
    ['CMD', /CMD requires at least one argument/],
    ['EXPOSE http', /invalid containerPort: http/],
    ['ENV A=1 B', /can't find =/],
    ['LABEL a', /must have two arguments/],
    ['USER a b', /exactly one argument/],
    ['SHELL sh', /JSON form/],
    ['HEALTHCHECK ls', /write NONE or CMD/],
    ['HEALTHCHECK --retries=5s CMD ls', /has no such value/],
  ] as const)
    it(`are refused: ${change}`, () =>
      assert.match(
        refusal(() => applyChanges([change])),
        says,
      ));
});

describe('what is told of a pull', () => {
  const layers = (...all: [string, number, LayerProgress['state']][]): LayerProgress[] =>
    all.map(([digit, doneBytes, state]) => ({ digest: id(digit), sizeBytes: 2_000_000, doneBytes, state }));
  const say = (before: LayerProgress[], now: LayerProgress[]) =>
    pullMessages(before, now).map((message) =>
      Object.entries(message)
        .flatMap(([name, value]) => (name === 'status' || name === 'id' ? String(value).slice(0, 20) : []))
        .join(' '),
    );
  const a = 'a'.repeat(12);
  const rows: { it: string; before: LayerProgress[]; now: LayerProgress[]; want: string[] }[] = [
    {
      it: 'each layer at first',
      before: [],
      now: layers(['a', 0, 'waiting'], ['b', 9, 'present']),
      want: [`Pulling fs layer ${a}`, `Already exists ${'b'.repeat(12)}`],
    },
    {
      it: 'bytes that came',
      before: layers(['a', 0, 'waiting']),
      now: layers(['a', 5, 'downloading']),
      want: [`Downloading ${a}`],
    },
    { it: 'nothing twice', before: layers(['a', 5, 'downloading']), now: layers(['a', 5, 'downloading']), want: [] },
    {
      it: 'the end of a download, and of a layer',
      before: layers(['a', 5, 'downloading']),
      now: layers(['a', 9, 'stored']),
      want: [`Download complete ${a}`, `Pull complete ${a}`],
    },
    {
      it: 'the end of a layer that was there',
      before: layers(['a', 9, 'downloaded']),
      now: layers(['a', 9, 'stored']),
      want: [`Pull complete ${a}`],
    },
    {
      it: 'a layer that stands in it twice once',
      before: [],
      now: layers(['a', 0, 'waiting'], ['a', 0, 'waiting']),
      want: [`Pulling fs layer ${a}`],
    },
  ];
  for (const row of rows) it(row.it, () => assert.deepEqual(say(row.before, row.now), row.want));
  it('draws bars as docker does', () => {
    assert.equal(formatBar(1_000_000, 2_000_000), `[${'='.repeat(25)}>${' '.repeat(25)}]  1MB/2MB`);
    assert.equal(formatBar(5, 0), `[>${' '.repeat(50)}]  5B/0B`);
    assert.deepEqual([0, 999, 1_234, 12_345_678].map(formatSize), ['0B', '999B', '1.234kB', '12.35MB']);
  });
});

describe('errors of registries', () => {
  const reference = parseImageName('team/web:2');
  const rows: [string, ImagePullError['kind'], string, string][] = [
    [
      'a tag that is missing',
      'not-found',
      'reading manifest 2 in r/web: manifest unknown: manifest unknown',
      '404 manifest for team/web:2 not found: manifest unknown: manifest unknown',
    ],
    [
      'a repository that is missing',
      'not-found',
      'reading manifest 2 in r/web: name unknown: repository name not known to registry',
      '404 repository team/web not found: name unknown: repository name not known to registry',
    ],
    [
      'what Docker Hub says of both',
      'unauthorized',
      'reading manifest 2 in docker.io/team/web: requested access to the resource is denied',
      "404 pull access denied for team/web, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    ],
    [
      'a missing password',
      'unauthorized',
      'reading manifest 2 in r/web: unauthorized: authentication required',
      '500 unauthorized: authentication required',
    ],
    [
      'a wrong one',
      'unauthorized',
      'unable to retrieve auth token: invalid username/password: unauthorized: incorrect',
      '500 unauthorized: incorrect username or password',
    ],
    [
      'a dead registry',
      'unreachable',
      'pinging container registry 127.0.0.1:1: Get "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
      '500 Get "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    ],
  ];
  for (const [title, kind, what, want] of rows)
    it(`are told in docker's words: ${title}`, () => {
      const error = pullErrorOf(new ImagePullError('x', { kind, what, fix: 'y' }), { reference });
      assert.ok(error instanceof DockerError);
      assert.equal(`${error.status} ${error.message}`, want);
    });
  it('have a status of their own where it is no pull', () => {
    const statusOf = (kind: RegistryError['kind']) => {
      const error = registryErrorOf(new RegistryError('x', { kind, what: 'w', fix: 'f' }));
      return error instanceof DockerError ? error.status : undefined;
    };
    assert.deepEqual(
      (['invalid-name', 'not-found', 'unauthorized', 'unreachable', 'registry'] as const).map(statusOf),
      [400, 404, 401, 500, 500],
    );
    const other = new Error('other');
    assert.equal(registryErrorOf(other), other);
    assert.equal(pullErrorOf(other, { reference }), other);
  });
});

describe('credentials for registries', () => {
  const header = (document: unknown) => Buffer.from(JSON.stringify(document)).toString('base64url');
  it('go with the registry of the image', () => {
    const want = [{ registry: 'r.io', username: 'u', password: 'p:q' }];
    assert.deepEqual(
      parseRegistryAuth(header({ username: 'u', password: 'p:q', serveraddress: 'other' }), 'r.io'),
      want,
    );
    assert.deepEqual(parseRegistryAuth(header({ auth: Buffer.from('u:p:q').toString('base64') }), 'r.io'), want);
    for (const none of [undefined, '', header({}), header(null), header({ username: '' })])
      assert.deepEqual(parseRegistryAuth(none, 'r.io'), []);
  });
  it('are refused when they are none', () => {
    for (const text of ['!', 'bm8=', header([]), header('x'), header({ username: 1 }), header({ registrytoken: 'x' })])
      assert.match(
        refusal(() => parseRegistryAuth(text, 'r.io')),
        /^400 /,
      );
  });
  it('are for Docker Hub where no registry is named', () => {
    assert.equal(parseAuthConfig({ username: 'u', password: 'p' }).registry, 'https://index.docker.io/v1/');
  });
});

describe('docker search', () => {
  const request = (term: string, filters: Record<string, string[]> = {}, limit?: number) => ({
    term,
    limit,
    filters: new Map(Object.entries(filters)),
  });
  it('asks Docker Hub for a term, and for no other registry', () => {
    assert.equal(searchUrl(request('a b')).href, 'https://index.docker.io/v1/search?q=a+b&n=25');
    assert.equal(searchUrl(request('docker.io/team/x', {}, 3)).searchParams.get('q'), 'team/x');
    assert.match(
      refusal(() => searchUrl(request('quay.io/x'))),
      /^501 quay\.io cannot be searched/,
    );
    for (const limit of [0, 101, 1.5, Number.NaN])
      assert.match(
        refusal(() => searchUrl(request('x', {}, limit))),
        /^400 Limit/,
      );
  });
  it('takes what it is given, whatever it is', () => {
    for (const answer of [null, 5, {}, { results: 5 }]) assert.deepEqual(searchResults(answer, request('x')), []);
    assert.equal(searchResults({ results: [null, { star_count: 'x' }] }, request('x')).length, 2);
    assert.match(
      refusal(() => searchResults({}, request('x', { stars: ['many'] }))),
      /^400 Invalid filter 'stars=many'/,
    );
    assert.match(
      refusal(() => searchResults({}, request('x', { 'is-official': ['x'] }))),
      /^400 /,
    );
  });
});

describe('views of images', () => {
  const made = image({
    configuration: {
      created: '2020-01-02T03:04:05Z',
      author: 'me',
      config: {
        Cmd: ['x'],
        Labels: { a: 'b', c: 5 },
        ExposedPorts: { '80/tcp': {} },
        Env: 'none',
        Healthcheck: { Test: ['NONE'] },
      },
      history: [
        { created: '2020-01-02T03:04:05Z', created_by: 'one' },
        { created_by: 'two', empty_layer: true },
        { created_by: 'three', comment: 'last' },
      ],
    },
  });
  const member = (object: object, ...path: string[]): unknown =>
    path.reduce<unknown>(
      (value, name) => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined),
      object,
    );
  it('have one without a name in the words that the client knows', () => {
    const nameless = image({ names: [] });
    assert.deepEqual(member(formatImageSummary(nameless, { version: 41 }), 'RepoTags'), ['<none>:<none>']);
    assert.deepEqual(member(formatImageSummary(nameless, { version: 43 }), 'RepoTags'), []);
    assert.equal(member(formatImageSummary(made, { version: 41 }), 'VirtualSize'), 30);
    assert.equal(member(formatImageSummary(made, { version: 44 }), 'VirtualSize'), undefined);
  });
  it('show what an image says of itself, and nothing of another type', () => {
    const shown = formatImageInspect(made, { version: 41 });
    assert.deepEqual(member(shown, 'Config', 'Cmd'), ['x']);
    assert.deepEqual(member(shown, 'Config', 'Labels'), { a: 'b' });
    assert.equal(member(shown, 'Config', 'Env'), null);
    assert.deepEqual(member(shown, 'Config', 'Healthcheck'), { Test: ['NONE'] });
    assert.equal(member(shown, 'Author'), 'me');
    assert.equal(member(shown, 'Created'), '2020-01-02T03:04:05Z');
    assert.equal(member(shown, 'Comment'), 'last');
    assert.ok(formatImageInspect(image({ configuration: { config: [], history: 5, created: 7 } }), { version: 50 }));
  });
  it('give each step of its history the layer that it made', () => {
    const steps = formatImageHistory(made).map(
      (step) => `${member(step, 'Id') === made.id} ${member(step, 'CreatedBy')} ${member(step, 'Size')}`,
    );
    assert.deepEqual(steps, ['true three 20', 'false two 0', 'false one 10']);
    assert.deepEqual(
      formatImageHistory(image()).map((step) => member(step, 'Size')),
      [20, 10],
      'one that tells nothing',
    );
  });
  it('count a layer once, and as shared where another image stands on it', () => {
    const other = image({ id: id('b'), layers: [layer('1', 10), layer('3', 5)] });
    const { sharedBytes, totalBytes } = sumLayers([image(), other]);
    assert.deepEqual([sharedBytes.get(id('a')), sharedBytes.get(id('b')), totalBytes], [10, 10, 35]);
  });
});
