/** Everything that is parsed from a request: bodies, selectors, paths, Accept headers, continue tokens, ages. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { negotiateAnswer, negotiateDiscovery } from '../../store/accept.ts';
import { formatContinueToken, parseContinueToken } from '../../store/continue-token.ts';
import { coreKinds } from '../../store/core-kinds.ts';
import type { JsonObject } from '../../store/json.ts';
import { parseObjectBody } from '../../store/request-body.ts';
import { parseGet, parseResourcePath } from '../../store/request-path.ts';
import type { KubeObject } from '../../store/resources.ts';
import { parseSelector } from '../../store/selectors.ts';
import { StatusError } from '../../store/status-error.ts';
import { formatAge } from '../../store/tables.ts';
import { decideVerb } from '../../store/verbs.ts';

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'no error';
}

describe('decideVerb', () => {
  const rows: { method: string; query: string; want: string }[] = [
    { method: 'GET', query: 'watch=1', want: 'WATCH' },
    { method: 'GET', query: 'watch=false', want: 'LIST' },
    { method: 'HEAD', query: 'watch=1', want: 'LIST' },
  ];
  for (const { method, query, want } of rows) {
    it(`takes ${method} ?${query} for ${want}`, () => {
      const path = parseResourcePath('/api/v1/configmaps');
      assert.ok(path !== undefined);
      assert.equal(decideVerb(method, path, new URLSearchParams(query)), want);
    });
  }
});

describe('parseObjectBody', () => {
  const parse = (text: string | Buffer, type = 'application/json') => parseObjectBody(Buffer.from(text), type);

  const good: { it: string; text: string; type?: string; want: JsonObject; duplicates?: string[] }[] = [
    { it: 'reads JSON', text: '{"a":{"b":[1,null]}}', want: { a: { b: [1, null] } } },
    { it: 'reads YAML', text: 'a:\n  b: [1, null]\n', type: 'application/yaml', want: { a: { b: [1, null] } } },
    { it: 'reads JSON sent as YAML', text: ' {"a": 1}', type: 'text/yaml; charset=utf-8', want: { a: 1 } },
    { it: 'reads YAML in flow style', text: '{a: 1}', type: 'application/yaml', want: { a: 1 } },
    { it: 'skips empty YAML documents', text: '---\n---\na: 1\n---\n', type: 'application/yaml', want: { a: 1 } },
    {
      it: 'takes no word for a truth value but true and false',
      text: 'a: yes',
      type: 'application/yaml',
      want: { a: 'yes' },
    },
    {
      it: 'finds keys that stand twice, escaped or not',
      text: '{"a":[{"b":1,"\\u0062":2}],"c":{"d":"{\\"d\\":1"},"c":1}',
      want: { a: [{ b: 2 }], c: 1 },
      duplicates: ['a[0].b', 'c'],
    },
    { it: 'is not misled by brackets in strings', text: '{"a":"]}[{\\\\","b":"\\""}', want: { a: ']}[{\\', b: '"' } },
  ];
  for (const { it: title, text, type, want, duplicates = [] } of good) {
    it(title, () => {
      const parsed = parse(text, type);
      assert.deepEqual(parsed.value, want);
      assert.deepEqual(parsed.duplicateFields, duplicates);
    });
  }

  for (const text of ['a: 1\nb: {}\na: 2', 'a: 1\n"a": 3\nb: {}\na: 2']) {
    it(`tells of a key that stands twice in YAML, and takes the last: ${JSON.stringify(text)}`, () => {
      const parsed = parseObjectBody(Buffer.from(text), 'application/yaml');
      assert.deepEqual(parsed.value, { a: 2, b: {} });
      assert.match(String(parsed.duplicateKeys), /^line [23]: key "a" already set in map$/);
    });
  }

  const laughs = [
    'a: &a [x,x,x,x,x,x,x,x,x,x]',
    ...'bcdefgh'.split('').map((key, index) => {
      const before = 'abcdefgh'[index];
      return `${key}: &${key} [${new Array(10).fill(`*${before}`).join(',')}]`;
    }),
  ].join('\n');
  const bad: { it: string; text: string | Buffer; type?: string; want: RegExp }[] = [
    { it: 'an empty body', text: '', want: /^400 the request has no body/ },
    { it: 'broken JSON', text: '{"a":', want: /^400 the body is not valid JSON: / },
    {
      it: 'broken YAML, with its place',
      text: 'a: [1',
      type: 'application/yaml',
      want: /^400 the body is not valid YAML: .*line /,
    },
    {
      it: 'several YAML documents',
      text: 'a: 1\n---\nb: 2',
      type: 'application/yaml',
      want: /^400 the body holds 2 YAML documents/,
    },
    {
      it: 'no YAML document',
      text: '# nothing',
      type: 'application/yaml',
      want: /^400 the body holds 0 YAML documents/,
    },
    { it: 'a million laughs', text: laughs, type: 'application/yaml', want: /^413 .*expands to more than/ },
    {
      it: 'a YAML value that JSON has not',
      text: 'a: .nan',
      type: 'application/yaml',
      want: /^400 .*NaN has no equivalent/,
    },
    {
      it: 'code in YAML tags',
      text: 'a: !!js/function "x"',
      type: 'application/yaml',
      want: /^400 the body is not valid YAML/,
    },
    { it: 'a prototype in JSON', text: '{"a":{"__proto__":{"b":1}}}', want: /^400 the key "__proto__"/ },
    { it: 'a prototype behind an escape', text: '{"\\u005f_proto__":{}}', want: /^400 the key "__proto__"/ },
    {
      it: 'a prototype in YAML',
      text: 'a: {__proto__: {b: 1}}',
      type: 'application/yaml',
      want: /^400 the key "__proto__"/,
    },
    {
      it: 'deep JSON',
      text: `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
      want: /^400 the body is nested more than 100/,
    },
    {
      it: 'deep YAML',
      text: `a: ${'['.repeat(1000)}${']'.repeat(1000)}`,
      type: 'application/yaml',
      want: /^400 the body is not valid YAML: .*/,
    },
    { it: 'bytes that are no UTF-8', text: Buffer.from([0x22, 0xff, 0x22]), want: /^400 the body is not valid UTF-8/ },
    { it: 'a type that is not served', text: 'x', type: 'image/png', want: /^415 Content-Type "image\/png"/ },
    {
      it: 'protobuf that ends early',
      text: Buffer.from([0x6b, 0x38, 0x73, 0, 0x0a, 0xff, 0x01]),
      type: 'application/vnd.kubernetes.protobuf',
      want: /^400 the protobuf body ends/,
    },
    {
      it: 'what is no protobuf',
      text: 'hello',
      type: 'application/vnd.kubernetes.protobuf',
      want: /^400 the body is not Kubernetes protobuf/,
    },
  ];
  for (const { it: title, text, type, want } of bad) {
    it(`refuses ${title}`, () =>
      assert.match(
        messageOf(() => parse(text, type)),
        want,
      ));
  }

  it('reads any JSON as JSON.parse does, and finds no duplicates in what JSON.stringify wrote', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value);
        fc.pre(!text.includes('__proto__'));
        const parsed = parse(text);
        assert.deepEqual(parsed, { value: JSON.parse(text), duplicateFields: [] });
      }),
    );
  });

  it('reads as many entries of protobuf as fit into a body', () => {
    const field = (number: number, content: Buffer): Buffer => {
      const { length } = content;
      const size = [(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
      return Buffer.concat([Buffer.from([number * 8 + 2, ...size]), content]);
    };
    const count = 50_000;
    const entries = Array.from({ length: count }, (_, index) => field(2, field(1, Buffer.from(`k${index}`))));
    const finalizers = Array.from({ length: count }, (_, index) => field(14, Buffer.from(`f${index}`)));
    const typeMeta = Buffer.concat([field(1, Buffer.from('v1')), field(2, Buffer.from('ConfigMap'))]);
    const object = Buffer.concat([field(1, Buffer.concat(finalizers)), ...entries]);
    const body = Buffer.concat([Buffer.from('k8s\0'), field(1, typeMeta), field(2, object)]);
    const value = parseObjectBody(body, 'application/vnd.kubernetes.protobuf').value as JsonObject; // a ConfigMap
    assert.equal(Object.keys(value.data as JsonObject).length, count);
    assert.deepEqual((value.metadata as { finalizers: string[] }).finalizers.at(-1), `f${count - 1}`);
  });

  it('answers any bytes with an object or a Status', () => {
    const types = fc.constantFrom('application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), types, fc.boolean(), (bytes, type, withMagic) => {
        const head = withMagic ? [0x6b, 0x38, 0x73, 0] : [];
        messageOf(() => parseObjectBody(Buffer.from([...head, ...bytes]), type));
      }),
    );
  });
});

