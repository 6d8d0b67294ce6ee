/**
 * Docker-style seccomp profiles (conditions on capabilities, architectures and kernel) resolved to the plain form of
 * the OCI runtime specification. Pure. An unresolved file must never reach crun: it ignores the conditions.
 * Source: the comments of moby's profiles/seccomp and of containers/common's pkg/seccomp.
 */
import { isObject, type Json } from './json.ts';

export interface SeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number | undefined;
  readonly op: string;
}

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number | undefined;
  readonly args?: readonly SeccompArg[] | undefined;
}

/** `linux.seccomp` of an OCI configuration. */
export interface Seccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number | undefined;
  readonly architectures: readonly string[];
  readonly syscalls: readonly SeccompRule[];
}

export interface SeccompTarget {
  readonly capabilities: readonly string[];
  /** Node's process.arch. */
  readonly arch: string;
  /** uname release, 6.1.0-18-amd64. */
  readonly kernelRelease: string;
}

/** Node's architecture names as profiles write them: Go's in conditions, libseccomp's in archMap. */
const archNames: Readonly<Record<string, { readonly go: string; readonly libseccomp: string }>> = {
  x64: { go: 'amd64', libseccomp: 'SCMP_ARCH_X86_64' },
  arm64: { go: 'arm64', libseccomp: 'SCMP_ARCH_AARCH64' },
};

