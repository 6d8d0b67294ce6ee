import assert from 'node:assert/strict';
import { readFields } from '../../docker/fields.ts';
import { anonymousLabel, type MountsContext, parseMounts } from '../../docker/mounts-spec.ts';
import { formatMounts } from '../../docker/mounts-view.ts';
import { spec as baseSpec } from '../controller/fixtures.ts';

const anonymous = 'e'.repeat(64);
const other = {
  ...baseSpec,
  volumes: [
    { name: 'a', volume: { name: 'data', reclaimPolicy: 'Delete' as const } },
    { name: 'b', hostPath: { path: '/srv', type: '' as const } },
    { name: 'c', emptyDir: { medium: '' as const } },
  ],
  volumeMounts: [
    { name: 'a', mountPath: '/data', readOnly: false },
    { name: 'b', mountPath: '/srv', readOnly: true },
    { name: 'c', mountPath: '/scratch', readOnly: false },
  ],
};
const context: MountsContext = {
  observePath: (path) => (path === '/etc/hosts' ? 'other' : path === '/gone' ? 'missing' : 'directory'),
  findContainer: (name) =>
    name === 'other'
      ? { spec: other, imageVolumes: [] }
      : name === 'own'
        ? { spec: baseSpec, imageVolumes: ['/db'] }
        : undefined,
  randomID: () => anonymous,
};

function parse(body: unknown) {
  const problems: string[] = [];
  const config = readFields(body, '', problems);
  return { ...parseMounts(config, config.object('HostConfig'), context), problems };
}

const named = (name: string, reclaimPolicy: 'Retain' | 'Delete' = 'Retain') => ({ volume: { name, reclaimPolicy } });

const good: { it: string; given: unknown; want: readonly (readonly [source: object, mount: object])[] }[] = [
  { it: 'asks for nothing by default', given: { HostConfig: { Binds: null, Mounts: [], Tmpfs: {} } }, want: [] },
  {
    it: 'binds a folder of the host, which is made if need be',
    given: { HostConfig: { Binds: ['/srv/:/data/x/:ro'] } },
    want: [[{ hostPath: { path: '/srv', type: 'DirectoryOrCreate' } }, { mountPath: '/data/x', readOnly: true }]],
  },
  {
    it: 'binds a file of the host as it is',
    given: { HostConfig: { Binds: ['/etc/hosts:/h:ro,Z'] } },
    want: [[{ hostPath: { path: '/etc/hosts', type: '' } }, { mountPath: '/h', readOnly: true }]],
  },
  {
    it: 'mounts a named volume',
    given: { HostConfig: { Binds: ['My_data.1:/data'] } },
    want: [[named('My_data.1'), { mountPath: '/data', readOnly: false }]],
  },
  {
    it: 'makes a volume for a bare path, and none where something is mounted',
    given: { Volumes: { '/run/lock/apache2/': {}, '/data': {} }, HostConfig: { Binds: ['data:/data'] } },
    want: [
      [named('data'), { mountPath: '/data', readOnly: false }],
      [named(anonymous), { mountPath: '/run/lock/apache2', readOnly: false }],
    ],
  },
  {
    it: 'lets a volume of a bare path go with a container that goes by itself',
    given: { Volumes: { '/x': {} }, HostConfig: { AutoRemove: true } },
    want: [[named(anonymous, 'Delete'), { mountPath: '/x', readOnly: false }]],
  },
  {
    it: 'mounts memory',
    given: { HostConfig: { Tmpfs: { '/run': 'rw,noexec,nosuid,size=64m,mode=1770', '/tmp': '' } } },
    want: [
      [{ tmpfs: { sizeLimit: 64 * 2 ** 20, mode: 0o1770 } }, { mountPath: '/run', readOnly: false }],
      [{ tmpfs: {} }, { mountPath: '/tmp', readOnly: false }],
    ],
  },
  {
    it: 'reads Mounts of all types',
    given: {
      HostConfig: {
        Mounts: [
          { Type: 'bind', Source: '/srv', Target: '/a', ReadOnly: true },
          { Type: 'volume', Source: 'data', Target: '/b', VolumeOptions: { Subpath: 'x' } },
          { Type: 'tmpfs', Target: '/c', TmpfsOptions: { SizeBytes: 4096, Mode: 448 } },
        ],
      },
    },
    want: [
      [{ hostPath: { path: '/srv', type: 'DirectoryOrCreate' } }, { mountPath: '/a', readOnly: true }],
      [named('data'), { mountPath: '/b', readOnly: false, subPath: 'x' }],
      [{ tmpfs: { sizeLimit: 4096, mode: 448 } }, { mountPath: '/c', readOnly: false }],
    ],
  },
  {
    it: 'borrows the volumes of another container, which goes on to own them',
    given: { HostConfig: { VolumesFrom: ['other:ro'], Binds: ['mine:/srv'] } },
    want: [
      [named('data'), { mountPath: '/data', readOnly: true }],
      [named('mine'), { mountPath: '/srv', readOnly: false }],
    ],
  },
];