describe('parseSelector', () => {
  const kind = coreKinds.find((candidate) => candidate.kind === 'Event');
  assert.ok(kind !== undefined);
  const subject = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      name: 'e1',
      namespace: 'default',
      uid: 'u',
      creationTimestamp: 't',
      labels: { app: 'web', 'holdfast.dev/tier': 'front', n: '5', empty: '' },
    },
    involvedObject: { name: 'web', kind: 'Container' },
    type: 'Warning',
    source: { component: 'holdfast' },
  } satisfies KubeObject;
  const entryOf = (object: KubeObject) => ({ key: 'default/e1', revision: 1, object, json: JSON.stringify(object) });

  const cases: { labels?: string; fields?: string; want: boolean }[] = [
    { labels: '', want: true },
    { labels: 'app=web', want: true },
    { labels: 'app==web', want: true },
    { labels: ' app = web , n = 5 ', want: true },
    { labels: 'app=db', want: false },
    { labels: 'app!=db', want: true },
    { labels: 'missing!=db', want: true },
    { labels: 'app in (db, web)', want: true },
    { labels: 'app in (db)', want: false },
    { labels: 'app notin (db)', want: true },
    { labels: 'missing notin (db)', want: true },
    { labels: 'missing in (db)', want: false },
    { labels: 'app', want: true },
    { labels: '!app', want: false },
    { labels: '!missing', want: true },
    { labels: 'constructor', want: false },
    { labels: 'empty=', want: true },
    { labels: 'empty,app=web', want: true },
    { labels: 'holdfast.dev/tier=front', want: true },
    { labels: 'n>4,n<6', want: true },
    { labels: 'n>5', want: false },
    { labels: 'app>1', want: false },
    { fields: 'metadata.name=e1', want: true },
    { fields: 'metadata.name!=e1', want: false },
    { fields: 'metadata.namespace=default,type=Warning', want: true },
    { fields: 'involvedObject.name=web,involvedObject.kind=Container', want: true },
    { fields: 'involvedObject.uid=', want: true },
    { fields: 'source=holdfast', want: true },
    { labels: 'app=web', fields: 'type=Normal', want: false },
  ];
  for (const { labels, fields, want } of cases) {
    it(`${want ? 'matches' : 'does not match'} ${labels ?? ''} ${fields ?? ''}`, () => {
      const { matches, matchesEntry } = parseSelector(labels, fields, kind);
      assert.equal(matches(subject), want);
      assert.equal(matchesEntry(entryOf(subject)), want);
    });
  }

  it('reads no object that has not even the words', () => {
    const entry = {
      ...entryOf({ ...subject, metadata: { ...subject.metadata, labels: {} } }),
      get object(): KubeObject {
        throw new Error('it need not be read');
      },
    };
    for (const [labels, fields] of [
      ['app=nowhere', undefined],
      ['elsewhere', undefined],
      ['app in (nowhere)', undefined],
      [undefined, 'involvedObject.name=nowhere'],
    ])
      assert.equal(parseSelector(labels, fields, kind).matchesEntry(entry), false);
  });

  const bad: { labels?: string; fields?: string; want: RegExp }[] = [
    { labels: 'app in web', want: /expected: '\('/ },
    { labels: 'app in (a', want: /expected: ','/ },
    { labels: 'a=b,', want: /after ','/ },
    { labels: ',', want: /expected: a key/ },
    { labels: 'a b', want: /expected: in, notin/ },
    { labels: '-a=b', want: /name part must/ },
    { labels: 'a=b c', want: /expected: ','/ },
    { labels: 'a=-b', want: /a valid label must/ },
    { labels: 'a>b', want: /must be an integer/ },
    { fields: 'spec.image=x', want: /field label not supported: spec\.image; events offer metadata\.name/ },
    { fields: 'metadata.name', want: /invalid selector/ },
  ];
  for (const { labels, fields, want } of bad) {
    it(`refuses ${labels ?? fields}`, () => {
      const message = messageOf(() => parseSelector(labels, fields, kind));
      assert.match(message, /^400 /);
      assert.match(message, want);
    });
  }

  it('matches every object by its own labels', () => {
    const word = fc
      .stringMatching(/^[a-z]([-a-z0-9]{0,10}[a-z0-9])?$/)
      .filter((key) => key !== 'in' && key !== 'notin');
    fc.assert(
      fc.property(fc.dictionary(word, word, { minKeys: 1 }), (labels) => {
        const object = { ...subject, metadata: { ...subject.metadata, labels } };
        const terms = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
        const { matches, matchesEntry } = parseSelector(terms.join(','), undefined, kind);
        const other = { ...object, metadata: subject.metadata };
        assert.deepEqual([matches(object), matchesEntry(entryOf(object))], [true, true]);
        assert.deepEqual([matches(other), matchesEntry(entryOf(other))], [false, false]);
      }),
    );
  });

  it('answers any text with a selector or a Status', () => {
    fc.assert(fc.property(fc.string(), (text) => void messageOf(() => parseSelector(text, text, kind))));
  });
});

