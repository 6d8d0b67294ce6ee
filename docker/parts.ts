/** What containers have of networks, ports and volumes, in a request and for those who look. Effects: reads of the host. */
import type { Container } from '../crds/index.ts';
import type { ImageInfo } from '../runtime/index.ts';
import type { CreateContext } from './create-request.ts';
import type { Gateway } from './gateway.ts';

export interface Parts {
  readonly read: CreateContext['parts'];
  readonly warnings: readonly string[];
  /** Makes what the container needs before it is created. */
  prepare(): Promise<void>;
}

export async function createParts(
  _gateway: Gateway,
  _request: { readonly body: unknown; readonly name: string; readonly image: ImageInfo },
): Promise<Parts> {
  return {
    read: (config, host, networking) => {
      for (const name of ['ExposedPorts', 'Volumes']) config.raw(name);
      for (const name of [
        'NetworkMode',
        'PortBindings',
        'PublishAllPorts',
        'ExtraHosts',
        'Dns',
        'DnsOptions',
        'DnsSearch',
        'Binds',
        'Mounts',
        'Tmpfs',
        'VolumesFrom',
      ])
        host.raw(name);
      networking.raw('EndpointsConfig');
      return {};
    },
    warnings: [],
    prepare: async () => {},
  };
}

export interface View {
  networkNames(object: Container): readonly string[];
  volumeNames(object: Container): readonly string[];
  summary(
    object: Container,
    image: ImageInfo | undefined,
  ): { networkMode: string; mounts: readonly object[]; ports: readonly object[]; networks: object };
  details(
    object: Container,
    image: ImageInfo | undefined,
  ): Promise<{ networkMode: string; networkSettings: object; mounts: readonly object[]; hostNetworkConfig: object }>;
}

export async function viewOf(_gateway: Gateway): Promise<View> {
  return {
    networkNames: () => ['bridge'],
    volumeNames: () => [],
    summary: () => ({ networkMode: 'default', mounts: [], ports: [], networks: {} }),
    details: async () => ({ networkMode: 'default', networkSettings: {}, mounts: [], hostNetworkConfig: {} }),
  };
}
