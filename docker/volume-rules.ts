/** Volumes: names, requests to make one, and what is shown of them. Pure. Texts are moby's. */
import { type Container, volumeNameOf } from '../crds/index.ts';
import type { VolumeInfo } from '../runtime/index.ts';
import { badParameter } from './docker-error.ts';
import { readFields } from './fields.ts';
import { anonymousLabel, findNameProblem } from './mounts-spec.ts';
import type { Answer } from './ports-spec.ts';

/** The runtime's name of a volume of docker's namespace. */
export function runtimeName(name: string, namespace: string): string {
  return volumeNameOf(namespace, name);
}

/** Volumes of other namespaces are shown by the runtime's whole name. */
export function shownName({ name }: Pick<VolumeInfo, 'name'>, namespace: string): string {
  const prefix = volumeNameOf(namespace, '');
  return name.startsWith(prefix) ? name.slice(prefix.length) : name;
}

/** The runtime's names of the volumes that a container's spec names. */
export function volumesOf({ spec, metadata }: Container): ReadonlySet<string> {
  return new Set(
    (spec.volumes ?? []).flatMap(({ volume }) =>
      volume === undefined ? [] : [volumeNameOf(metadata.namespace, volume.name)],
    ),
  );
}

/** Whether nobody has named it: it was made for a bare path, or its container left it behind. */
export function isAnonymous({ name, labels, owner }: VolumeInfo): boolean {
  return owner !== undefined || labels[anonymousLabel] !== undefined || /^[0-9a-f]{64}$/.test(name);
}

export function formatVolume(volume: VolumeInfo, namespace: string): Answer {
  const isMarked = isAnonymous(volume);
  return {
    CreatedAt: new Date(volume.createdAtMs).toISOString().replace(/\.\d+Z$/, 'Z'),
    Driver: 'local',
    Labels: isMarked ? { ...volume.labels, [anonymousLabel]: '' } : volume.labels,
    Mountpoint: volume.path,
    Name: shownName(volume, namespace),
    Options: null,
    Scope: 'local',
  };
}

/** Body of POST /volumes/create. Throws DockerError. */
export function parseVolumeRequest(body: unknown): {
  /** undefined: nobody has named it. */
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
} {
  const problems: string[] = [];
  const request = readFields(body, '', problems);
  const name = request.text('Name');
  const labels = request.textMap('Labels');
  request.refuse('Driver', ['local'], 'the only driver is local');
  request.refuse('DriverOpts', [], 'the driver local has no options; bind a path of the host with -v PATH:PATH');
  request.refuse('ClusterVolumeSpec', [], 'there is no swarm');
  request.finish();
  const problem = name === undefined ? undefined : findNameProblem(name);
  if (problem !== undefined) throw badParameter(`create ${name}: ${problem}`);
  if (problems.length > 0) throw badParameter(problems.join('; '));
  return { name, labels };
}
