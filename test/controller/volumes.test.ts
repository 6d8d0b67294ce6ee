import assert from 'node:assert/strict';
import { parseDesired } from '../../controller/desired.ts';
import { referencesOf } from '../../controller/references.ts';
import type { SourceLookup, Sources } from '../../controller/sources.ts';
import { resolveFiles } from '../../controller/volume-files.ts';
import { parseVolumes, volumesToDelete } from '../../controller/volumes.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import type { VolumeSource } from '../../runtime/index.ts';
import { desired, object } from './fixtures.ts';

type SpecVolume = NonNullable<ContainerSpec['volumes']>[number];
type SpecMount = NonNullable<ContainerSpec['volumeMounts']>[number];

const files = { defaultMode: 0o644, optional: false };
const secret = (items?: { key: string; path: string; mode?: number }[], change = {}): SpecVolume => ({
  name: 'v',
  secret: { secretName: 'db', items, ...files, ...change },
});
const mount = (mountPath: string, change: Partial<SpecMount> = {}): SpecMount => ({
  name: 'v',
  mountPath,
  readOnly: false,
  ...change,
});
const parse = (spec: Partial<ContainerSpec>) => parseVolumes(object({ namespace: 'shop', spec }));

describe('parseVolumes', () => {
  const sources: { volume: Omit<SpecVolume, 'name'>; want: VolumeSource }[] = [
    { volume: { emptyDir: { medium: '' } }, want: { kind: 'own', mode: 0o777 } },
    { volume: { emptyDir: { medium: 'Memory' } }, want: { kind: 'memory', sizeBytes: undefined } },
    { volume: { emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }, want: { kind: 'memory', sizeBytes: 2 ** 20 } },
    { volume: { hostPath: { path: '/srv', type: '' } }, want: { kind: 'bind', path: '/srv', ensure: 'any' } },
    {
      volume: { hostPath: { path: '/srv', type: 'FileOrCreate' } },
      want: { kind: 'bind', path: '/srv', ensure: 'file-or-create' },
    },
    { volume: { volume: { name: 'data', reclaimPolicy: 'Retain' } }, want: { kind: 'named', name: 'shop.data' } },
    { volume: { tmpfs: { sizeLimit: '2Ki', mode: 0o700 } }, want: { kind: 'tmpfs', sizeBytes: 2048, mode: 0o700 } },
    { volume: { configMap: { name: 'c', ...files } }, want: { kind: 'files' } },
    { volume: { secret: { secretName: 's', ...files } }, want: { kind: 'files' } },
  ];
  for (const { volume, want } of sources) {
    it(`makes ${JSON.stringify(want)} of ${JSON.stringify(volume)}`, () => {
      const { volumes, problems } = parse({ volumes: [{ name: 'v', ...volume }] });
      assert.deepEqual([volumes, problems], [[{ name: 'v', source: want }], []]);
    });
  }

  const emptyDir: SpecVolume = { name: 'v', emptyDir: { medium: '' } };
  const broken: { it: string; spec: Partial<ContainerSpec>; says: RegExp }[] = [
    {
      it: 'no source',
      spec: { volumes: [{ name: 'v' }] },
      says: /^spec\.volumes\[0\]: "v" has no source; give exactly one/,
    },
    {
      it: 'two sources',
      spec: { volumes: [{ ...emptyDir, tmpfs: {} }] },
      says: /^spec\.volumes\[0\]: "v" has 2 sources \(emptyDir, tmpfs\)/,
    },
    {
      it: 'a limit for a folder on the disk',
      spec: { volumes: [{ name: 'v', emptyDir: { medium: '', sizeLimit: '1Gi' } }] },
      says: /^spec\.volumes\[0\]\.emptyDir\.sizeLimit: .* or set medium: Memory/,
    },
    {
      it: 'a size of nothing',
      spec: { volumes: [{ name: 'v', tmpfs: { sizeLimit: 0 } }] },
      says: /^spec\.volumes\[0\]\.tmpfs\.sizeLimit: 0 is not/,
    },
    {
      it: 'a path of the host that goes up',
      spec: { volumes: [{ name: 'v', hostPath: { path: '/a/../etc', type: '' } }] },
      says: /^spec\.volumes\[0\]\.hostPath\.path: "\/a\/\.\.\/etc"/,
    },
    {
      it: 'an item that leaves the volume',
      spec: { volumes: [secret([{ key: 'a', path: '../../etc/passwd' }])] },
      says: /^spec\.volumes\[0\]\.secret\.items\[0\]\.path: "\.\.\/\.\.\/etc\/passwd"/,
    },
    {
      it: 'an item named as the links are that make changes atomic',
      spec: { volumes: [secret([{ key: 'a', path: '..data' }])] },
      says: /items\[0\]\.path: "\.\.data"/,
    },
    {
      it: 'two items at one path',
      spec: {
        volumes: [
          secret([
            { key: 'a', path: 'x' },
            { key: 'b', path: 'x/y' },
          ]),
        ],
      },
      says: /items\[1\]\.path: "x\/y" clashes with that of spec\.volumes\[0\]\.secret\.items\[0\]/,
    },
    {
      it: 'two projected sources at one path',
      spec: {
        volumes: [
          {
            name: 'v',
            projected: {
              defaultMode: 0o644,
              sources: [
                { secret: { name: 'db', items: [{ key: 'a', path: 'x' }], optional: false } },
                { downwardAPI: { items: [{ path: 'x', fieldRef: { fieldPath: 'metadata.name' } }] } },
              ],
            },
          },
        ],
      },
      says: /sources\[1\]\.downwardAPI\.items\[0\]\.path: "x" clashes with that of spec\.volumes\[0\]\.projected\.sources\[0\]\.secret\.items\[0\]/,
    },
    {
      it: 'a projected source that is none',
      spec: { volumes: [{ name: 'v', projected: { defaultMode: 0o644, sources: [{}] } }] },
      says: /^spec\.volumes\[0\]\.projected\.sources\[0\]: has 0 sources; give exactly one/,
    },
    {
      it: 'a mount of no volume',
      spec: { volumes: [emptyDir], volumeMounts: [mount('/a', { name: 'w' })] },
      says: /^spec\.volumeMounts\[0\]\.name: there is no volume "w" in spec\.volumes/,
    },
    {
      it: 'two mounts at one path, written differently',
      spec: { volumes: [emptyDir], volumeMounts: [mount('/a'), mount('/b/../a/')] },
      says: /^spec\.volumeMounts\[1\]\.mountPath: "\/a" has a volume already/,
    },
    {
      it: 'a mount over the root',
      spec: { volumes: [emptyDir], volumeMounts: [mount('/a/..')] },
      says: /^spec\.volumeMounts\[0\]\.mountPath: nothing can be mounted at "\/a\/\.\."/,
    },
    {
      it: 'a mount in /proc',
      spec: { volumes: [emptyDir], volumeMounts: [mount('/proc/sys')] },
      says: /^spec\.volumeMounts\[0\]\.mountPath/,
    },
    {
      it: 'a sub path that goes up',
      spec: { volumes: [emptyDir], volumeMounts: [mount('/a', { subPath: 'x/../../y' })] },
      says: /^spec\.volumeMounts\[0\]\.subPath: "x\/\.\.\/\.\.\/y"/,
    },
    {
      it: 'a sub path of a tmpfs',
      spec: { volumes: [{ name: 'v', tmpfs: {} }], volumeMounts: [mount('/a', { subPath: 'x' })] },
      says: /^spec\.volumeMounts\[0\]\.subPath: volume "v" is a tmpfs/,
    },
  ];
  for (const { it: what, spec, says } of broken) {
    it(`names the field and the fix for ${what}`, () => {
      const { problem } = parseDesired(object({ spec }));
      assert.equal(problem?.reason, 'InvalidSpec');
      assert.match(problem?.message ?? '', says);
    });
  }

  it('fills named volumes from the image, and no other kind', () => {
    const volumes: SpecVolume[] = [emptyDir, { name: 'w', volume: { name: 'x', reclaimPolicy: 'Retain' } }];
    const { mounts } = parse({ volumes, volumeMounts: [mount('/a'), mount('/b', { name: 'w', subPath: '' })] });
    assert.deepEqual(
      mounts?.map(({ path, copiesUp, subPath }) => ({ path, copiesUp, subPath })),
      [
        { path: '/a', copiesUp: false, subPath: undefined },
        { path: '/b', copiesUp: true, subPath: undefined },
      ],
    );
  });
});

