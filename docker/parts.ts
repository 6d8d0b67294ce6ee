/**
 * What containers have of networks, ports and volumes: in a request to create one, and for those who look. Effects: reads
 * of the host and of the store; the rules are in network-spec.ts, mounts-spec.ts and their counterparts.
 */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { type Container, containerIDOf, volumeNameOf } from '../crds/index.ts';
import { type ContainerInfo, type ImageInfo, ownVolumeName } from '../runtime/index.ts';
import { isUp, stateOf } from './container-state.ts';
import type { CreateContext } from './create-request.ts';
import { DockerError } from './docker-error.ts';
import { readFields } from './fields.ts';
import type { Gateway } from './gateway-parts.ts';
import { createImageLookup } from './image-lookup.ts';
import { parseMounts } from './mounts-spec.ts';
import { formatMounts } from './mounts-view.ts';
import { objectNameFor } from './names.ts';
import { createNetworkLookup, isPredefined, needsNetworks } from './network-lookup.ts';
import { formatEndpoints, formatNetworkSettings, type NetworkSettingsInput } from './network-settings.ts';
import { formatNetworkConfig, isDefaultNetwork, nameAlias, parseNetworks } from './network-spec.ts';
import { type Answer, formatExposedPorts, formatPortBindings, formatPortList } from './ports-spec.ts';

export interface Parts {
  /** Fills `links` and `warnings`. Throws DockerError for what is not there; what is wrong becomes a problem of the fields. */
  readonly read: CreateContext['parts'];
  readonly warnings: readonly string[];
  /** Makes what the container needs before it is created. */
  prepare(): Promise<void>;
}

export interface PartsRequest {
  readonly body: unknown;
  /** The docker name. */
  readonly name: string;
  readonly image: ImageInfo;
}

export async function createParts(gateway: Gateway, { body, name, image }: PartsRequest): Promise<Parts> {
  const { runtime, namespace, find } = gateway;
  const networks = await createNetworkLookup(gateway, { objects: namesNetworks(body) ? 'all' : 'none' });
  const borrows = (readFields(body, '', []).object('HostConfig').texts('VolumesFrom') ?? []).length > 0;
  const imageVolumes = borrows ? await imageVolumesOf(gateway) : () => [];
  const warnings: string[] = [];
  const newVolumes: { readonly name: string; readonly labels: Readonly<Record<string, string>> }[] = [];
  return {
    warnings,
    read: (config, host, networking) => {
      const network = parseNetworks(config, host, networking, {
        names: { docker: name, object: objectNameFor(name) },
        imagePorts: image.config.exposedPorts,
        findNetwork: (reference) => networks.findOwn(reference).objectName,
        gateway: networks.facts.gateway,
      });
      warnings.push(...network.warnings);
      const mounts = parseMounts(config, host, {
        observePath,
        findContainer: (reference) => {
          const other = tryFind(() => find(reference));
          return other === undefined ? undefined : { spec: other.spec, imageVolumes: imageVolumes(other) };
        },
        randomID: () => randomBytes(32).toString('hex'),
      });
      newVolumes.push(...mounts.newVolumes);
      return { spec: { ...network.spec, ...mounts.spec }, links: network.links };
    },
    prepare: async () => {
      for (const volume of newVolumes)
        await runtime.volumes.create(volumeNameOf(namespace, volume.name), volume.labels);
    },
  };
}

/** Whether a request names networks that are not always there. */
function namesNetworks(body: unknown): boolean {
  const request = readFields(body, '', []);
  const mode = request.object('HostConfig').text('NetworkMode') ?? '';
  const names = [mode, ...request.object('NetworkingConfig').keys('EndpointsConfig')];
  return names.some((name) => !isDefaultNetwork(name) && !isPredefined(name));
}

/** For --volumes-from: what the images of the present containers declare, read before the request is. */
async function imageVolumesOf({ objects, runtime }: Gateway): Promise<(object: Container) => readonly string[]> {
  const images = new Map((await runtime.images.list()).map((image) => [image.id, image.config.volumes]));
  const lookup = createImageLookup(runtime);
  const byUid = new Map<string, readonly string[]>();
  for (const object of objects.list()) {
    const known = images.get(object.status?.imageID ?? '') ?? (await lookup.of(object))?.config.volumes;
    byUid.set(object.metadata.uid, known ?? []);
  }
  return ({ metadata }) => byUid.get(metadata.uid) ?? [];
}

