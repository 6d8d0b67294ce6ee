/** Paths, versions and signals of the Engine API. */
import assert from 'node:assert/strict';
import { createMatcher, parseVersion, type Route } from '../../docker/route.ts';
import { formatSignal, parseSignal } from '../../docker/signals.ts';

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
    ['/v0.50/_ping', 'refused'],
    ['/v2.0/info', 'refused'],
  ];
  for (const [path, wanted] of versions)
    it(`reads the version of ${path}`, () => {
      const version = parseVersion(path);
      assert.equal(version.kind === 'known' ? version.minor : 'refused', wanted);
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
