/** What the fuzzer of the store draws: bodies, patches, paths and queries that nobody should send. Pure. */
import fc from 'fast-check';
import type { Json } from '../../store/json.ts';

export interface Shot {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer | undefined;
}

const nasty = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '',
  '\0',
  '..',
  '%00',
  '%2e%2e',
  '%2F',
  '%',
  '%ff',
  '\ud800',
  'a'.repeat(300),
  'ä',
  '-1',
  '1e400',
  'null',
];
const word = fc.oneof(fc.constantFrom(...nasty), fc.string({ maxLength: 12 }));
const json: fc.Arbitrary<string> = fc.json({ maxDepth: 4 });

const deep = (text: string, count: number): string => text.repeat(count);
const bombs = [
  `{"metadata":${deep('{"a":', 5_000)}1${deep('}', 5_000)}}`,
  deep('[', 100_000),
  deep('{"a":[', 20_000),
  '{"metadata":{"name":"x"},"metadata":{"name":"Bad_Name"}}',
  '{"__proto__":{"polluted":true},"metadata":{"name":"Bad_Name"}}',
  '{"metadata":{"name":"Bad_Name","__proto__":{"polluted":true},"labels":{"constructor":1}}}',
  `{"metadata":{"name":"Bad_Name"},"data":{"a":${'9'.repeat(5_000)}}}`,
  '{"metadata":{"name":1e400}}',
  '{"metadata":{"name":"\\ud800"}}',
  '{"metadata":null,"data":[]}',
  '\ufeff{"metadata":{}}',
];
const yamlBombs = [
  `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghij'.replaceAll(/./gu, (name, at: number) => {
    const before = `*${'abcdefghij'[at]}`;
    return `${name}: &${name} [${Array.from({ length: 9 }, () => before).join(',')}]\n`;
  })}`,
  'a: &a\n  b: *a\n',
  'metadata: *nothing\n',
  '? [a, b]\n: c\n',
  '!!js/function "x"\n',
  '!!binary "AAAA"\n',
  'metadata: {name: Bad_Name}\nmetadata: {name: Bad_Name}\n',
  '--- {}\n--- {}\n',
  '<<: {metadata: 1}\n',
  'metadata:\n\tname: x\n',
  '__proto__: {polluted: true}\n',
  `${'['.repeat(5_000)}`,
  `${'- '.repeat(5_000)}a`,
  'metadata: {name: .inf}\n',
];

const body: fc.Arbitrary<string | Buffer> = fc.oneof(
  fc.constantFrom(...bombs, ...yamlBombs),
  json,
  fc.string({ maxLength: 60 }),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.concat([Buffer.from([0xff]), Buffer.from(bytes)])),
  fc
    .record({ kind: word, apiVersion: word, metadata: fc.record({ name: word, namespace: word }) })
    .map((value) => JSON.stringify(value)),
);

const contentType = fc.constantFrom(
  'application/json',
  'application/yaml',
  'application/vnd.kubernetes.protobuf',
  'text/plain',
  'application/x-www-form-urlencoded',
  'application/json-patch+json',
  'application/json;charset=utf-16',
  '',
);

const badVersion = fc.constantFrom('x', '-1', '1.5', '1e9', '0x1', '99999999999999999999', ' 1', '1;');
const badQuery = fc.oneof(
  badVersion.map((version) => `resourceVersion=${encodeURIComponent(version)}`),
  fc.constantFrom('limit=x', 'limit=-1', 'limit=1e3', 'resourceVersionMatch=Exact', 'resourceVersionMatch=x'),
  fc.string({ maxLength: 20 }).map((token) => `continue=x${encodeURIComponent(token.toWellFormed())}`),
  fc.constantFrom('labelSelector=%28', 'labelSelector=a%3D%3D%3D', 'labelSelector=__proto__%21', 'labelSelector=a+in'),
  fc.constantFrom(
    'fieldSelector=__proto__%3Dx',
    'fieldSelector=metadata.uid%3Dx',
    'fieldSelector=x',
    'fieldSelector=constructor%3D',
  ),
  fc.constantFrom(
    'watch=1&resourceVersion=x',
    'watch=1&timeoutSeconds=x',
    'watch=1&sendInitialEvents=true',
    'sendInitialEvents=true',
  ),
);

