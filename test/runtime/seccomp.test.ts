import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { defaultCapabilities } from '../../runtime/capabilities.ts';
import { resolveSeccomp, restrictAsDocker } from '../../runtime/seccomp.ts';

const target = { capabilities: ['CAP_CHOWN'], arch: 'x64', kernelRelease: '6.1.0-18-amd64' };

describe('resolveSeccomp', () => {
  const rule = (conditions: object): object => ({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [{ names: ['one'], action: 'SCMP_ACT_ALLOW', ...conditions }],
  });
  const cases = [
    { it: 'keeps a rule without conditions', given: {}, want: true },
    { it: 'keeps one whose capability is there', given: { includes: { caps: ['CAP_CHOWN'] } }, want: true },
    { it: 'drops one whose capability is missing', given: { includes: { caps: ['CAP_SYS_ADMIN'] } }, want: false },
    { it: 'drops one of two capabilities', given: { includes: { caps: ['CAP_CHOWN', 'CAP_BPF'] } }, want: false },
    { it: 'drops one excluded by a capability', given: { excludes: { caps: ['CAP_CHOWN'] } }, want: false },
    { it: 'keeps one excluded by another', given: { excludes: { caps: ['CAP_BPF'] } }, want: true },
    { it: 'keeps one for this architecture', given: { includes: { arches: ['amd64', 'x32'] } }, want: true },
    { it: 'drops one for another', given: { includes: { arches: ['s390x'] } }, want: false },
    { it: 'drops one excluded here', given: { excludes: { arches: ['amd64'] } }, want: false },
    { it: 'keeps one for an older kernel', given: { includes: { minKernel: '4.8' } }, want: true },
    { it: 'keeps one for exactly this kernel', given: { includes: { minKernel: '6.1' } }, want: true },
    { it: 'drops one for a newer kernel', given: { includes: { minKernel: '6.2' } }, want: false },
    { it: 'drops one excluded from this kernel on', given: { excludes: { minKernel: '5.0' } }, want: false },
  ];
  for (const c of cases) {
    it(c.it, () => assert.equal(resolveSeccomp(rule(c.given), target).syscalls.length === 1, c.want));
  }

  it('refuses what is no profile, and an architecture it does not know', () => {
    for (const profile of [undefined, {}, [], { defaultAction: 1 }]) {
      assert.throws(() => resolveSeccomp(profile, target), TypeError);
    }
    assert.throws(() => resolveSeccomp(rule({}), { ...target, arch: 'pdp11' }), /pdp11/);
    assert.throws(() => resolveSeccomp(rule({ names: [] }), target), TypeError);
  });

  it("makes of the host's own profile one as strict as Docker's", () => {
    const profile: unknown = JSON.parse(readFileSync('/usr/share/containers/seccomp.json', 'utf8'));
    const capabilities = defaultCapabilities;
    const resolved = restrictAsDocker(resolveSeccomp(profile, { ...target, capabilities }), capabilities);
    assert.doesNotMatch(JSON.stringify(resolved), /includes|excludes|minKernel/);
    const allowed = new Set(
      resolved.syscalls
        .filter((one) => one.action === 'SCMP_ACT_ALLOW' && one.args === undefined)
        .flatMap((one) => one.names),
    );
    for (const name of ['read', 'execve', 'futex', 'chroot', 'ptrace']) assert.ok(allowed.has(name), name);
    const refused = [
      'mount',
      'umount2',
      'unshare',
      'setns',
      'clone',
      'clone3',
      'bpf',
      'reboot',
      'keyctl',
      'kexec_load',
      'pidfd_getfd',
      'mbind',
      'socket',
    ];
    for (const name of refused) assert.ok(!allowed.has(name), name);
    assert.deepEqual(resolved.architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
    assert.equal(resolved.defaultErrnoRet, 38);
    const clone = resolved.syscalls.find((one) => one.names.includes('clone'));
    assert.equal(clone?.args?.[0]?.op, 'SCMP_CMP_MASKED_EQ');
  });

  it('allows sockets of the families that Docker does, and netlink without audit to one who may not audit', () => {
    const socketRulesFor = (capabilities: readonly string[]) =>
      restrictAsDocker(resolveSeccomp(rule({ names: ['socket', 'read'] }), target), capabilities).syscalls.filter(
        (one) => one.names.includes('socket'),
      );
    const rules = socketRulesFor(['CAP_AUDIT_WRITE']);
    const allows = (family: number): boolean =>
      rules.some(({ args = [] }) =>
        args.every(({ op, value }) => (op === 'SCMP_CMP_LT' ? family < value : family === value)),
      );
    for (const family of [1, 2, 10, 16, 17, 29, 31, 44]) assert.ok(allows(family), String(family));
    for (const family of [12, 38, 40]) assert.ok(!allows(family), String(family));
    const netlink = socketRulesFor([]).filter((one) => one.args?.[0]?.value === 16);
    assert.deepEqual(
      netlink.map((one) => one.args?.[1]),
      [{ index: 2, value: 9, op: 'SCMP_CMP_NE' }],
    );
  });

  it('leaves mounting to one who may administer', () => {
    const profile = resolveSeccomp(rule({ names: ['mount', 'clone'] }), target);
    assert.deepEqual(restrictAsDocker(profile, ['CAP_SYS_ADMIN']).syscalls[0]?.names, ['mount', 'clone']);
  });
});
