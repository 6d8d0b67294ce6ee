/**
 * What a request to create a container says of volumes, as fields of the spec. Pure; what lies on the host is told by the
 * caller. mounts-view.ts is the way back.
 */
import { posix } from 'node:path';
import type { ContainerSpec } from '../crds/index.ts';
import { badParameter } from './docker-error.ts';
import type { Fields } from './fields.ts';

export type SpecVolume = NonNullable<ContainerSpec['volumes']>[number];
export type SpecMount = NonNullable<ContainerSpec['volumeMounts']>[number];

/** As Docker's engine marks a volume that nobody has named. Source: moby, volume/service, AnonymousLabel. */
export const anonymousLabel = 'com.docker.volume.anonymous';

/** A volume that is to be made before the container, with labels. */
export interface NewVolume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface MountsContext {
  /** What is at a path of the host, links followed. */
  readonly observePath: (path: string) => 'missing' | 'directory' | 'other';
  /** The spec of another container by its name or id, and the paths that its image declares; undefined: there is none. */
  readonly findContainer: (
    nameOrID: string,
  ) => { readonly spec: ContainerSpec; readonly imageVolumes: readonly string[] } | undefined;
  /** 64 hexadecimal digits by chance. */
  readonly randomID: () => string;
}

export interface MountsRequest {
  readonly spec: { readonly volumes?: readonly SpecVolume[]; readonly volumeMounts?: readonly SpecMount[] };
  /** In the runtime they are named for the namespace, too. */
  readonly newVolumes: readonly NewVolume[];
}

type Source = Omit<SpecVolume, 'name'>;

interface Wanted {
  readonly source: Source;
  readonly mount: Omit<SpecMount, 'name'>;
}

export const volumeNameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const maxVolumeName = 128;

/** What is wrong with a volume's name, in Docker's words; undefined: nothing. */
export function findNameProblem(name: string): string | undefined {
  if (name.length > maxVolumeName) return `volume name is too long: the most is ${maxVolumeName} characters`;
  if (name.length === 1) return 'volume name is too short, names should be at least two alphanumeric characters';
  if (volumeNameForm.test(name)) return undefined;
  return `"${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`;
}

/** Throws DockerError for a container that is not there; what else is wrong becomes a problem of the fields. */
export function parseMounts(config: Fields, host: Fields, context: MountsContext): MountsRequest {
  const newVolumes: NewVolume[] = [];
  // What --rm makes goes with the container.
  const reclaimPolicy = host.raw('AutoRemove') === true ? 'Delete' : 'Retain';
  const anonymous = (labels: Readonly<Record<string, string>> = {}): Source => {
    const name = context.randomID();
    newVolumes.push({ name, labels: { ...labels, [anonymousLabel]: '' } });
    return { volume: { name, reclaimPolicy } };
  };
  const tools: Tools = { context, host, anonymous, newVolumes };
  const asked = [
    ...(host.texts('Binds') ?? []).flatMap((bind) => parseBind(bind, tools) ?? []),
    ...host.objects('Mounts').flatMap((mount) => parseMount(mount, tools) ?? []),
  ];
  const seen = new Set<string>();
  for (const { mount } of asked) {
    if (seen.has(mount.mountPath)) host.problem('Mounts', `Duplicate mount point: ${mount.mountPath}`);
    seen.add(mount.mountPath);
  }
  const lent = (host.texts('VolumesFrom') ?? []).flatMap((from) => borrow(from, tools));
  const tmpfs = Object.entries(host.textMap('Tmpfs')).flatMap(
    ([path, options]) => parseTmpfs(path, options, host) ?? [],
  );
  // What is asked for in another way wins over what is borrowed, and both over a bare path.
  const wanted = new Map<string, Wanted>();
  for (const one of [...lent, ...asked, ...tmpfs]) wanted.set(one.mount.mountPath, one);
  for (const path of config.keys('Volumes')) {
    const mountPath = parseTarget(path, config, 'Volumes');
    if (mountPath === undefined || wanted.has(mountPath)) continue;
    wanted.set(mountPath, { source: anonymous(), mount: { mountPath, readOnly: false } });
  }
  const all = [...wanted.values()];
  if (all.length === 0) return { spec: {}, newVolumes: [] };
  return {
    spec: {
      volumes: all.map(({ source }, index) => ({ name: `v${index}`, ...source })),
      volumeMounts: all.map(({ mount }, index) => ({ name: `v${index}`, ...mount })),
    },
    newVolumes: newVolumes.filter(({ name }) => all.some(({ source }) => source.volume?.name === name)),
  };
}

