import assert from 'node:assert/strict';
import { parseSecurity } from '../../controller/security.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import { desired, spec } from './fixtures.ts';

type Context = ContainerSpec['securityContext'];
const context = (change: Partial<Context>): Partial<ContainerSpec> => ({
  securityContext: { readOnlyRootFilesystem: false, ...change },
});

const refused: { it: string; given: Partial<ContainerSpec>; says: RegExp }[] = [
  {
    it: 'a capability that is none',
    given: context({ capabilities: { add: ['NET_ADMIN', 'FLY'] } }),
    says: /^spec\.securityContext\.capabilities\.add: "FLY" is not a capability/,
  },
  {
    it: 'the same among those dropped',
    given: context({ capabilities: { drop: ['cap_fly'] } }),
    says: /^spec\.securityContext\.capabilities\.drop: "cap_fly"/,
  },
  {
    it: 'a profile outside of its folder',
    given: context({ seccompProfile: { type: 'Localhost', localhostProfile: '../../etc/shadow' } }),
    says: /^spec\.securityContext\.seccompProfile\.localhostProfile: "\.\.\/\.\.\/etc\/shadow" leads out/,
  },
  {
    it: 'a profile by its full path',
    given: context({ seccompProfile: { type: 'Localhost', localhostProfile: '/etc/shadow' } }),
    says: /localhostProfile: "\/etc\/shadow" leads out/,
  },
  {
    it: 'a profile that is not named',
    given: context({ seccompProfile: { type: 'Localhost' } }),
    says: /localhostProfile: it is missing/,
  },
  {
    it: 'a file for another kind of profile',
    given: context({ seccompProfile: { type: 'Unconfined', localhostProfile: 'x.json' } }),
    says: /the type is Unconfined/,
  },
  {
    it: 'a kernel parameter of the host',
    given: context({ sysctls: [{ name: 'kernel.panic', value: '1' }] }),
    says: /^spec\.securityContext\.sysctls: kernel\.panic counts for the whole host/,
  },
  {
    it: 'a kernel parameter of the host by a path',
    given: context({ sysctls: [{ name: 'net.../../kernel/panic', value: '1' }] }),
    says: /sysctls: net\.\.\.\/\.\.\/kernel\/panic is not a kernel parameter/,
  },
  {
    it: 'a kernel parameter given twice',
    given: context({
      sysctls: [
        { name: 'net.core.somaxconn', value: '1' },
        { name: 'net.core.somaxconn', value: '2' },
      ],
    }),
    says: /net\.core\.somaxconn is given twice/,
  },
  {
    it: "an IPC parameter of the host's IPC",
    given: { hostIPC: true, ...context({ sysctls: [{ name: 'kernel.shmmax', value: '1' }] }) },
    says: /kernel\.shmmax would change IPC of the host/,
  },
  {
    it: 'a soft limit above the hard one',
    given: context({ ulimits: [{ name: 'nofile', soft: 10, hard: 5 }] }),
    says: /^spec\.securityContext\.ulimits: the soft limit 10 of nofile is above the hard one, 5/,
  },
  {
    it: 'a device by a relative path',
    given: context({ devices: [{ hostPath: '/dev/../etc/shadow', permissions: 'r' }] }),
    says: /^spec\.securityContext\.devices: "\/dev\/\.\.\/etc\/shadow"/,
  },
  {
    it: 'a permission twice',
    given: context({ devices: [{ hostPath: '/dev/fuse', permissions: 'rr' }] }),
    says: /devices: "rr"/,
  },
  {
    it: 'a masked path that leads up',
    given: context({ maskedPaths: ['/proc/../etc'] }),
    says: /^spec\.securityContext\.maskedPaths: "\/proc\/\.\.\/etc"/,
  },
  {
    it: 'a read-only path with mounts below it',
    given: context({ readonlyPaths: ['/sys/fs'] }),
    says: /^spec\.securityContext\.readonlyPaths: "\/sys\/fs" is not a part/,
  },
  {
    it: 'both unmasking and paths to mask',
    given: context({ procMount: 'Unmasked', maskedPaths: ['/proc/kcore'] }),
    says: /^spec\.securityContext\.procMount/,
  },
  {
    it: 'a user namespace for a privileged container',
    given: { hostUsers: false, ...context({ privileged: true }) },
    says: /^spec\.securityContext\.privileged: cannot be had together with a user namespace/,
  },
  {
    it: "a user namespace beside the host's processes",
    given: { hostUsers: false, hostPID: true },
    says: /^spec\.hostPID \(with hostUsers: false\)/,
  },
  {
    it: 'swap without memory',
    given: { resources: { limits: { pids: 1, swap: '1Gi' } } },
    says: /^spec\.resources\.limits: a limit of swap means nothing/,
  },
  {
    it: 'a request above the limit',
    given: { resources: { limits: { pids: 1, cpu: '500m' }, requests: { cpu: 1 } } },
    says: /^spec\.resources\.requests\.cpu: 1 is more than spec\.resources\.limits\.cpu "500m"/,
  },
  {
    it: "a size of the host's /dev/shm",
    given: { hostIPC: true, shmSize: '1Mi' },
    says: /^spec\.shmSize: the host's IPC/,
  },
];

