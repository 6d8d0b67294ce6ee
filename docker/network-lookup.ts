/** Networks by the names and ids that docker's users know them by. Effects: reads of the store and of the host. */
import { hash } from 'node:crypto';
import { type Container, defaultNetworkName } from '../crds/index.ts';
import { notFound } from './docker-error.ts';
import type { Gateway } from './gateway-parts.ts';
import { dockerNameOf } from './names.ts';
import type { NetworkFacts, NetworkName } from './network-settings.ts';

export interface FoundNetwork extends NetworkName {
  /** As specs name it. */
  readonly objectName: string;
}

export interface NetworkLookup {
  /** By name, id, or the beginning of an id. Throws DockerError (404). */
  find(reference: string): FoundNetwork;
  /** By the name in a spec, or host or none. */
  nameOf(name: string): NetworkName;
  readonly facts: NetworkFacts;
  dockerName(object: Container): string;
}

/** The networks that are always there, as specs and as docker name them. */
const predefined = [
  [defaultNetworkName, 'bridge'],
  ['host', 'host'],
  ['none', 'none'],
] as const;

export async function createNetworkLookup({ namespace, nodeName }: Gateway): Promise<NetworkLookup> {
  const idOf = (name: string): string => hash('sha256', `holdfast network ${nodeName} ${name}`, 'hex');
  const all: FoundNetwork[] = predefined.map(([objectName, name]) => ({ objectName, name, id: idOf(name) }));
  return {
    facts: {},
    find: (reference) => {
      const found =
        all.find(({ id, name }) => id === reference || name === reference) ??
        all.find(({ id }) => /^[0-9a-f]{1,64}$/.test(reference) && id.startsWith(reference));
      if (found === undefined) throw notFound(`network ${reference} not found`);
      return found;
    },
    nameOf: (name) => all.find(({ objectName }) => objectName === name) ?? { name, id: idOf(name) },
    dockerName: (object) => dockerNameOf(object, namespace),
  };
}