const operation = fc.oneof(
  fc
    .record({
      op: fc.constantFrom('remove', 'test'),
      path: fc.constantFrom('/absent', '/data/absent/x', '/metadata/finalizers/7'),
    })
    .map((made) => ({ ...made, value: 'nothing' })),
  fc.record({
    op: fc.constantFrom('move', 'copy'),
    from: fc.constantFrom('/absent', '/data/absent', '/data/a/b'),
    path: fc.constant('/data/x'),
  }),
  fc.record({
    op: word.filter((op) => !['add', 'copy', 'move', 'remove', 'replace', 'test'].includes(op)),
    path: fc.constant('/data/a'),
  }),
  fc.record({
    op: fc.constant('add'),
    path: fc.constantFrom('data', '/absent/x/y', '/__proto__/polluted', '/metadata/name/x'),
    value: word,
  }),
  fc.record({
    op: fc.constant('add'),
    path: fc.constant('/metadata/labels/x'),
    value: fc.constantFrom<Json>('a b', 7, []),
  }),
  fc.record({ op: fc.constant('move'), from: fc.constant('/metadata'), path: fc.constant('/metadata/annotations') }),
);

const badMerge: readonly string[] = [
  '{"metadata":{"name":"other"}}',
  '{"metadata":{"namespace":"other"}}',
  '{"metadata":{"uid":"other"}}',
  '{"metadata":{"resourceVersion":"x"}}',
  '{"metadata":{"labels":{"a b":"c"}}}',
  '{"metadata":{"labels":{"__proto__":{}}}}',
  '{"metadata":{"finalizers":["a b"]}}',
  '{"kind":"Secret"}',
  '{"apiVersion":"v2"}',
  '{"data":[]}',
  '{"data":{"..":"x"}}',
  '{"data":{"a":7}}',
  '[]',
  '7',
  '{',
];

/** Requests that must be refused: each has something wrong with it. */
export function badShots(collection: string, object: string): fc.Arbitrary<Shot> {
  const bare = { headers: {}, body: undefined };
  const typed = (type: string) => ({ 'content-type': type });
  const name = word
    .filter((text) => text !== '')
    .map((text) => (text.startsWith('%') ? text : encodeURIComponent(text.toWellFormed())));
  return fc.oneof(
    // A body that is no ConfigMap with a good name: the name is refused where all else is good.
    {
      weight: 4,
      arbitrary: fc
        .tuple(body, contentType)
        .map(([content, type]) => ({ method: 'POST', path: collection, headers: typed(type), body: content })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(body, contentType)
        .map(([content, type]) => ({ method: 'PUT', path: object, headers: typed(type), body: content })),
    },
    { weight: 2, arbitrary: badQuery.map((query) => ({ method: 'GET', path: `${collection}?${query}`, ...bare })) },
    {
      weight: 2,
      arbitrary: fc.array(operation, { minLength: 1, maxLength: 3 }).map((operations) => ({
        method: 'PATCH',
        path: object,
        headers: typed('application/json-patch+json'),
        body: JSON.stringify(operations),
      })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom(...badMerge), fc.constantFrom('merge-patch+json', 'strategic-merge-patch+json'))
        .map(([content, type]) => ({
          method: 'PATCH',
          path: object,
          headers: typed(`application/${type}`),
          body: content,
        })),
    },
    { weight: 2, arbitrary: name.map((part) => ({ method: 'GET', path: `${collection}/no-${part}`, ...bare })) },
    {
      weight: 1,
      arbitrary: name.map((part) => ({
        method: 'DELETE',
        path: `/api/v1/namespaces/no-${part}/configmaps/x`,
        ...bare,
      })),
    },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom('/apis/%00', '/api/v1/namespaces//configmaps/x', `/${'x'.repeat(4_000)}`, '/apis/a/b/c/d/e/f/g')
        .map((path) => ({ method: 'GET', path, ...bare })),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom('PUT', 'PATCH', 'OPTIONS', 'REPORT', 'PROPFIND').map((method) => ({
        method,
        path: collection,
        headers: typed('application/json'),
        body: method === 'OPTIONS' ? undefined : '{}',
      })),
    },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(
          '{',
          '[]',
          '{"kind":"Pod"}',
          '{"preconditions":{"uid":"x"}}',
          '{"preconditions":7}',
          '{"propagationPolicy":"x"}',
          '{"dryRun":["x"]}',
          '{"gracePeriodSeconds":"x"}',
        )
        .map((content) => ({ method: 'DELETE', path: object, headers: typed('application/json'), body: content })),
    },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom('text/html', 'application/json;as=x;g=meta.k8s.io;v=v1', 'a/b;q=x')
        .map((accept) => ({ method: 'GET', path: object, headers: { accept }, body: undefined })),
    },
  );
}
