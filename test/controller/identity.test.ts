import assert from 'node:assert/strict';
import { dnsConfigOf, findIdentityProblems, hostAliasesOf, identityOf } from '../../controller/identity.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import { spec as baseSpec, desired } from './fixtures.ts';

const withContext = (context: Partial<ContainerSpec['securityContext']>, user?: string): ContainerSpec => ({
  ...baseSpec,
  user,
  securityContext: { ...baseSpec.securityContext, ...context },
});

describe('identityOf', () => {
  const none = { user: undefined, group: undefined, groups: undefined, refusesRoot: undefined };
  const cases: { it: string; given: ContainerSpec; want: object }[] = [
    { it: 'leaves all to the image', given: baseSpec, want: none },
    { it: 'takes user as it is', given: withContext({}, 'www-data:adm'), want: { ...none, user: 'www-data:adm' } },
    {
      it: 'takes numbers, also 0',
      given: withContext({ runAsUser: 0, runAsGroup: 0 }),
      want: { ...none, user: '0', group: '0' },
    },
    {
      it: 'takes a group for the user of the image',
      given: withContext({ runAsGroup: 5 }),
      want: { ...none, group: '5' },
    },
    {
      it: 'takes further groups',
      given: withContext({ supplementalGroups: [7, 8] }),
      want: { ...none, groups: ['7', '8'] },
    },
    {
      it: 'takes an empty list for none',
      given: withContext({ supplementalGroups: [], runAsNonRoot: false }),
      want: none,
    },
    { it: 'refuses root', given: withContext({ runAsNonRoot: true }), want: { ...none, refusesRoot: true } },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(identityOf(c.given), c.want));
});

describe('dnsConfigOf', () => {
  const own = {
    nameservers: ['192.0.2.53'],
    searches: ['corp.example'],
    options: [{ name: 'ndots', value: '4' }, { name: 'rotate' }],
  };
  const names = ['shop.holdfast.internal', 'holdfast.internal'];
  const cases: { it: string; given: Partial<ContainerSpec>; want: object }[] = [
    {
      it: 'finds containers by default',
      given: {},
      want: { servers: [], searches: names, options: ['ndots:2'] },
    },
    {
      it: 'adds to that',
      given: { dnsConfig: own },
      want: {
        servers: ['192.0.2.53'],
        searches: [...names, 'corp.example'],
        options: ['ndots:2', 'ndots:4', 'rotate'],
      },
    },
    {
      it: "takes the host's alone",
      given: { dnsPolicy: 'Default' },
      want: { base: 'host', servers: [], searches: [], options: [] },
    },
    {
      it: 'takes what is given alone',
      given: { dnsPolicy: 'None', dnsConfig: own },
      want: { base: 'none', servers: ['192.0.2.53'], searches: ['corp.example'], options: ['ndots:4', 'rotate'] },
    },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(dnsConfigOf('shop', { ...baseSpec, ...c.given }), c.want));
});

describe('hostAliasesOf', () => {
  it('gives one entry for each, and none without', () => {
    assert.deepEqual(hostAliasesOf({ hostAliases: [{ ip: '192.0.2.1', hostnames: ['a', 'b'] }] }), [
      { ip: '192.0.2.1', names: ['a', 'b'] },
    ]);
    assert.deepEqual(hostAliasesOf({}), []);
  });
  it('needs no new container', () =>
    assert.equal(
      desired({ spec: { hostAliases: [{ ip: '192.0.2.1', hostnames: ['a'] }] } }).specHash,
      desired().specHash,
    ));
});

describe('findIdentityProblems', () => {
  const cases: { it: string; given: Partial<ContainerSpec>; want: RegExp | undefined }[] = [
    { it: 'accepts what is right', given: { hostAliases: [{ ip: 'fd00::1', hostnames: ['a'] }] }, want: undefined },
    {
      it: 'refuses a user beside runAsUser',
      given: withContext({ runAsUser: 1 }, 'web'),
      want: /^spec\.securityContext\.runAsUser: 1 is given beside spec\.user "web"; give one of them$/,
    },
    {
      it: 'refuses root beside runAsNonRoot',
      given: withContext({ runAsUser: 0, runAsNonRoot: true }),
      want: /runAsNonRoot: the spec asks for user 0/,
    },
    {
      it: 'refuses root by number too',
      given: withContext({ runAsNonRoot: true }, '0:5'),
      want: /runAsNonRoot: the spec asks for user 0/,
    },
    {
      it: 'refuses an alias of no address',
      given: { hostAliases: [{ ip: '1.2.3', hostnames: ['a'] }] },
      want: /^spec\.hostAliases\[0\]\.ip: "1\.2\.3" is not an IP/,
    },
    {
      it: 'refuses a name server of no address',
      given: { dnsConfig: { nameservers: ['::1', 'fe'] } },
      want: /^spec\.dnsConfig\.nameservers\[1\]: "fe" is not/,
    },
    { it: 'refuses None with nothing', given: { dnsPolicy: 'None' }, want: /^spec\.dnsConfig\.nameservers: is empty/ },
  ];
  for (const c of cases)
    it(c.it, () => {
      const [first, ...more] = findIdentityProblems({ ...baseSpec, ...c.given });
      assert.deepEqual(more, []);
      if (c.want === undefined) assert.equal(first, undefined);
      else assert.match(first ?? '', c.want);
    });
});