const bad: { given: unknown; want: RegExp }[] = [
  { given: { HostConfig: { Binds: 7 } }, want: /^HostConfig.Binds: must be a list of texts/ },
  { given: { HostConfig: { Binds: ['a:b:c:d'] } }, want: /invalid volume specification: 'a:b:c:d'/ },
  { given: { HostConfig: { Binds: ['data:x'] } }, want: /invalid mount path: 'x' mount path must be absolute/ },
  { given: { HostConfig: { Binds: ['data:/'] } }, want: /destination can't be '\/'/ },
  { given: { HostConfig: { Binds: ['a/b:/x'] } }, want: /"a\/b" includes invalid characters for a local volume name/ },
  { given: { HostConfig: { Binds: ['a:/x'] } }, want: /volume name is too short/ },
  { given: { HostConfig: { Binds: ['/a:/x:nocopy'] } }, want: /"nocopy" in '\/a:\/x:nocopy' is not supported/ },
  { given: { HostConfig: { Binds: ['/a:/x:zz'] } }, want: /invalid mode: zz/ },
  { given: { HostConfig: { Binds: ['aa:/x', 'bb:/x'] } }, want: /Duplicate mount point: \/x/ },
  {
    given: { HostConfig: { Mounts: [{ Type: 'bind', Source: '/gone', Target: '/x' }] } },
    want: /invalid mount config for type "bind": bind source path does not exist: \/gone/,
  },
  { given: { HostConfig: { Mounts: [{ Type: 'npipe', Target: '/x' }] } }, want: /mount type "npipe" is not supported/ },
  { given: { HostConfig: { Mounts: [7] } }, want: /^HostConfig.Mounts\[0\]: must be an object/ },
  {
    given: {
      HostConfig: { Mounts: [{ Type: 'volume', Target: '/x', VolumeOptions: { DriverConfig: { Name: 'nfs' } } }] },
    },
    want: /DriverConfig.Name: "nfs" cannot be honoured/,
  },
  { given: { HostConfig: { Tmpfs: { '/x': 'exec' } } }, want: /the option "exec" is not supported/ },
  { given: { HostConfig: { VolumesFrom: ['own'] } }, want: /"own" has a volume at \/db that its image declares/ },
];

describe('docker: the volumes of a container that are asked for', () => {
  for (const { it: title, given, want } of good) {
    it(title, () => {
      const parsed = parse(given);
      assert.deepEqual(parsed.problems, []);
      const { volumes = [], volumeMounts = [] } = parsed.spec;
      const seen = volumeMounts.map(({ name, ...mount }) => {
        const { name: _, ...source } = volumes.find((volume) => volume.name === name) ?? { name };
        return [source, mount];
      });
      assert.deepEqual(seen, want);
    });
  }
  for (const { given, want } of bad) {
    it(`refuses ${JSON.stringify(given)} by name`, () => assert.match(parse(given).problems.join('; '), want));
  }
  it('names a container that is not there', () =>
    assert.throws(() => parse({ HostConfig: { VolumesFrom: ['nope:ro'] } }), /^DockerError: No such container: nope$/));
  it('says which volumes are to be made, and that nobody named them', () =>
    assert.deepEqual(parse({ Volumes: { '/x': {} } }).newVolumes, [
      { name: anonymous, labels: { [anonymousLabel]: '' } },
    ]));
});

describe('docker: the mounts of a container that are shown', () => {
  it('shows volumes, paths of the host, memory, and what the image declares', () => {
    const spec = {
      volumes: [...other.volumes, { name: 'd', tmpfs: {} }],
      volumeMounts: [...other.volumeMounts, { name: 'd', mountPath: '/tmp', readOnly: false }],
    };
    const mounts = formatMounts({
      spec,
      imageVolumes: ['/data', '/var/lib/x'],
      pathOf: (name) => `/volumes/${name}`,
      ownVolume: (of) => ({ name: 'imagePath' in of ? 'i'.repeat(64) : 'o'.repeat(64), path: '/own' }),
    });
    const volume = { Type: 'volume', Driver: 'local', Mode: 'z', RW: true, Propagation: '' };
    assert.deepEqual(mounts, [
      { ...volume, Name: 'data', Source: '/volumes/data', Destination: '/data' },
      { ...volume, Name: 'o'.repeat(64), Source: '/own', Destination: '/scratch' },
      { Type: 'bind', Source: '/srv', Destination: '/srv', Mode: 'ro', RW: false, Propagation: 'rprivate' },
      { Type: 'tmpfs', Source: '', Destination: '/tmp', Mode: '', RW: true, Propagation: '' },
      { ...volume, Name: 'i'.repeat(64), Source: '/own', Destination: '/var/lib/x' },
    ]);
  });
});
