import assert from 'node:assert/strict';
import { ContainerConfigError, type Volume, type VolumeMount } from '../../runtime/index.ts';
import { checkFiles } from '../../runtime/volumes/file-volume.ts';
import { formatMount, mergeMounts } from '../../runtime/volumes/oci-mounts.ts';
import { normalizeMountPath, planMounts } from '../../runtime/volumes/plan-mounts.ts';

const volume: Volume = { name: 'v', source: { kind: 'own', mode: 0o777 } };
const mount = (path: string, change: Partial<VolumeMount> = {}): VolumeMount => ({
  volume: 'v',
  path,
  isReadOnly: false,
  copiesUp: false,
  ...change,
});

describe('planMounts', () => {
  const plan = (mounts: readonly VolumeMount[], declared: readonly string[]): string[] =>
    planMounts({ volumes: [volume], mounts }, { volumes: declared }).map(
      ({ mount: { path }, volume: { name }, isOfImage }) => `${path} ${isOfImage ? 'image' : name}`,
    );
  const cases: { it: string; mounts?: VolumeMount[]; declared?: string[]; want: string[] | RegExp }[] = [
    { it: 'has nothing without volumes', want: [] },
    { it: 'writes paths the shortest way', mounts: [mount('//a/./b/../c/')], want: ['/a/c v'] },
    {
      it: 'adds what the image declares and no mount covers',
      mounts: [mount('/a/')],
      declared: ['/a', 'b/', '/a/c'],
      want: ['/a v', '/b image', '/a/c image'],
    },
    { it: 'takes a path that the image declares twice once', declared: ['/b', '/b/'], want: ['/b image'] },
    {
      it: 'refuses an image that declares its root',
      declared: ['/x/..'],
      want: /image declares a volume at "\/x\/\.\."/,
    },
    { it: 'refuses an image that declares /proc', declared: ['/proc/x'], want: /nothing can be mounted/ },
    {
      it: 'refuses an image with a volume everywhere',
      declared: Array.from({ length: 300 }, (_, n) => `/${n}`),
      want: /300 mounts .* the most is 256/,
    },
    { it: 'refuses a relative path', mounts: [mount('a')], want: /at "a"; choose an absolute path/ },
    { it: 'refuses a path with a zero byte', mounts: [mount('/a\0b')], want: /choose an absolute path/ },
    {
      it: 'refuses two mounts at one path',
      mounts: [mount('/a'), mount('/b/../a')],
      want: /two volumes are mounted at \/a/,
    },
    { it: 'refuses a mount of no volume', mounts: [mount('/a', { volume: 'w' })], want: /there is no volume "w"/ },
    {
      it: 'refuses a sub path that goes up',
      mounts: [mount('/a', { subPath: 'x/../../y' })],
      want: /"x\/\.\.\/\.\.\/y"/,
    },
    { it: 'refuses an absolute sub path', mounts: [mount('/a', { subPath: '/etc' })], want: /"\/etc"/ },
  ];
  for (const { it: what, mounts = [], declared = [], want } of cases) {
    it(what, () => {
      if (!(want instanceof RegExp)) assert.deepEqual(plan(mounts, declared), want);
      else
        assert.throws(
          () => plan(mounts, declared),
          (error) => error instanceof ContainerConfigError && want.test(error.message),
        );
    });
  }
  it('refuses a name that would leave the folder of volumes, or that is given twice', () => {
    for (const name of ['..', 'a/b', '', '.own', 'x'.repeat(64)]) {
      assert.throws(() => planMounts({ volumes: [{ ...volume, name }] }, { volumes: [] }), ContainerConfigError, name);
    }
    assert.throws(() => planMounts({ volumes: [volume, volume] }, { volumes: [] }), /given twice/);
  });
  it('lets nothing be mounted at / or in /proc', () => {
    for (const path of ['/', '//', '/a/..', '/proc', '/proc/', '/proc/sys'])
      assert.equal(normalizeMountPath(path), undefined, path);
    assert.equal(normalizeMountPath('/process'), '/process');
  });
});

describe('mergeMounts', () => {
  const at = (
    destination: string,
    source = 'given',
  ): { destination: string; type: string; source: string; options: string[] } => ({
    destination,
    type: 'bind',
    source,
    options: [],
  });
  it('puts parents before what lies in them, and one at the same path in place of the given one', () => {
    const merged = mergeMounts(
      [at('/proc'), at('/dev'), at('/dev/shm'), at('/etc/hosts')],
      [at('/dev/shm', 'own'), at('/etc', 'own')],
    );
    assert.deepEqual(
      merged.map(({ destination, source }) => `${destination} ${source}`),
      ['/proc given', '/dev given', '/etc own', '/etc/hosts given', '/dev/shm own'],
    );
  });
  it('makes read-only all that is below a read-only mount', () => {
    const { options } = formatMount({
      source: '/s',
      destination: '/d',
      volume: volume.source,
      isReadOnly: true,
      isFolder: true,
    });
    assert.deepEqual(options, ['rbind', 'rprivate', 'ro', 'rro']);
  });
});

describe('a read-only mount of a file', () => {
  it('has nothing below it to make read-only', () => {
    const { options } = formatMount({
      source: '/s',
      destination: '/d',
      volume: { kind: 'bind', path: '/s', ensure: 'file' },
      isReadOnly: true,
      isFolder: false,
    });
    assert.deepEqual(options, ['rbind', 'rprivate', 'ro']);
  });
});

describe('checkFiles', () => {
  for (const path of [
    '',
    '/a',
    '..',
    '../a',
    'a/../b',
    'a//b',
    'a/',
    './a',
    '..a',
    '..data/x',
    'a\0',
    'x'.repeat(1_025),
  ]) {
    it(`refuses ${JSON.stringify(path.slice(0, 20))}`, () =>
      assert.throws(() => checkFiles('v', [{ path, dataBase64: '', mode: 0o644 }]), ContainerConfigError));
  }
  it('takes names with dots, and folders', () =>
    checkFiles(
      'v',
      ['.a', 'a..b', 'c/.d', 'c/..e'].map((path) => ({ path, dataBase64: '', mode: 0o644 })),
    ));
});
