/** Namespaces, capabilities and the like of HostConfig as those of a spec, and back. Pure. */
import type { ContainerSpec } from '../crds/index.ts';
import type { Fields } from './fields.ts';

type Security = ContainerSpec['securityContext'];
type Ulimit = NonNullable<Security['ulimits']>[number];
type Part = Partial<Pick<ContainerSpec, 'hostPID' | 'hostIPC'>> & { readonly securityContext: Partial<Security> };

const ulimitNames: readonly Ulimit['name'][] = [
  'as',
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
];

export function parseSecurity(_config: Fields, host: Fields): Part {
  const pidMode = host.text('PidMode');
  const ipcMode = host.text('IpcMode');
  if (pidMode !== undefined && pidMode !== 'host')
    host.problem('PidMode', `"${pidMode}" cannot be honoured: only the host's processes can be shared; use host`);
  if (ipcMode !== undefined && !['host', 'private', 'shareable'].includes(ipcMode))
    host.problem('IpcMode', `"${ipcMode}" cannot be honoured: use host or private`);
  host.refuse('UTSMode', [], "the host's name cannot be shared; give --hostname");
  host.refuse('UsernsMode', ['host'], 'leave it out');
  host.refuse('CgroupnsMode', ['private'], 'each container has a cgroup namespace of its own; leave it out');
  host.refuse('OomScoreAdj', [], 'it cannot be set; leave it out');
  const capabilities = { add: host.texts('CapAdd'), drop: host.texts('CapDrop') };
  const sysctls = Object.entries(host.textMap('Sysctls')).map(([name, value]) => ({ name, value }));
  const devices = host.objects('Devices').map((device) => {
    const hostPath = device.text('PathOnHost') ?? '';
    const containerPath = device.text('PathInContainer');
    const permissions = device.text('CgroupPermissions') ?? 'rwm';
    device.finish();
    return { hostPath, containerPath, permissions };
  });
  const ulimits = host.objects('Ulimits').flatMap((limit): Ulimit[] => {
    const name = limit.text('Name');
    const soft = limit.integer('Soft') ?? 0;
    const hard = limit.integer('Hard');
    limit.finish();
    const known = ulimitNames.find((one) => one === name);
    if (known !== undefined) return [{ name: known, soft, hard }];
    limit.problem('Name', `invalid ulimit type: ${name}`);
    return [];
  });
  const groups = host.texts('GroupAdd') ?? [];
  for (const group of groups)
    if (!/^\d{1,10}$/.test(group)) host.problem('GroupAdd', `"${group}" is a name; give the group's number`);
  const maskedPaths = host.texts('MaskedPaths');
  const readonlyPaths = host.texts('ReadonlyPaths');
  return {
    ...(pidMode === 'host' ? { hostPID: true } : {}),
    ...(ipcMode === 'host' ? { hostIPC: true } : {}),
    securityContext: {
      ...(host.flag('ReadonlyRootfs') ? { readOnlyRootFilesystem: true } : {}),
      ...(host.flag('Privileged') ? { privileged: true } : {}),
      ...(capabilities.add === undefined && capabilities.drop === undefined ? {} : { capabilities }),
      ...(sysctls.length === 0 ? {} : { sysctls }),
      ...(devices.length === 0 ? {} : { devices }),
      ...(ulimits.length === 0 ? {} : { ulimits }),
      ...(groups.length === 0 ? {} : { supplementalGroups: groups.map(Number) }),
      ...(maskedPaths === undefined ? {} : { maskedPaths }),
      ...(readonlyPaths === undefined ? {} : { readonlyPaths }),
      ...parseOptions(host),
    },
  };
}

/** --security-opt. Source: moby daemon/daemon_unix.go, parseSecurityOpt. */
function parseOptions(host: Fields): Partial<Security> {
  const options: { -readonly [Name in keyof Security]?: Security[Name] } = {};
  for (const option of host.texts('SecurityOpt') ?? []) {
    const [name = '', value = ''] = option.split(/[=:](.*)/s, 2);
    switch (name) {
      case 'no-new-privileges':
        options.allowPrivilegeEscalation = value === 'false';
        break;
      case 'seccomp':
        if (value === 'unconfined') options.seccompProfile = { type: 'Unconfined' };
        else if (value !== 'builtin')
          host.problem(
            'SecurityOpt',
            'seccomp: a profile has to be a file of the host; use unconfined or builtin, or set securityContext.seccompProfile with kubectl',
          );
        break;
      case 'apparmor':
        if (value !== 'unconfined') host.problem('SecurityOpt', 'apparmor: profiles cannot be set; leave it out');
        break;
      case 'label':
        if (value !== 'disable') host.problem('SecurityOpt', 'label: SELinux labels cannot be set; leave it out');
        break;
      case 'systempaths':
        if (value === 'unconfined') options.procMount = 'Unmasked';
        else host.problem('SecurityOpt', `systempaths: "${value}" is not known; use unconfined`);
        break;
      default:
        host.problem('SecurityOpt', `invalid --security-opt 2: "${option}"`);
    }
  }
  return options;
}

/** As HostConfig has them. */
export function formatSecurity({ securityContext: security, hostPID, hostIPC, hostUsers }: ContainerSpec): object {
  return {
    Privileged: security.privileged ?? false,
    ReadonlyRootfs: security.readOnlyRootFilesystem,
    CapAdd: security.capabilities?.add ?? null,
    CapDrop: security.capabilities?.drop ?? null,
    GroupAdd: security.supplementalGroups?.map(String) ?? null,
    PidMode: hostPID ? 'host' : '',
    IpcMode: hostIPC ? 'host' : 'private',
    UTSMode: '',
    UsernsMode: hostUsers ? '' : 'private',
    CgroupnsMode: 'private',
    SecurityOpt: formatOptions(security),
    Sysctls: Object.fromEntries((security.sysctls ?? []).map(({ name, value }) => [name, value])),
    Ulimits: (security.ulimits ?? []).map(({ name, soft, hard = soft }) => ({ Name: name, Soft: soft, Hard: hard })),
    Devices: (security.devices ?? []).map(({ hostPath, containerPath = hostPath, permissions }) => ({
      PathOnHost: hostPath,
      PathInContainer: containerPath,
      CgroupPermissions: permissions,
    })),
    ...(security.maskedPaths === undefined ? {} : { MaskedPaths: security.maskedPaths }),
    ...(security.readonlyPaths === undefined ? {} : { ReadonlyPaths: security.readonlyPaths }),
  };
}

function formatOptions(security: Security): readonly string[] | null {
  const options = [
    ...(security.allowPrivilegeEscalation === false ? ['no-new-privileges'] : []),
    ...(security.seccompProfile?.type === 'Unconfined' ? ['seccomp=unconfined'] : []),
    ...(security.procMount === 'Unmasked' ? ['systempaths=unconfined'] : []),
  ];
  return options.length === 0 ? null : options;
}