function objects(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function kernelAtLeast(release: string, wanted: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function applies(rule: Json, target: SeccompTarget, goArch: string): boolean {
  const includes = isObject(rule.includes) ? rule.includes : {};
  const excludes = isObject(rule.excludes) ? rule.excludes : {};
  const includedArches = strings(includes.arches);
  if (includedArches.length > 0 && !includedArches.includes(goArch)) return false;
  if (!strings(includes.caps).every((cap) => target.capabilities.includes(cap))) return false;
  if (typeof includes.minKernel === 'string' && !kernelAtLeast(target.kernelRelease, includes.minKernel)) return false;
  if (strings(excludes.arches).includes(goArch)) return false;
  if (strings(excludes.caps).some((cap) => target.capabilities.includes(cap))) return false;
  return !(typeof excludes.minKernel === 'string' && kernelAtLeast(target.kernelRelease, excludes.minKernel));
}

const actions: readonly string[] = [
  ...['SCMP_ACT_KILL', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_TRAP', 'SCMP_ACT_ERRNO'],
  ...['SCMP_ACT_TRACE', 'SCMP_ACT_ALLOW', 'SCMP_ACT_LOG'],
];

function checkAction(action: string): void {
  if (actions.includes(action)) return;
  throw new TypeError(`the seccomp profile has the action "${action}"; use one of ${actions.join(', ')}`);
}

function parseArg(arg: Json): SeccompArg {
  const { index, value, valueTwo, op } = arg;
  if (typeof index !== 'number' || typeof value !== 'number' || typeof op !== 'string') {
    throw new TypeError(`the seccomp profile has an argument that cannot be read: ${JSON.stringify(arg)}`);
  }
  return { index, value, op, ...(typeof valueTwo === 'number' && valueTwo !== 0 ? { valueTwo } : {}) };
}

function parseRule(rule: Json): SeccompRule {
  const names = [...strings(rule.names), ...(typeof rule.name === 'string' ? [rule.name] : [])];
  if (names.length === 0 || typeof rule.action !== 'string') {
    throw new TypeError(`the seccomp profile has a rule without names or action: ${JSON.stringify(rule)}`);
  }
  checkAction(rule.action);
  const args = objects(rule.args).map(parseArg);
  return {
    names,
    action: rule.action,
    ...(typeof rule.errnoRet === 'number' ? { errnoRet: rule.errnoRet } : {}),
    ...(args.length > 0 ? { args } : {}),
  };
}

/** Throws TypeError if the profile is not one, or the architecture is unknown to us. */
export function resolveSeccomp(profile: unknown, target: SeccompTarget): Seccomp {
  const arch = archNames[target.arch];
  if (arch === undefined) throw new TypeError(`no seccomp architecture is known for ${target.arch}`);
  if (!isObject(profile) || typeof profile.defaultAction !== 'string') {
    throw new TypeError('the seccomp profile is no object with a defaultAction; correct it or install it again');
  }
  checkAction(profile.defaultAction);
  const mapped = objects(profile.archMap).find((entry) => entry.architecture === arch.libseccomp);
  // A plain profile of the OCI specification lists them itself.
  const listed = strings(profile.architectures).filter((name) => name !== arch.libseccomp);
  return {
    defaultAction: profile.defaultAction,
    ...(typeof profile.defaultErrnoRet === 'number' ? { defaultErrnoRet: profile.defaultErrnoRet } : {}),
    architectures: [arch.libseccomp, ...(mapped === undefined ? listed : strings(mapped.subArchitectures))],
    syscalls: objects(profile.syscalls)
      .filter((rule) => applies(rule, target, arch.go))
      .map(parseRule),
  };
}

/** System calls that Docker's profile ties to a capability and that of containers/common, made for podman, does not. */
const dockerTies: readonly { readonly capability: string; readonly names: readonly string[] }[] = [
  {
    capability: 'CAP_SYS_ADMIN',
    names: [
      ...['fsconfig', 'fsmount', 'fsopen', 'fspick', 'mount', 'mount_setattr', 'move_mount', 'open_tree', 'pivot_root'],
      ...['setns', 'umount', 'umount2', 'unshare'],
    ],
  },
  { capability: 'CAP_SYSLOG', names: ['syslog'] },
  { capability: 'CAP_SYS_PTRACE', names: ['pidfd_getfd'] },
  { capability: 'CAP_SYS_NICE', names: ['get_mempolicy', 'mbind', 'set_mempolicy', 'set_mempolicy_home_node'] },
  { capability: 'CAP_SYS_BOOT', names: ['reboot'] },
];

/** Docker allows these to nobody by default: the kernel's key rings know no namespaces. */
const neverAllowed = ['add_key', 'keyctl', 'request_key'];

/**
 * Address families beyond 11 that Docker allows sockets of. Not there: the machine's host (AF_VSOCK, which knows no
 * network namespace), the kernel's ciphers (AF_ALG, with a history of faults), and what nobody uses any more.
 */
const socketFamilies = [
  13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
];
const AF_NETLINK = 16;
const NETLINK_AUDIT = 9;

/** A rule for each, since a family that is refused cannot be told apart once all are allowed. */
function socketRules(capabilities: readonly string[]): readonly SeccompRule[] {
  const family = (value: number, op: string, ...more: readonly SeccompArg[]): SeccompRule => ({
    names: ['socket'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, value, op }, ...more],
  });
  const noAudit: SeccompArg = { index: 2, value: NETLINK_AUDIT, op: 'SCMP_CMP_NE' };
  const mayAudit = capabilities.includes('CAP_AUDIT_WRITE');
  return [
    family(12, 'SCMP_CMP_LT'),
    ...socketFamilies.map((value) =>
      value === AF_NETLINK && !mayAudit ? family(value, 'SCMP_CMP_EQ', noAudit) : family(value, 'SCMP_CMP_EQ'),
    ),
  ];
}

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. */
const namespaceFlags = 0x7e020000;
const EPERM = 1;
const ENOSYS = 38;

/**
 * Makes a resolved profile at least as strict as Docker's: no mounting and no new namespaces (so no new user namespace
 * either, behind which most kernel faults lie) without CAP_SYS_ADMIN. clone3 hides its flags behind a pointer, so it
 * answers ENOSYS and C libraries fall back to clone.
 */
export function restrictAsDocker(seccomp: Seccomp, capabilities: readonly string[]): Seccomp {
  const refused = dockerTies.filter((tie) => !capabilities.includes(tie.capability)).flatMap((tie) => tie.names);
  const mayAdminister = capabilities.includes('CAP_SYS_ADMIN');
  const taken = new Set([...refused, ...neverAllowed, 'socket', ...(mayAdminister ? [] : ['clone', 'clone3'])]);
  const kept = seccomp.syscalls.flatMap((rule) => {
    const names = rule.names.filter((name) => !taken.has(name));
    return names.length === 0 ? [] : [{ ...rule, names }];
  });
  const refusal: SeccompRule = { names: [...refused, ...neverAllowed], action: 'SCMP_ACT_ERRNO', errnoRet: EPERM };
  const cloneRules: SeccompRule[] = [
    {
      names: ['clone'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, value: namespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    },
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ];
  return {
    ...seccomp,
    syscalls: [...kept, refusal, ...socketRules(capabilities), ...(mayAdminister ? [] : cloneRules)],
  };
}
