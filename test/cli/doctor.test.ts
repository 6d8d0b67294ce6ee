import assert from 'node:assert/strict';
import { diagnose, formatFindings, type HostFacts } from '../../cli/index.ts';

const healthy: HostFacts = {
  uid: 0,
  nodeVersion: 'v26.10.0',
  programs: Object.fromEntries(
    [
      ...['crun', 'runc', 'conmon', 'skopeo', 'containers-storage', 'nft', 'iptables', 'ip', 'openssl', 'perl'],
      ...['dnsmasq', 'conntrack', 'tini-static'],
    ].map((name) => [name, true]),
  ),
  files: { '/usr/lib/cni/bridge': true, '/usr/lib/cni/host-local': true, '/usr/share/containers/seccomp.json': true },
  filesystems: 'nodev\tproc\nnodev\toverlay\n',
  namespaces: Object.fromEntries(['pid', 'mnt', 'net', 'uts', 'ipc', 'cgroup'].map((name) => [name, true])),
  cgroups: { layout: 'v2', unboundControllers: [] },
  freeBytes: 1e10,
  dataDir: '/data',
};

const ill: { it: string; facts: Partial<HostFacts>; problem: RegExp; fix: RegExp; severity?: 'warning' }[] = [
  { it: 'a user who is not root', facts: { uid: 1000 }, problem: /user 1000/, fix: /sudo/ },
  { it: 'an old Node', facts: { nodeVersion: 'v20.1.0' }, problem: /v20\.1\.0/, fix: /make setup/ },
  {
    it: 'missing programs, with their packages',
    facts: { programs: { ...healthy.programs, conmon: false, nft: false } },
    problem: /conmon \(package conmon\), nft \(package nftables\)/,
    fix: /apt-get install conmon nftables/,
  },
  {
    it: 'a missing resolver, without which containers run',
    facts: { programs: { ...healthy.programs, dnsmasq: false } },
    problem: /dnsmasq is missing, so containers cannot find each other by name/,
    fix: /apt-get install dnsmasq-base/,
    severity: 'warning',
  },
  {
    it: 'missing CNI plugins, their package once',
    facts: { files: { '/usr/share/containers/seccomp.json': true } },
    problem: /\/usr\/lib\/cni\/bridge/,
    fix: /apt-get install containernetworking-plugins`/,
  },
  {
    it: 'no overlay file system',
    facts: { filesystems: 'nodev\tproc\n' },
    problem: /overlay/,
    fix: /modprobe overlay/,
  },
  {
    it: 'no network namespaces',
    facts: { namespaces: { ...healthy.namespaces, net: false } },
    problem: /no net namespaces/,
    fix: /kernel/,
  },
  {
    it: 'no cgroups',
    facts: { cgroups: { layout: 'none', unboundControllers: [] } },
    problem: /no cgroup/,
    fix: /make setup/,
  },
  {
    it: 'a hybrid layout that crun refuses',
    facts: { cgroups: { layout: 'hybrid', unboundControllers: ['hugetlb'] } },
    problem: /hugetlb/,
    fix: /make setup/,
  },
  {
    it: 'a full disk',
    facts: { freeBytes: 1e6 },
    problem: /\/data has only 1 MiB free/,
    fix: /free some space/,
    severity: 'warning',
  },
];

describe('diagnose', () => {
  it('finds nothing on a healthy host', () => {
    assert.deepEqual(diagnose(healthy), []);
    assert.match(formatFindings([]), /has all that Holdfast needs/);
  });
  it('is content with runc in the place of crun', () =>
    assert.deepEqual(diagnose({ ...healthy, programs: { ...healthy.programs, crun: false } }), []));
  it('is content with a hybrid layout whose controllers are all bound', () =>
    assert.deepEqual(diagnose({ ...healthy, cgroups: { layout: 'hybrid', unboundControllers: [] } }), []));
  for (const { it: what, facts, problem, fix, severity } of ill) {
    it(`finds ${what}, and says how to mend it`, () => {
      const [finding, ...more] = diagnose({ ...healthy, ...facts });
      assert.deepEqual(more, []);
      assert.match(finding?.problem ?? '', problem);
      assert.match(finding?.fix ?? '', fix);
      assert.equal(finding?.severity, severity ?? 'error');
    });
  }
});