describe('parseResourcePath', () => {
  const at = (group: string, plural: string, namespace?: string, name?: string, subresource?: string) => ({
    group,
    version: 'v1',
    plural,
    namespace,
    name,
    subresource,
  });
  const cases: { path: string; want: unknown }[] = [
    { path: '/api/v1/namespaces', want: at('', 'namespaces') },
    { path: '/api/v1/namespaces/a', want: at('', 'namespaces', undefined, 'a') },
    { path: '/api/v1/namespaces/a/status', want: at('', 'namespaces', undefined, 'a', 'status') },
    { path: '/api/v1/namespaces/a/secrets', want: at('', 'secrets', 'a') },
    { path: '/api/v1/namespaces/a/secrets/b', want: at('', 'secrets', 'a', 'b') },
    { path: '/api/v1/secrets/', want: at('', 'secrets') },
    { path: '/apis/holdfast.dev/v1/containers', want: at('holdfast.dev', 'containers') },
    {
      path: '/apis/holdfast.dev/v1/namespaces/a/containers/b/log',
      want: at('holdfast.dev', 'containers', 'a', 'b', 'log'),
    },
    { path: '/api/v1/namespaces/a/secrets/b%2Fc', want: at('', 'secrets', 'a', 'b/c') },
    { path: '/apis/holdfast.dev/v1/namespaces/a/containers/b/log/x', want: undefined },
    { path: '/api/v1//secrets', want: undefined },
    { path: '/apis/holdfast.dev', want: undefined },
    { path: '/x/v1/secrets', want: undefined },
  ];
  for (const { path, want } of cases) it(`reads ${path}`, () => assert.deepEqual(parseResourcePath(path), want));

  const watches: { path: string; query?: string; want: unknown; watch: string }[] = [
    { path: '/api/v1/configmaps', want: at('', 'configmaps'), watch: '' },
    { path: '/api/v1/watch/configmaps', want: at('', 'configmaps'), watch: 'watch=true' },
    { path: '/api/v1/watch/namespaces/a/configmaps', want: at('', 'configmaps', 'a'), watch: 'watch=true' },
    {
      path: '/api/v1/watch/namespaces/a/configmaps/b',
      query: 'fieldSelector=metadata.namespace%3Da&watch=false',
      want: at('', 'configmaps', 'a'),
      watch: 'fieldSelector=metadata.namespace%3Da%2Cmetadata.name%3Db&watch=true',
    },
    {
      path: '/api/v1/watch/namespaces/a',
      want: at('', 'namespaces'),
      watch: 'watch=true&fieldSelector=metadata.name%3Da',
    },
    {
      path: '/apis/holdfast.dev/v1/watch/containers',
      want: at('holdfast.dev', 'containers'),
      watch: 'watch=true',
    },
    { path: '/api/v1/watch/namespaces/a/configmaps/b/status', want: undefined, watch: '' },
    { path: '/api/v1/watch', want: at('', 'watch'), watch: '' },
  ];
  for (const { path, query = '', want, watch } of watches) {
    it(`reads GET ${path}${query === '' ? '' : `?${query}`}`, () => {
      const found = parseGet(path, new URLSearchParams(query));
      assert.deepEqual([found.path, String(found.query)], [want, watch]);
    });
  }
  it('refuses a bad percent-encoding', () => {
    assert.match(
      messageOf(() => parseResourcePath('/api/v1/namespaces/%zz')),
      /^400 /,
    );
  });
});