describe('a changed volume', () => {
  const hash = (spec: Partial<ContainerSpec>): string => desired({ spec }).specHash;
  const base: Partial<ContainerSpec> = { volumes: [secret()], volumeMounts: [mount('/a')] };
  const inPlace: { it: string; spec: Partial<ContainerSpec> }[] = [
    { it: 'other items', spec: { ...base, volumes: [secret([{ key: 'a', path: 'b' }])] } },
    { it: 'another mode', spec: { ...base, volumes: [secret(undefined, { defaultMode: 0o400 })] } },
    { it: "what becomes of the image's volumes", spec: { ...base, imageVolumes: { reclaimPolicy: 'Retain' } } },
  ];
  for (const { it: what, spec } of inPlace) it(`is made in place: ${what}`, () => assert.equal(hash(spec), hash(base)));
  const replacing: { it: string; spec: Partial<ContainerSpec> }[] = [
    { it: 'another path', spec: { ...base, volumeMounts: [mount('/b')] } },
    { it: 'read-only', spec: { ...base, volumeMounts: [mount('/a', { readOnly: true })] } },
    { it: 'another kind', spec: { ...base, volumes: [{ name: 'v', emptyDir: { medium: '' } }] } },
  ];
  for (const { it: what, spec } of replacing)
    it(`replaces the container: ${what}`, () => assert.notEqual(hash(spec), hash(base)));
  it('is none where a volume is to go with the object or not', () => {
    const named = (reclaimPolicy: 'Retain' | 'Delete'): Partial<ContainerSpec> => ({
      volumes: [{ name: 'v', volume: { name: 'x', reclaimPolicy } }],
    });
    assert.equal(hash(named('Retain')), hash(named('Delete')));
    assert.deepEqual(volumesToDelete(object({ namespace: 'shop', spec: named('Delete') })), ['shop.x']);
    assert.deepEqual(volumesToDelete(object({ namespace: 'shop', spec: named('Retain') })), undefined);
  });
});

