import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Dependency, findCycle, linkEnv, linkHosts } from '../../controller/links.ts';

const graph =
  (edges: Record<string, string[]>) =>
  (name: string): string[] =>
    edges[name] ?? [];

describe('findCycle', () => {
  const cases: { it: string; edges: Record<string, string[]>; want: string[] | undefined }[] = [
    { it: 'finds none in a chain', edges: { a: ['b'], b: ['c'] }, want: undefined },
    { it: 'finds none in a diamond', edges: { a: ['b', 'c'], b: ['d'], c: ['d'] }, want: undefined },
    { it: 'finds one that depends on itself', edges: { a: ['a'] }, want: ['a', 'a'] },
    { it: 'gives the whole path of a circle', edges: { a: ['b'], b: ['c'], c: ['a'] }, want: ['a', 'b', 'c', 'a'] },
    {
      it: 'finds none for one that merely depends on a circle',
      edges: { a: ['b'], b: ['c'], c: ['b'] },
      want: undefined,
    },
    {
      it: 'finds its own circle behind another one',
      edges: { a: ['b', 'c'], b: ['b2'], b2: ['b'], c: ['a'] },
      want: ['a', 'c', 'a'],
    },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(findCycle('a', graph(c.edges)), c.want));

  it('walks a chain of twenty thousand', () => {
    const next = (name: string): string[] => [String((Number(name) + 1) % 20_000)];
    assert.equal(findCycle('0', next)?.length, 20_001);
  });
  it('finds none in any graph whose edges only go up', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { maxLength: 200 }), (pairs) => {
        const edges: Record<string, string[]> = {};
        for (const [from, to] of pairs) if (from < to) edges[from] = [...(edges[from] ?? []), String(to)];
        return findCycle('0', graph(edges)) === undefined;
      }),
    );
  });
});

const db: Dependency = {
  name: 'db',
  state: 'running',
  ip: '10.0.0.5',
  hostname: 'db-host',
  ports: [{ port: 9000, protocol: 'udp' }],
  env: [{ name: 'PASSWORD', value: 'own' }],
  imageConfig: {
    entrypoint: [],
    cmd: [],
    env: ['PATH=/bin', 'HOME=/root', 'PASSWORD=image', 'VERSION=5'],
    workingDir: '',
    user: '',
    exposedPorts: ['3306/tcp'],
    volumes: [],
  },
};

describe('linkEnv', () => {
  it('gives the variables that Docker documents for links, the target’s own values first and without PATH and HOME', () => {
    assert.deepEqual(
      Object.fromEntries(
        linkEnv('wp', [{ name: 'db', alias: 'my-sql' }], [db]).map(({ name, value }) => [name, value]),
      ),
      {
        MY_SQL_NAME: '/wp/my-sql',
        MY_SQL_PORT: 'tcp://10.0.0.5:3306',
        MY_SQL_PORT_3306_TCP: 'tcp://10.0.0.5:3306',
        MY_SQL_PORT_3306_TCP_ADDR: '10.0.0.5',
        MY_SQL_PORT_3306_TCP_PORT: '3306',
        MY_SQL_PORT_3306_TCP_PROTO: 'tcp',
        MY_SQL_PORT_9000_UDP: 'udp://10.0.0.5:9000',
        MY_SQL_PORT_9000_UDP_ADDR: '10.0.0.5',
        MY_SQL_PORT_9000_UDP_PORT: '9000',
        MY_SQL_PORT_9000_UDP_PROTO: 'udp',
        MY_SQL_ENV_PASSWORD: 'own',
        MY_SQL_ENV_VERSION: '5',
      },
    );
  });
  it('gives nothing for a target without an address', () => {
    assert.deepEqual(linkEnv('wp', [{ name: 'db', alias: 'db' }], [{ ...db, ip: undefined }]), []);
  });
});

describe('linkHosts', () => {
  it('names the target by alias, name and host name, each once', () => {
    assert.deepEqual(
      linkHosts(
        [
          { name: 'db', alias: 'mysql' },
          { name: 'db', alias: 'db' },
        ],
        [db],
      ),
      [
        { ip: '10.0.0.5', names: ['mysql', 'db', 'db-host'] },
        { ip: '10.0.0.5', names: ['db', 'db-host'] },
      ],
    );
  });
  it('names its IPv6 address too when it is to be found by that', () => {
    assert.deepEqual(linkHosts([{ name: 'db', alias: 'db' }], [{ ...db, ip6: 'fd00::5' }]), [
      { ip: '10.0.0.5', names: ['db', 'db-host'] },
      { ip: 'fd00::5', names: ['db', 'db-host'] },
    ]);
  });
});
