import assert from 'node:assert/strict';
import { findPullObstacle, resolvePullSecrets } from '../../controller/pull-secrets.ts';
import type { SourceLookup } from '../../controller/sources.ts';
import { object } from './fixtures.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const secret = (type: string | undefined, data: Record<string, string>): SourceLookup => ({
  kind: 'present',
  source: {
    type,
    data: new Map(Object.entries(data).map(([key, value]) => [key, Buffer.from(value)])),
    binaryKeys: new Set(),
  },
});
const json = (auths: unknown): SourceLookup =>
  secret('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': JSON.stringify({ auths }) });
const lookups: Record<string, SourceLookup> = {
  auth: json({ 'https://index.docker.io/v1/': { auth: base64('anna:pa:ss') } }),
  plain: json({ 'r.example:5000/team': { username: 'otto', password: 'x' } }),
  both: json({ 'r.example': { username: 'old', password: 'old', auth: base64('new:new') } }),
  padded: json({ 'r.example': { auth: base64('a:b\0\0') } }),
  broken: json({ 'r.example': { auth: base64('nocolon') }, 's.example': 7, 't.example': { username: 'x' } }),
  old: secret('kubernetes.io/dockercfg', { '.dockercfg': JSON.stringify({ 'r.example': { auth: base64('a:b') } }) }),
  opaque: secret('Opaque', { '.dockerconfigjson': '{}' }),
  proto: secret('constructor', {}),
  empty: secret('kubernetes.io/dockerconfigjson', {}),
  hostile: secret('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': '{"auths":{"r":"s3cret' }),
  list: secret('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': '[1]' }),
  late: { kind: 'unknown' },
};
const sources = {
  get: (_kind: string, _namespace: string, name: string): SourceLookup => lookups[name] ?? { kind: 'missing' },
};
const subject = (...names: string[]) => object({ spec: { imagePullSecrets: names.map((name) => ({ name })) } });

describe('resolvePullSecrets', () => {
  const cases: { it: string; names: string[]; want: string[] }[] = [
    {
      it: 'reads user and password from auth, also with a colon',
      names: ['auth'],
      want: ['https://index.docker.io/v1/ anna pa:ss'],
    },
    { it: 'reads them in plain', names: ['plain'], want: ['r.example:5000/team otto x'] },
    { it: 'prefers auth', names: ['both'], want: ['r.example new new'] },
    { it: 'drops the NULs that old clients end auth with', names: ['padded'], want: ['r.example a b'] },
    { it: 'reads the old format', names: ['old'], want: ['r.example a b'] },
    { it: 'leaves out entries without credentials', names: ['broken'], want: [] },
    { it: 'takes several in order', names: ['old', 'plain'], want: ['r.example a b', 'r.example:5000/team otto x'] },
  ];
  for (const c of cases)
    it(c.it, () => {
      const { credentials, problems } = resolvePullSecrets(subject(...c.names), sources);
      assert.deepEqual(problems, []);
      assert.deepEqual(
        credentials.map(({ registry, username, password }) => `${registry} ${username} ${password}`),
        c.want,
      );
    });
  const useless: [string, RegExp][] = [
    ['nope', /^secret "nope" not found$/],
    ['opaque', /^secret "opaque" is of type "Opaque", not kubernetes\.io\/dockerconfigjson; /],
    ['proto', /^secret "proto" is of type "constructor", /],
    ['empty', /^secret "empty" has no registries in its key \.dockerconfigjson; /],
    ['hostile', /^secret "hostile" has no registries in its key \.dockerconfigjson; make it anew$/],
    ['list', /^secret "list" has no registries/],
  ];
  for (const [name, want] of useless)
    it(`says why "${name}" is of no use, and takes the others`, () => {
      const { credentials, problems } = resolvePullSecrets(subject(name, 'old'), sources);
      assert.equal(credentials.length, 1);
      assert.equal(problems.length, 1);
      assert.match(problems[0] ?? '', want);
    });
});

describe('findPullObstacle', () => {
  it('waits for Secrets that were not heard of yet, and for no others', () => {
    assert.match(
      findPullObstacle(subject('late', 'nope'), sources)?.message ?? '',
      /^waits to hear of secret "late" from/,
    );
    assert.equal(findPullObstacle(subject('nope', 'auth'), sources), undefined);
    assert.equal(findPullObstacle(subject(), sources), undefined);
  });
});
