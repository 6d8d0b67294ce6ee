import assert from 'node:assert/strict';
import {
  dnsNamesOf,
  findNetworkProblems,
  networkDnsOf,
  networkReferences,
  resolveNetworks,
} from '../../controller/networks.ts';
import { parseSource, type SourceLookup } from '../../controller/sources.ts';
import { type ContainerSpec, containerIDOf } from '../../crds/index.ts';
import { object } from './fixtures.ts';

const on = (networks: ContainerSpec['networks']) => object({ name: 'web', namespace: 'shop', spec: { networks } });
const front = { name: 'front' };
const present = (internal: boolean): SourceLookup => ({
  kind: 'present',
  source: parseSource('Network', { spec: { internal } }),
});

describe('the networks of a container', () => {
  it('are the default one without the field, and nothing changes for such a container', () => {
    const plain = on(undefined);
    assert.deepEqual(dnsNamesOf(plain), ['web.shop']);
    assert.equal(networkDnsOf('shop', plain.spec), undefined);
    assert.deepEqual(resolveNetworks(plain, { get: () => ({ kind: 'unknown' }) }), {
      networks: undefined,
      missing: [],
      unknown: [],
    });
  });

  it('give it a name, its aliases and its short id on each', () => {
    const given = on([{ name: 'front', aliases: ['www'] }, { name: 'back' }]);
    const id = containerIDOf(given).slice(0, 12);
    assert.deepEqual(dnsNamesOf(given), [
      'web.front.shop',
      'www.front.shop',
      `${id}.front.shop`,
      'web.back.shop',
      `${id}.back.shop`,
    ]);
    assert.deepEqual(networkDnsOf('shop', given.spec)?.searches, [
      'front.shop.holdfast.internal',
      'back.shop.holdfast.internal',
    ]);
  });

  it('have the names of the default network only where that is among them', () => {
    const both = on([{ name: 'default' }, front]);
    assert.ok(dnsNamesOf(both).includes('web.shop'));
    assert.deepEqual(networkDnsOf('shop', both.spec)?.searches, [
      'front.shop.holdfast.internal',
      'shop.holdfast.internal',
      'holdfast.internal',
    ]);
    assert.deepEqual([dnsNamesOf(on([])), networkDnsOf('shop', on([]).spec)?.searches], [[], []]);
    assert.deepEqual(networkReferences(both.spec), ['front']);
  });

  it('are known to the host by namespace and name, and say what is not there', () => {
    const lookups: Readonly<Record<string, SourceLookup>> = {
      front: present(false),
      inner: present(true),
      late: { kind: 'unknown' },
    };
    const given = on(['front', 'inner', 'late', 'lost', 'default'].map((name) => ({ name })));
    const found = resolveNetworks(given, { get: (_kind, _namespace, name) => lookups[name] ?? { kind: 'missing' } });
    assert.deepEqual(found, {
      networks: [
        { name: 'shop.front', isInternal: false },
        { name: 'shop.inner', isInternal: true },
        { name: 'default', isInternal: false },
      ],
      missing: ['network "lost" not found; create it in namespace "shop", or remove it from spec.networks'],
      unknown: ['network "late"'],
    });
  });

  for (const [spec, want] of [
    [{ hostNetwork: false, networks: [front] }, []],
    [{ hostNetwork: true, networks: [] }, [/spec.networks: with hostNetwork/]],
    [{ hostNetwork: false, noNetwork: true, networks: [front] }, [/spec.networks: with noNetwork/]],
    [{ hostNetwork: true, noNetwork: true }, [/spec.noNetwork: with hostNetwork/]],
    [
      { hostNetwork: false, noNetwork: true, ports: [{ containerPort: 80, hostPort: 0, protocol: 'TCP' }] },
      [/spec.ports: with noNetwork/],
    ],
    [{ hostNetwork: false, networks: [{ name: 'default', aliases: ['x'] }] }, [/the default network has no aliases/]],
  ] as const) {
    it(`${want.length === 0 ? 'can' : 'cannot'} be ${JSON.stringify(spec)}`, () => {
      const problems = findNetworkProblems(spec);
      assert.equal(problems.length, want.length, problems.join('; '));
      for (const [index, pattern] of want.entries()) assert.match(problems[index] ?? '', pattern);
    });
  }
});