describe('content negotiation', () => {
  const table = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  const cases: { accept: string | undefined; want: string }[] = [
    { accept: undefined, want: 'json object' },
    { accept: '*/*', want: 'json object' },
    { accept: 'application/yaml', want: 'yaml object' },
    { accept: 'application/vnd.kubernetes.protobuf,application/json', want: 'json object' },
    { accept: `${table},application/json`, want: 'json table' },
    { accept: 'application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json', want: 'json table v1beta1' },
    { accept: 'application/json;as=Table;v=v9;g=meta.k8s.io,application/json', want: 'json object' },
    { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io', want: 'json metadata' },
    { accept: 'application/json;q=0.1, application/yaml;q=0.9', want: 'yaml object' },
    { accept: 'application/json;stream=watch', want: 'json object' },
  ];
  for (const { accept, want } of cases) {
    it(`answers ${accept ?? 'nothing'} with ${want}`, () => {
      const { encoding, as, metaVersion } = negotiateAnswer(accept);
      assert.equal(`${encoding} ${as}${metaVersion === 'v1' ? '' : ` ${metaVersion}`}`, want);
    });
  }
  it('refuses what it cannot make', () => {
    assert.match(
      messageOf(() => negotiateAnswer('application/vnd.kubernetes.protobuf')),
      /^406 /,
    );
    assert.match(
      messageOf(() => negotiateAnswer(table.replace('Table', 'Chair'))),
      /^406 /,
    );
  });
  it('offers aggregated discovery only to those who ask', () => {
    const ask = (version: string) => `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
    assert.equal(negotiateDiscovery(`${ask('v2')},${ask('v2beta1')},application/json`), 'v2');
    assert.equal(negotiateDiscovery(`${ask('v2beta1')},application/json`), 'v2beta1');
    assert.equal(negotiateDiscovery(`application/json, */*`), undefined);
    assert.equal(negotiateDiscovery(undefined), undefined);
  });
});

describe('continue tokens', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string(), (revision, after) => {
        assert.deepEqual(parseContinueToken(formatContinueToken({ revision, after })), { revision, after });
      }),
    );
  });
  it('are refused if this store did not make them', () => {
    const foreign = Buffer.from('{"v":"meta.k8s.io/v1","rv":1,"start":"a"}').toString('base64url');
    for (const token of ['', 'x', foreign, 'bnVsbA']) {
      assert.match(
        messageOf(() => parseContinueToken(token)),
        /^400 continue key is not valid/,
      );
    }
  });
});

describe('formatAge', () => {
  const s = 1000;
  const m = 60 * s;
  const h = 60 * m;
  const d = 24 * h;
  const cases: [number, string][] = [
    [-5 * s, '<invalid>'],
    [-1 * s, '0s'],
    [0, '0s'],
    [119 * s, '119s'],
    [2 * m, '2m'],
    [2 * m + 5 * s, '2m5s'],
    [10 * m + 5 * s, '10m'],
    [179 * m, '179m'],
    [3 * h, '3h'],
    [3 * h + 5 * m, '3h5m'],
    [8 * h + 5 * m, '8h'],
    [47 * h, '47h'],
    [2 * d, '2d'],
    [2 * d + 3 * h, '2d3h'],
    [8 * d + 3 * h, '8d'],
    [729 * d, '729d'],
    [2 * 365 * d, '2y'],
    [2 * 365 * d + 9 * d, '2y9d'],
    [9 * 365 * d + 9 * d, '9y'],
  ];
  for (const [ageMs, want] of cases) it(`writes ${ageMs} ms as ${want}`, () => assert.equal(formatAge(ageMs), want));
});