describe('resolveFiles', () => {
  const shelf: Record<string, SourceLookup> = {
    'Secret default/db': {
      kind: 'present',
      source: {
        type: undefined,
        data: new Map([
          ['user', Buffer.from('admin')],
          ['key', Buffer.from([0, 255])],
        ]),
        binaryKeys: new Set(),
      },
    },
    'Secret default/late': { kind: 'unknown' },
  };
  const sources: Sources = {
    get: (kind, namespace, name) => shelf[`${kind} ${namespace}/${name}`] ?? { kind: 'missing' },
  };
  const resolve = (...volumes: SpecVolume[]) => resolveFiles(object({ spec: { volumes } }), sources);
  const base64 = (bytes: string | number[]): string => Buffer.from(bytes as string).toString('base64');

  it('has none without volumes of files', () =>
    assert.equal(resolve({ name: 'v', emptyDir: { medium: '' } }).files, undefined));
  it('makes each key a file, bytes as they are', () =>
    assert.deepEqual(resolve(secret()).files, {
      v: [
        { path: 'key', dataBase64: base64([0, 255]), mode: 0o644 },
        { path: 'user', dataBase64: base64('admin'), mode: 0o644 },
      ],
    }));
  it('makes the items given files, each with its mode or the default one', () =>
    assert.deepEqual(
      resolve(
        secret(
          [
            { key: 'user', path: 'a/b', mode: 0o400 },
            { key: 'user', path: 'c' },
          ],
          { defaultMode: 0o600 },
        ),
      ).files,
      {
        v: [
          { path: 'a/b', dataBase64: base64('admin'), mode: 0o400 },
          { path: 'c', dataBase64: base64('admin'), mode: 0o600 },
        ],
      },
    ));
  const lacking: { it: string; volume: SpecVolume; says: RegExp }[] = [
    {
      it: 'an object that is not there',
      volume: secret(undefined, { secretName: 'gone' }),
      says: /^volume "v" cannot be mounted: secret "gone" not found; create it in namespace "default", or set spec\.volumes\[0\]\.secret\.optional$/,
    },
    {
      it: 'a key that is not there',
      volume: secret([{ key: 'x', path: 'x' }]),
      says: /^volume "v" cannot be mounted: secret default\/db has no key "x"; add it there/,
    },
  ];
  for (const { it: what, volume, says } of lacking) {
    it(`names ${what}, and does without it where it is optional`, () => {
      assert.match(resolve(volume).missing.join('; '), says);
      const optional: SpecVolume = {
        name: 'v',
        secret: { secretName: 'db', ...volume.secret, ...files, optional: true },
      };
      assert.deepEqual(resolve(optional), { files: { v: [] }, missing: [], unknown: [] });
    });
  }
  it('names what it has not heard of yet, also where it is optional', () =>
    assert.deepEqual(resolve(secret(undefined, { secretName: 'late', optional: true })).unknown, ['secret "late"']));
  it('puts several objects into one volume, the later over the earlier, and an empty one is empty', () => {
    const fieldRef = (fieldPath: string) => ({ fieldRef: { fieldPath } });
    const base = object({
      spec: {
        volumes: [
          {
            name: 'v',
            projected: {
              defaultMode: 0o600,
              sources: [
                { downwardAPI: { items: [{ path: 'user', ...fieldRef('metadata.name') }] } },
                { secret: { name: 'db', optional: false, items: [{ key: 'user', path: 'user' }] } },
              ],
            },
          },
          {
            name: 'meta',
            downwardAPI: {
              defaultMode: 0o644,
              items: [
                { path: 'labels', ...fieldRef('metadata.labels') },
                { path: 'tier', mode: 0o400, ...fieldRef("metadata.labels['tier']") },
                { path: 'none', ...fieldRef("metadata.annotations['none']") },
                { path: 'uid', ...fieldRef('metadata.uid') },
              ],
            },
          },
          { name: 'empty', projected: { defaultMode: 0o644, sources: [] } },
        ],
      },
    });
    const labels = { tier: 'front', app: 'a "b"' };
    const { files: resolved, missing } = resolveFiles({ ...base, metadata: { ...base.metadata, labels } }, sources);
    assert.deepEqual(missing, []);
    assert.deepEqual(resolved, {
      v: [{ path: 'user', dataBase64: base64('admin'), mode: 0o600 }],
      meta: [
        { path: 'labels', dataBase64: base64('app="a \\"b\\""\ntier="front"'), mode: 0o644 },
        { path: 'tier', dataBase64: base64('front'), mode: 0o400 },
        { path: 'none', dataBase64: '', mode: 0o644 },
        { path: 'uid', dataBase64: base64('uid-of-web'), mode: 0o644 },
      ],
      empty: [],
    });
  });
  it('shows nothing of a Secret in what it says', () =>
    assert.doesNotMatch(JSON.stringify(resolve(secret([{ key: 'x', path: 'x' }])).missing), /admin/));
});

describe('referencesOf', () => {
  it('finds the objects that volumes come from', () =>
    assert.deepEqual(
      referencesOf(object({ spec: { volumes: [secret(), { name: 'c', configMap: { name: 'web', ...files } }] } }).spec),
      [
        { kind: 'Secret', name: 'db' },
        { kind: 'ConfigMap', name: 'web' },
      ],
    ));
});
