import assert from 'node:assert/strict';
import { findEnvironmentProblems, resolveEnvironment } from '../../controller/environment.ts';
import { referencesOf } from '../../controller/references.ts';
import type { Source, SourceLookup, Sources } from '../../controller/sources.ts';
import { parseSource } from '../../controller/sources.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import type { EnvVar } from '../../runtime/index.ts';
import { spec as baseSpec, object } from './fixtures.ts';

const source = (data: Record<string, string | Buffer>, binaryKeys: string[] = []): Source => ({
  type: undefined,
  data: new Map(Object.entries(data).map(([key, value]) => [key, Buffer.from(value)])),
  binaryKeys: new Set(binaryKeys),
});
const shelf: Record<string, SourceLookup> = {
  'Secret default/db': {
    kind: 'present',
    source: source({ user: 'admin', password: 's3cret', bytes: Buffer.from([0xff, 0xfe]), nul: 'a\0b' }),
  },
  'Secret default/clean': { kind: 'present', source: source({ user: 'admin', password: 's3cret' }) },
  'ConfigMap default/web': { kind: 'present', source: source({ PORT: '80', HOST: 'web', icon: 'x' }, ['icon']) },
  'Secret default/late': { kind: 'unknown' },
};
const sources: Sources = {
  get: (kind, namespace, name) => shelf[`${kind} ${namespace}/${name}`] ?? { kind: 'missing' },
};
const resolve = (spec: Partial<ContainerSpec>, given: readonly EnvVar[] = []) => {
  const base = object({ spec });
  return resolveEnvironment({
    object: { ...base, metadata: { ...base.metadata, labels: { 'app/kind': 'web' }, annotations: { a: 'b' } } },
    sources,
    given,
    nodeName: 'host-1',
    hostIP: '192.0.2.7',
    podIP: '<own>',
  });
};
const envOf = (spec: Partial<ContainerSpec>, given?: readonly EnvVar[]): Record<string, string> =>
  Object.fromEntries(resolve(spec, given).env.map(({ name, value }) => [name, value]));
const secretKey = (name: string, key: string, optional?: boolean) => ({
  secretKeyRef: { name, key, optional },
});

