/** Container objects as they come over the API: where they are, and what can be taken for one. Pure. */
import { apiVersion, type Container, group, plural, version } from '../crds/index.ts';

/** Of all namespaces. */
export const containersPath = `/apis/${group}/${version}/${plural}`;

/**
 * A Container as a schema-checked API server sends it; undefined for anything else. Without metadata.managedFields: who
 * changed which field is of no use here, and half of the object's size.
 */
export function parseContainer(raw: unknown): Container | undefined {
  if (typeof raw !== 'object' || raw === null) return undefined;
  // Each member that the controller relies on is looked at below; the rest is the CRD schema's promise.
  const object = raw as Partial<Container> & { items?: unknown };
  const { metadata, spec } = object;
  if (object.kind !== undefined && object.kind !== 'Container') return undefined;
  if (
    typeof metadata?.name !== 'string' ||
    typeof metadata.namespace !== 'string' ||
    typeof metadata.uid !== 'string' ||
    typeof metadata.resourceVersion !== 'string'
  )
    return undefined;
  if (
    typeof spec?.image !== 'string' ||
    typeof spec.backoff !== 'object' ||
    typeof spec.resources?.limits !== 'object' ||
    typeof spec.logging !== 'object'
  )
    return undefined;
  // Proven field by field above; kind and apiVersion are absent from the items of some lists.
  const container: Container = { ...(object as Container), apiVersion, kind: 'Container' };
  if (!('managedFields' in metadata)) return container;
  const { managedFields: _, ...others } = metadata;
  return { ...container, metadata: others };
}
