/** Images as Docker's clients read them. Pure. Source: Engine API 1.41 to 1.50, "ImageSummary", "ImageInspect", "ImageHistory". */
import type { ImageDescription } from '../runtime/index.ts';
import { formatFamiliar, namesOf } from './image-reference.ts';

type Json = Readonly<Record<string, unknown>>;

/** A line of `docker images`. `sharedBytes`: undefined if it was not asked for. `containers`: how many have it, if it is known. */
export function formatImageSummary(
  image: ImageDescription,
  {
    version,
    tags,
    sharedBytes = -1,
    containers = -1,
  }: {
    readonly version: number;
    /** Those to show, canonical; undefined: all. */
    readonly tags?: ReadonlySet<string> | undefined;
    readonly sharedBytes?: number | undefined;
    readonly containers?: number | undefined;
  },
): object {
  const names = namesOf(image);
  const isShown = ({ canonical }: { canonical: string }): boolean => tags === undefined || tags.has(canonical);
  const RepoTags = names.tags.filter(isShown).map(({ canonical }) => formatFamiliar(canonical));
  const RepoDigests = names.digests.filter(isShown).map(({ canonical }) => formatFamiliar(canonical));
  // Clients before 1.43 know one without a name by these words.
  const isNameless = version < 43 && RepoTags.length === 0 && RepoDigests.length === 0;
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: isNameless ? ['<none>:<none>'] : RepoTags,
    RepoDigests: isNameless ? ['<none>@<none>'] : RepoDigests,
    Created: Math.floor((image.createdAtMs ?? 0) / 1000),
    Size: image.sizeBytes,
    ...(version < 44 ? { VirtualSize: image.sizeBytes } : {}),
    SharedSize: sharedBytes,
    Labels: image.labels,
    Containers: containers,
  };
}

export function formatImageInspect(image: ImageDescription, { version }: { readonly version: number }): object {
  const { configuration, platform, sizeBytes } = image;
  const { tags, digests } = namesOf(image);
  const Config = formatImageConfig(objectIn(configuration.config));
  return {
    Id: image.id,
    RepoTags: tags.map(({ canonical }) => formatFamiliar(canonical)),
    RepoDigests: digests.map(({ canonical }) => formatFamiliar(canonical)),
    Parent: '',
    Comment: commentOf(configuration),
    Created: textIn(configuration.created) ?? '0001-01-01T00:00:00Z',
    // Docker leaves it out from 1.45 on; docker-compose 1.29 takes the newest version and cannot do without.
    ...(version < 45 ? { Container: '' } : {}),
    ContainerConfig: formatImageConfig(objectIn(configuration.container_config)),
    DockerVersion: textIn(configuration.docker_version) ?? '',
    Author: textIn(configuration.author) ?? '',
    Config,
    Architecture: platform.architecture,
    ...(platform.variant === '' ? {} : { Variant: platform.variant }),
    Os: platform.os,
    Size: sizeBytes,
    ...(version < 44 ? { VirtualSize: sizeBytes } : {}),
    GraphDriver: { Name: 'overlay2', Data: null },
    RootFS: { Type: 'layers', Layers: image.layers.map(({ diffID }) => diffID) },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

/** As docker import writes it, the newest commit's comment is in the history, too. */
function commentOf(configuration: Json): string {
  return textIn(configuration.comment) ?? textIn(historyOf(configuration).at(-1)?.comment) ?? '';
}

/** What an image says of running it, with all the members that Docker's has. */
function formatImageConfig(config: Json): object {
  const texts = (name: string): readonly string[] | null => listIn(config[name]);
  const healthcheck = config.Healthcheck === undefined ? {} : { Healthcheck: objectIn(config.Healthcheck) };
  const keys = (name: string): object | null => {
    const names = Object.keys(objectIn(config[name]));
    return names.length === 0 ? null : Object.fromEntries(names.map((one) => [one, {}]));
  };
  const ports = keys('ExposedPorts');
  const stopSignal = textIn(config.StopSignal);
  const shell = texts('Shell');
  const labels = Object.entries(objectIn(config.Labels)).filter(([, value]) => typeof value === 'string');
  return {
    Hostname: textIn(config.Hostname) ?? '',
    Domainname: textIn(config.Domainname) ?? '',
    User: textIn(config.User) ?? '',
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    ...(ports === null ? {} : { ExposedPorts: ports }),
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: texts('Env'),
    Cmd: texts('Cmd'),
    ...healthcheck,
    Image: '',
    Volumes: keys('Volumes'),
    WorkingDir: textIn(config.WorkingDir) ?? '',
    Entrypoint: texts('Entrypoint'),
    OnBuild: texts('OnBuild'),
    Labels: labels.length === 0 ? null : Object.fromEntries(labels),
    ...(stopSignal === undefined ? {} : { StopSignal: stopSignal }),
    ...(shell === null ? {} : { Shell: shell }),
  };
}

/** What was done to make it, the last first. Only the last step has an id: the others' images are not here. */
export function formatImageHistory(image: ImageDescription): readonly object[] {
  let layer = 0;
  const steps = historyOf(image.configuration).map((step) => {
    const isEmpty = step.empty_layer === true;
    const Size = isEmpty ? 0 : (image.layers[layer]?.sizeBytes ?? 0);
    if (!isEmpty) layer += 1;
    return {
      Created: Math.floor((Date.parse(textIn(step.created) ?? '') || 0) / 1000),
      CreatedBy: textIn(step.created_by) ?? '',
      Size,
      Comment: textIn(step.comment) ?? '',
    };
  });
  // One that tells nothing of how it was made still has its layers.
  while (layer < image.layers.length) {
    const Size = image.layers[layer]?.sizeBytes ?? 0;
    steps.push({ Created: Math.floor((image.createdAtMs ?? 0) / 1000), CreatedBy: '', Size, Comment: '' });
    layer += 1;
  }
  const tags = namesOf(image).tags.map(({ canonical }) => formatFamiliar(canonical));
  return steps.toReversed().map((step, index) => ({
    Id: index === 0 ? image.id : '<missing>',
    ...step,
    Tags: index === 0 && tags.length > 0 ? tags : null,
  }));
}

/** Bytes of each image's layers that others have as well, by the image's id; and of all layers, each counted once. */
export function sumLayers(images: readonly Pick<ImageDescription, 'id' | 'layers'>[]): {
  readonly sharedBytes: ReadonlyMap<string, number>;
  readonly totalBytes: number;
} {
  const users = new Map<string, number>();
  const sizes = new Map<string, number>();
  for (const { layers } of images)
    for (const [index, { diffID, sizeBytes }] of layers.entries()) {
      const key = `${layers.slice(0, index).map((one) => one.diffID)} ${diffID}`;
      users.set(key, (users.get(key) ?? 0) + 1);
      sizes.set(key, sizeBytes);
    }
  const shared = images.map(({ id, layers }) => {
    const bytes = layers.map(({ diffID, sizeBytes }, index) => {
      const key = `${layers.slice(0, index).map((one) => one.diffID)} ${diffID}`;
      return (users.get(key) ?? 0) > 1 ? sizeBytes : 0;
    });
    return [id, bytes.reduce((sum, size) => sum + size, 0)] as const;
  });
  return { sharedBytes: new Map(shared), totalBytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
}

function historyOf(configuration: Json): readonly Json[] {
  const { history } = configuration;
  return Array.isArray(history) ? history.map(objectIn) : [];
}

function objectIn(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : {};
}

function textIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** null as Go writes a list that there is none of. */
function listIn(value: unknown): readonly string[] | null {
  const texts = Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
  return texts.length === 0 ? null : texts;
}