describe('resolveEnvironment', () => {
  const cases: { it: string; spec: Partial<ContainerSpec>; given?: EnvVar[]; want: Record<string, string> }[] = [
    {
      it: 'takes values as they are',
      spec: { env: [{ name: 'A', value: 'b c' }, { name: 'B' }] },
      want: { A: 'b c', B: '' },
    },
    {
      it: 'takes a key of a Secret and of a ConfigMap',
      spec: {
        env: [
          { name: 'P', valueFrom: secretKey('db', 'password') },
          { name: 'H', valueFrom: { configMapKeyRef: { name: 'web', key: 'HOST' } } },
        ],
      },
      want: { P: 's3cret', H: 'web' },
    },
    {
      it: 'takes a value that is empty beside valueFrom for none, as an API server may store it',
      spec: { env: [{ name: 'P', value: '', valueFrom: secretKey('db', 'password') }] },
      want: { P: 's3cret' },
    },
    {
      it: 'takes fields of the object',
      spec: {
        env: [
          'metadata.name',
          'metadata.namespace',
          'metadata.uid',
          "metadata.labels['app/kind']",
          "metadata.annotations['a']",
          "metadata.labels['none']",
          'spec.nodeName',
          'status.podIP',
          'status.hostIP',
        ].map((fieldPath, index) => ({ name: `F${index}`, valueFrom: { fieldRef: { fieldPath } } })),
      },
      want: {
        F0: 'web',
        F1: 'default',
        F2: 'uid-of-web',
        F3: 'web',
        F4: 'b',
        F5: '',
        F6: 'host-1',
        F7: '<own>',
        F8: '192.0.2.7',
      },
    },
    {
      it: 'takes all text keys of what envFrom names, with a prefix; later ones win, and env wins over all',
      spec: {
        envFrom: [
          { configMapRef: { name: 'web' } },
          { prefix: 'DB_', secretRef: { name: 'clean' } },
          { prefix: '', secretRef: { name: 'clean' } },
        ],
        env: [{ name: 'HOST', value: 'own' }],
      },
      want: { HOST: 'own', PORT: '80', DB_password: 's3cret', DB_user: 'admin', password: 's3cret', user: 'admin' },
    },
    {
      it: 'lets a value refer to what stands before it, to envFrom and to links, and not to what stands after it',
      spec: {
        envFrom: [{ configMapRef: { name: 'web' } }],
        env: [
          { name: 'URL', value: 'http://$(HOST):$(PORT)/$(LATER)' },
          { name: 'LATER', value: 'x' },
          { name: 'FULL', value: '$(URL)?$(DB_ADDR)' },
        ],
      },
      given: [{ name: 'DB_ADDR', value: '10.0.0.9' }],
      want: {
        DB_ADDR: '10.0.0.9',
        HOST: 'web',
        PORT: '80',
        URL: 'http://web:80/$(LATER)',
        LATER: 'x',
        FULL: 'http://web:80/$(LATER)?10.0.0.9',
      },
    },
    {
      it: 'leaves out what is optional and not there',
      spec: {
        envFrom: [{ secretRef: { name: 'nope', optional: true } }],
        env: [
          { name: 'A', valueFrom: secretKey('nope', 'x', true) },
          { name: 'B', valueFrom: secretKey('db', 'nope', true) },
          { name: 'C', valueFrom: { configMapKeyRef: { name: 'web', key: 'icon', optional: true } } },
        ],
      },
      want: {},
    },
  ];
  for (const c of cases)
    it(c.it, () => {
      assert.deepEqual(envOf(c.spec, c.given), c.want);
      assert.deepEqual(resolve(c.spec, c.given).missing, []);
    });

  const lacking: { it: string; spec: Partial<ContainerSpec>; want: RegExp }[] = [
    {
      it: 'a Secret that is not there',
      spec: { env: [{ name: 'A', valueFrom: secretKey('nope', 'x') }] },
      want: /^secret "nope" not found; create it in namespace "default", or set spec\.env\[0\]\.valueFrom\.secretKeyRef\.optional$/,
    },
    {
      it: 'a ConfigMap that is not there',
      spec: { envFrom: [{ configMapRef: { name: 'nope' } }] },
      want: /^configmap "nope" not found; .* spec\.envFrom\[0\]\.configMapRef\.optional$/,
    },
    {
      it: 'a key that is not there',
      spec: { env: [{ name: 'A', valueFrom: secretKey('db', 'nope') }] },
      want: /^couldn't find key nope in Secret default\/db; /,
    },
    {
      it: 'a key of a ConfigMap that holds bytes',
      spec: { env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'web', key: 'icon' } } }] },
      want: /^couldn't find key icon in ConfigMap default\/web; /,
    },
    {
      it: 'a value that is no UTF-8',
      spec: { env: [{ name: 'A', valueFrom: secretKey('db', 'bytes') }] },
      want: /^key bytes in Secret default\/db is no text/,
    },
    {
      it: 'a value with a NUL',
      spec: { env: [{ name: 'A', valueFrom: secretKey('db', 'nul') }] },
      want: /^key nul in Secret default\/db is no text/,
    },
  ];
  for (const c of lacking)
    it(`names ${c.it}`, () => {
      const { missing } = resolve(c.spec);
      assert.equal(missing.length, 1);
      assert.match(missing[0] ?? '', c.want);
    });

  it('names all that is missing, each once', () => {
    const { missing } = resolve({
      env: [
        { name: 'A', valueFrom: secretKey('nope', 'x') },
        { name: 'B', valueFrom: { configMapKeyRef: { name: 'no', key: 'x' } } },
      ],
      envFrom: [{ secretRef: { name: 'db' } }],
    });
    assert.equal(missing.length, 4);
  });
  it('tells what was not heard of yet apart from what is missing', () => {
    const { missing, unknown } = resolve({ env: [{ name: 'A', valueFrom: secretKey('late', 'x', true) }] });
    assert.deepEqual([missing, unknown], [[], ['secret "late"']]);
  });
  it('expands command and args with all variables, and takes empty ones for none', () => {
    const { command, args } = resolve(
      { command: ['run', '--at=$(A)', '$$(A)'], args: ['$(B)', '$(NOPE)'], env: [{ name: 'A', value: '1' }] },
      [{ name: 'B', value: '2' }],
    );
    assert.deepEqual(command, ['run', '--at=1', '$(A)']);
    assert.deepEqual(args, ['2', '$(NOPE)']);
    assert.deepEqual([resolve({ command: [], args: [] }).command, resolve({}).args], [undefined, undefined]);
  });
  it('knows which values are secret, also those that contain one', () => {
    const { secretNames, secrets } = resolve({
      envFrom: [{ prefix: 'X_', secretRef: { name: 'clean' } }],
      env: [
        { name: 'P', valueFrom: secretKey('db', 'password') },
        { name: 'URL', value: 'mysql://u:$(P)@db' },
        { name: 'DEEP', value: '<$(URL)>' },
        { name: 'OPEN', value: 'open' },
        { name: 'X_user', value: 'overridden' },
      ],
      args: ['--password=$(P)'],
    });
    assert.deepEqual([...secretNames].sort(), ['DEEP', 'P', 'URL', 'X_password']);
    assert.deepEqual([...secrets].sort(), [
      '--password=s3cret',
      '<mysql://u:s3cret@db>',
      'mysql://u:s3cret@db',
      's3cret',
    ]);
  });
});

