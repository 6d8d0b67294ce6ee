/**
 * Names under which containers find each other on the default network: NAME in their own namespace, NAME.NAMESPACE from
 * everywhere; networks.ts has the others. Pure.
 */
import type { ContainerSpec } from '../crds/index.ts';
import { type DnsConfig, resolverDomain } from '../runtime/index.ts';

/** Where names are looked up by one that is on networks of its own. */
export interface NetworkSearches {
  /** Below the resolver's. */
  readonly domains: readonly string[];
  /** It is on the default network, too. */
  readonly isOnDefault: boolean;
}

/**
 * How a container looks names up. As in a Pod: its own namespace first, then all; and with two dots or more as it is. On
 * networks of its own it finds who shares one with it, and nobody whom it could not reach.
 */
export function dnsOf(namespace: string, { domains, isOnDefault }: NetworkSearches = onDefault): DnsConfig {
  const common = isOnDefault ? [`${namespace}.${resolverDomain}`, resolverDomain] : [];
  const searches = [...domains.map((domain) => `${domain}.${resolverDomain}`), ...common];
  return { servers: [], searches, options: ['ndots:2'] };
}

const onDefault: NetworkSearches = { domains: [], isOnDefault: true };

/** Whether its names stand for its IPv6 address too. undefined: the default, no. */
export function isDualStack({ ipFamilyPolicy }: Pick<ContainerSpec, 'ipFamilyPolicy'>): true | undefined {
  return ipFamilyPolicy === 'PreferDualStack' ? true : undefined;
}
