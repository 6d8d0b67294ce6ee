/** Which Secrets, ConfigMaps and Networks a container refers to, wherever in its spec. Pure. */
import type { ContainerSpec } from '../crds/index.ts';
import { networkReferences } from './networks.ts';
import type { SourceRef } from './sources.ts';
import { volumeReferences } from './volume-files.ts';

/** Each once; all in the container's own namespace. */
export function referencesOf(spec: ContainerSpec): readonly SourceRef[] {
  const refs: SourceRef[] = [];
  const add = (kind: SourceRef['kind'], ref: { readonly name: string } | undefined): void => {
    if (ref !== undefined && !refs.some((one) => one.kind === kind && one.name === ref.name))
      refs.push({ kind, name: ref.name });
  };
  for (const { valueFrom } of spec.env ?? []) {
    add('Secret', valueFrom?.secretKeyRef);
    add('ConfigMap', valueFrom?.configMapKeyRef);
  }
  for (const { secretRef, configMapRef } of spec.envFrom ?? []) {
    add('Secret', secretRef);
    add('ConfigMap', configMapRef);
  }
  for (const ref of spec.imagePullSecrets ?? []) add('Secret', ref);
  for (const ref of volumeReferences(spec)) add(ref.kind, ref);
  for (const name of networkReferences(spec)) add('Network', { name });
  return refs;
}
