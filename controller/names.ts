/** Names under which containers find each other: NAME in their own namespace, NAME.NAMESPACE from everywhere. Pure. */
import type { Container, ContainerSpec } from '../crds/index.ts';
import { type DnsConfig, resolverDomain } from '../runtime/index.ts';

/** What the resolver answers to with the container's addresses. */
export function dnsNamesOf({ metadata }: Pick<Container, 'metadata'>): readonly string[] {
  return [`${metadata.name}.${metadata.namespace}`];
}

/**
 * How a container looks names up. As in a Pod: its own namespace first, then all; and with two dots or more as it is.
 */
export function dnsOf(namespace: string): DnsConfig {
  return { servers: [], searches: [`${namespace}.${resolverDomain}`, resolverDomain], options: ['ndots:2'] };
}

/** Whether its names stand for its IPv6 address too. undefined: the default, no. */
export function isDualStack({ ipFamilyPolicy }: Pick<ContainerSpec, 'ipFamilyPolicy'>): true | undefined {
  return ipFamilyPolicy === 'PreferDualStack' ? true : undefined;
}