describe('findEnvironmentProblems', () => {
  const cases: { it: string; spec: Partial<ContainerSpec>; want: RegExp | undefined }[] = [
    {
      it: 'accepts one source',
      spec: { env: [{ name: 'A', value: '', valueFrom: secretKey('a', 'b') }] },
      want: undefined,
    },
    {
      it: 'refuses a value beside a source',
      spec: { env: [{ name: 'A', value: 'x', valueFrom: secretKey('a', 'b') }] },
      want: /^spec\.env\[0\]: "A" has both value and valueFrom/,
    },
    {
      it: 'refuses no source',
      spec: { env: [{ name: 'A', valueFrom: {} }] },
      want: /^spec\.env\[0\]\.valueFrom: .* has 0 sources/,
    },
    {
      it: 'refuses two sources',
      spec: { env: [{ name: 'A', valueFrom: { ...secretKey('a', 'b'), fieldRef: { fieldPath: 'metadata.name' } } }] },
      want: /has 2 sources/,
    },
    {
      it: 'refuses envFrom without a source',
      spec: { envFrom: [{ prefix: 'A' }] },
      want: /^spec\.envFrom\[0\]: has 0 sources/,
    },
  ];
  for (const c of cases)
    it(c.it, () => {
      const [first, ...more] = findEnvironmentProblems(c.spec);
      assert.deepEqual(more, []);
      if (c.want === undefined) assert.equal(first, undefined);
      else assert.match(first ?? '', c.want);
    });
});

describe('referencesOf', () => {
  it('gives each Secret and ConfigMap once', () => {
    const refs = referencesOf({
      ...baseSpec,
      env: [
        { name: 'A', valueFrom: secretKey('s', 'a') },
        { name: 'B', valueFrom: secretKey('s', 'b') },
        { name: 'C', valueFrom: { configMapKeyRef: { name: 's', key: 'c' } } },
        { name: 'D', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      ],
      envFrom: [{ secretRef: { name: 't' } }, { configMapRef: { name: 's' } }],
    });
    assert.deepEqual(
      refs.map(({ kind, name }) => `${kind} ${name}`),
      ['Secret s', 'ConfigMap s', 'Secret t'],
    );
  });
});

describe('parseSource', () => {
  it('reads the base64 of a Secret', () => {
    const { type, data } = parseSource('Secret', { type: 'Opaque', data: { a: 'czNjcmV0' } });
    assert.deepEqual([type, data.get('a')?.toString()], ['Opaque', 's3cret']);
  });
  it('reads text and bytes of a ConfigMap', () => {
    const { data, binaryKeys } = parseSource('ConfigMap', { data: { a: 'czNj' }, binaryData: { b: '/wA=' } });
    assert.equal(data.get('a')?.toString(), 'czNj');
    assert.deepEqual(data.get('b'), Buffer.from([0xff, 0]));
    assert.deepEqual([...binaryKeys], ['b']);
  });
  it('takes whatever else for empty', () => {
    for (const raw of [undefined, null, 1, 'x', [], { data: null }, { data: { a: 1 } }, { data: [1] }])
      assert.equal(parseSource('Secret', raw).data.size, 0);
  });
});