describe('parseSecurity', () => {
  for (const { it: what, given, says } of refused) {
    it(`refuses ${what}, naming the field`, () => {
      const { problems } = parseSecurity({ ...spec, ...given });
      assert.equal(problems.length, 1, problems.join('\n'));
      assert.match(problems[0] ?? '', says);
    });
  }

  it('says nothing to the runtime where all is as by default, so that older containers stay as they are', () => {
    const { config, problems } = parseSecurity({ ...spec, ...context({ capabilities: { add: [] }, devices: [] }) });
    assert.deepEqual(
      [config.security, config.namespaces, config.shmSizeBytes, problems],
      [undefined, undefined, undefined, []],
    );
  });

  it('turns all of it into the words of the runtime', () => {
    const { config, problems } = parseSecurity({
      ...spec,
      hostPID: true,
      shmSize: '1Mi',
      resources: { limits: { pids: 5, memory: '8Mi', swap: '1Mi', cpu: 2 }, requests: { cpu: '100m' } },
      ...context({
        capabilities: { add: ['net_admin', 'CAP_SYS_TIME'], drop: ['ALL'] },
        allowPrivilegeEscalation: false,
        seccompProfile: { type: 'Localhost', localhostProfile: 'web/strict.json' },
        maskedPaths: [],
        readonlyPaths: ['/proc/sys'],
        devices: [{ hostPath: '/dev/fuse', permissions: 'rw' }],
        sysctls: [{ name: 'net.core.somaxconn', value: '1024' }],
        ulimits: [{ name: 'nofile', soft: 64 }],
      }),
    });
    assert.deepEqual(problems, []);
    assert.deepEqual(config, {
      namespaces: { pid: 'host', ipc: undefined, network: undefined, user: undefined },
      shmSizeBytes: 1_048_576,
      limits: { cpuMillis: 2_000, cpuRequestMillis: 100, memoryBytes: 8 * 2 ** 20, swapBytes: 1_048_576, pids: 5 },
      security: {
        isPrivileged: undefined,
        addCapabilities: ['net_admin', 'CAP_SYS_TIME'],
        dropCapabilities: ['ALL'],
        noNewPrivileges: true,
        seccomp: { kind: 'file', path: 'web/strict.json' },
        devices: [{ hostPath: '/dev/fuse', path: '/dev/fuse', permissions: 'rw' }],
        sysctls: { 'net.core.somaxconn': '1024' },
        ulimits: [{ name: 'nofile', soft: 64, hard: 64 }],
        maskedPaths: [],
        readonlyPaths: ['/proc/sys'],
      },
    });
  });

  it('replaces the container for all of it but the limits', () => {
    const hash = (given: Partial<ContainerSpec>): string => desired({ spec: given }).specHash;
    const plain = hash({});
    for (const given of [context({ privileged: true }), { hostPID: true }, { hostUsers: false }, { shmSize: '1Mi' }]) {
      assert.notEqual(hash(given), plain);
    }
    const limits = { pids: 9, memory: '8Mi', swap: '1Mi', cpu: 1 };
    assert.equal(hash({ resources: { limits, requests: { cpu: 1 } } }), plain);
  });
});