function observePath(path: string): 'missing' | 'directory' | 'other' {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? 'missing' : stat.isDirectory() ? 'directory' : 'other';
}

function tryFind(find: () => Container): Container | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof DockerError && error.status === 404) return undefined;
    throw error;
  }
}

/** What is shown of containers, read once for all that one request shows. */
export interface View {
  networkNames(object: Container): readonly string[];
  volumeNames(object: Container): readonly string[];
  /** Of a container on a network, by docker's name of the network. */
  endpoint(object: Container, network: string): Promise<Answer | undefined>;
  summary(
    object: Container,
    image: ImageInfo | undefined,
  ): { networkMode: string; mounts: readonly object[]; ports: readonly object[]; networks: object };
  details(
    object: Container,
    image: ImageInfo | undefined,
  ): Promise<{ networkMode: string; networkSettings: object; mounts: readonly object[]; hostNetworkConfig: object }>;
}

export async function viewOf(gateway: Gateway): Promise<View> {
  const { runtime, now } = gateway;
  const networks = await createNetworkLookup(gateway, { objects: needsNetworks(gateway.objects.list()) });
  const volumes = new Map((await runtime.volumes.list()).map((volume) => [volume.name, volume]));
  const settingsInput = (
    object: Container,
    image: ImageInfo | undefined,
    info: ContainerInfo | undefined,
  ): NetworkSettingsInput => ({
    container: object,
    containerID: containerIDOf(object),
    address: { ip: object.status?.podIP ?? info?.ip, ip6: info?.ip6 ?? ip6Of(object), mac: info?.mac },
    isRunning: isUp(stateOf(object, now())),
    imagePorts: image?.config.exposedPorts ?? [],
    facts: networks.facts,
    networkOf: (name) => networks.nameOf(object.metadata.namespace, name),
    nameAlias: nameAlias({ docker: networks.dockerName(object), object: object.metadata.name }),
  });
  const mountsOf = (object: Container, image: ImageInfo | undefined): readonly object[] =>
    formatMounts({
      spec: object.spec,
      imageVolumes: image?.config.volumes ?? [],
      pathOf: (name) => volumes.get(volumeNameOf(object.metadata.namespace, name))?.path,
      ownVolume: (of) => volumes.get(ownVolumeName(containerIDOf(object), of)),
    });
  const modeOf = (object: Container): string =>
    String(
      formatNetworkConfig(object.spec, (name) => networks.nameOf(object.metadata.namespace, name).name).NetworkMode,
    );
  return {
    networkNames: (object) =>
      Object.entries(formatEndpoints(settingsInput(object, undefined, undefined))).flatMap(([name, { NetworkID }]) => [
        name,
        String(NetworkID),
      ]),
    volumeNames: (object) => [
      ...(object.spec.volumes ?? []).flatMap(({ volume, hostPath }) => volume?.name ?? hostPath?.path ?? []),
      ...(object.spec.volumeMounts ?? []).map(({ mountPath }) => mountPath),
    ],
    endpoint: async (object, network) => {
      const info = await runtime.containers.inspect(containerIDOf(object));
      return formatEndpoints(settingsInput(object, undefined, info))[network];
    },
    summary: (object, image) => {
      const input = settingsInput(object, image, undefined);
      return {
        networkMode: modeOf(object),
        mounts: mountsOf(object, image),
        ports: input.isRunning
          ? formatPortList({
              published: object.status?.ports ?? [],
              exposed: Object.keys(formatExposedPorts(object.spec.ports ?? [], input.imagePorts)),
              hasIPv6: networks.facts.gateway6 !== undefined,
            })
          : [],
        networks: formatEndpoints(input),
      };
    },
    details: async (object, image) => {
      const info = await runtime.containers.inspect(containerIDOf(object));
      const { NetworkMode, ...network } = formatNetworkConfig(
        object.spec,
        (name) => networks.nameOf(object.metadata.namespace, name).name,
      );
      return {
        networkMode: String(NetworkMode),
        networkSettings: formatNetworkSettings(settingsInput(object, image, info)),
        mounts: mountsOf(object, image),
        hostNetworkConfig: { ...network, PortBindings: formatPortBindings(object.spec.ports ?? []) },
      };
    },
  };
}

function ip6Of({ status }: Container): string | undefined {
  return status?.podIPs?.map(({ ip }) => ip).find((ip) => ip?.includes(':'));
}