interface Tools {
  readonly context: MountsContext;
  readonly host: Fields;
  readonly anonymous: (labels?: Readonly<Record<string, string>>) => Source;
  readonly newVolumes: NewVolume[];
}

/** The path in the container as it is written shortest. */
function parseTarget(path: string, of: Fields, name: string): string | undefined {
  const normal = posix.normalize(path).replace(/(?<=.)\/+$/, '');
  if (!normal.startsWith('/') || normal.includes('\0')) {
    of.problem(name, `invalid mount path: '${path}' mount path must be absolute`);
    return undefined;
  }
  if (normal === '/') {
    of.problem(name, `invalid specification: destination can't be '/'`);
    return undefined;
  }
  return normal;
}

/** Words of a bind's third part that change nothing here: labels for SELinux, and what is so anyway. */
const plainModes: ReadonlySet<string> = new Set([
  ...['rw', 'z', 'Z', 'rprivate', 'private', 'consistent', 'cached', 'delegated', 'rbind'],
]);

/** SOURCE:TARGET[:MODE], or TARGET alone. Source: moby, volume/mounts/linux_parser.go. */
function parseBind(bind: string, { context, host, anonymous }: Tools): Wanted | undefined {
  const parts = bind.split(':');
  const problem = (text: string): void => host.problem('Binds', text);
  if (parts.length > 3 || parts.some((part) => part === '')) {
    problem(`invalid volume specification: '${bind}'`);
    return undefined;
  }
  const [first = '', second, mode = ''] = parts;
  const modes = mode.split(',').filter((word) => word !== '');
  for (const word of modes) {
    if (word === 'ro' || plainModes.has(word)) continue;
    const isKnown = ['nocopy', 'shared', 'rshared', 'slave', 'rslave'].includes(word);
    problem(isKnown ? `"${word}" in '${bind}' is not supported; leave it out` : `invalid mode: ${mode}`);
  }
  const mountPath = parseTarget(second ?? first, host, 'Binds');
  if (mountPath === undefined) return undefined;
  const mount = { mountPath, readOnly: modes.includes('ro') };
  if (second === undefined) return { source: anonymous(), mount };
  if (first.startsWith('/')) return { source: hostPath(first, context, problem), mount };
  const nameProblem = findNameProblem(first);
  if (nameProblem !== undefined) problem(nameProblem);
  return { source: { volume: { name: first, reclaimPolicy: 'Retain' } }, mount };
}

/** A folder is made if it is not there, as dockerd does; a file or device is taken as it is. */
function hostPath(path: string, { observePath }: MountsContext, problem: (text: string) => void): Source {
  const normal = posix.normalize(path).replace(/(?<=.)\/+$/, '');
  if (path.split('/').includes('..')) problem(`"${path}" has a ".." in it; write the path without`);
  return { hostPath: { path: normal, type: observePath(normal) === 'other' ? '' : 'DirectoryOrCreate' } };
}

function parseMount(mount: Fields, tools: Tools): Wanted | undefined {
  const type = mount.text('Type') ?? '';
  const mountPath = parseTarget(mount.text('Target') ?? '', mount, 'Target');
  const at = { mountPath: mountPath ?? '/', readOnly: mount.flag('ReadOnly') };
  const consistency = mount.text('Consistency') ?? 'default';
  if (!['default', 'consistent', 'cached', 'delegated'].includes(consistency))
    mount.problem('Consistency', `"${consistency}" is not known`);
  const wanted = parseMountOf(type, at, mount, tools);
  // Options of another type than its own are among the rest.
  mount.finish();
  return mountPath === undefined ? undefined : wanted;
}

function parseMountOf(type: string, at: Wanted['mount'], mount: Fields, tools: Tools): Wanted | undefined {
  switch (type) {
    case 'bind':
      return { source: parseBindMount(mount, tools), mount: at };
    case 'volume':
      return parseVolumeMount(mount, at, tools);
    case 'tmpfs':
      return { source: parseTmpfsOptions(mount.object('TmpfsOptions')), mount: at };
    default:
      mount.problem('Type', `mount type "${type}" is not supported; use bind, volume or tmpfs`);
      return undefined;
  }
}

function parseBindMount(mount: Fields, { context }: Tools): Source {
  const source = mount.text('Source') ?? '';
  const options = mount.object('BindOptions');
  options.refuse('Propagation', ['rprivate', 'private'], 'mounts are private');
  options.refuse('NonRecursive', [], 'what is mounted below comes along');
  options.refuse('ReadOnlyNonRecursive', [], 'what is mounted below is read-only, too');
  options.flag('ReadOnlyForceRecursive'); // so it is anyway
  const mayMake = options.flag('CreateMountpoint');
  options.finish();
  const problem = (text: string): void => mount.problem('Source', text);
  if (!source.startsWith('/')) {
    problem(`invalid mount config for type "bind": mount path must be absolute`);
    return {};
  }
  if (!mayMake && context.observePath(source) === 'missing')
    problem(`invalid mount config for type "bind": bind source path does not exist: ${source}`);
  return hostPath(source, context, problem);
}

function parseVolumeMount(mount: Fields, at: Wanted['mount'], { anonymous, newVolumes }: Tools): Wanted {
  const source = mount.text('Source');
  const options = mount.object('VolumeOptions');
  options.refuse('NoCopy', [], 'an empty volume gets what the image has there');
  const driver = options.object('DriverConfig');
  driver.refuse('Name', ['local'], 'only the driver local can be had');
  driver.refuse('Options', [], 'the driver local has no options');
  driver.finish();
  const labels = options.textMap('Labels');
  const subPath = options.text('Subpath');
  options.finish();
  const problem = source === undefined ? undefined : findNameProblem(source);
  if (problem !== undefined) mount.problem('Source', problem);
  if (source !== undefined && Object.keys(labels).length > 0) newVolumes.push({ name: source, labels });
  return {
    source: source === undefined ? anonymous(labels) : { volume: { name: source, reclaimPolicy: 'Retain' } },
    mount: { ...at, ...(subPath === undefined ? {} : { subPath }) },
  };
}

function parseTmpfsOptions(options: Fields): Source {
  const size = options.count('SizeBytes');
  const mode = options.integer('Mode');
  options.refuse('Options', [], 'only size and mode can be chosen');
  options.finish();
  if (mode !== undefined && (mode < 0 || mode > 0o1777)) options.problem('Mode', `${mode} are no permission bits`);
  return { tmpfs: { ...(size === undefined ? {} : { sizeLimit: size }), ...(mode === undefined ? {} : { mode }) } };
}

const binarySuffix: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** HostConfig.Tmpfs: { PATH: "size=64m,mode=1770" }. Source: mount(8), tmpfs. */
function parseTmpfs(path: string, options: string, host: Fields): Wanted | undefined {
  const mountPath = parseTarget(path, host, 'Tmpfs');
  let readOnly = false;
  const tmpfs: { sizeLimit?: number; mode?: number } = {};
  for (const word of options.split(',')) {
    const size = /^size=([0-9]+)([kmg]?)$/i.exec(word);
    const mode = /^mode=([0-7]{1,4})$/.exec(word);
    if (size !== null) tmpfs.sizeLimit = Number(size[1]) * (binarySuffix[(size[2] ?? '').toLowerCase()] ?? 1);
    else if (mode !== null) tmpfs.mode = Number.parseInt(mode[1] ?? '', 8);
    else if (word === 'ro') readOnly = true;
    // As it is anyway.
    else if (!['', 'rw', 'noexec', 'nosuid', 'nodev', 'rprivate', 'private'].includes(word))
      host.problem('Tmpfs', `the option "${word}" is not supported; use size=, mode=, ro or rw`);
  }
  return mountPath === undefined ? undefined : { source: { tmpfs }, mount: { mountPath, readOnly } };
}

/**
 * The binds and named volumes of another container. Throws DockerError if there is none of that name: 400, since clients
 * take a 404 for an image that is to be pulled.
 */
function borrow(from: string, { context, host }: Tools): readonly Wanted[] {
  const [name = '', mode = ''] = from.split(':', 2);
  if (!['', 'ro', 'rw', 'z', 'Z'].includes(mode)) host.problem('VolumesFrom', `invalid mode: ${mode}`);
  const other = context.findContainer(name);
  if (other === undefined) throw badParameter(`No such container: ${name}`);
  const { volumes = [], volumeMounts = [] } = other.spec;
  const own = other.imageVolumes.find((path) => !volumeMounts.some(({ mountPath }) => mountPath === path));
  if (own !== undefined)
    host.problem(
      'VolumesFrom',
      `"${name}" has a volume at ${own} that its image declares, which cannot be shared; create it with -v ${own}`,
    );
  return volumeMounts.flatMap((mount): Wanted[] => {
    const { name: _, ...source } = volumes.find((volume) => volume.name === mount.name) ?? { name: '' };
    if (source.volume === undefined && source.hostPath === undefined) return [];
    const { name: _name, ...at } = mount;
    const shared: Source =
      source.volume === undefined ? source : { volume: { ...source.volume, reclaimPolicy: 'Retain' } };
    return [{ source: shared, mount: { ...at, readOnly: mode === 'ro' || (mode !== 'rw' && at.readOnly) } }];
  });
}
