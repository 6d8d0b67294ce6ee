/** What a container calls itself: its object's name as a pod's, unless its spec or whoever made the object says otherwise. Pure. */
import { containerIDOf, type Identified } from './container-id.ts';

/** The other default: the first 12 digits of the container's id, as docker has it; they are known only when the object is. */
export const hostnameAnnotation = 'holdfast.dev/hostname';
export const idAsHostname = 'container-id';

/** What of an object says how its container is called. */
export interface Named extends Identified {
  readonly metadata: Identified['metadata'] & { readonly name: string };
  readonly spec: { readonly hostname?: string | undefined };
}

/** An object that takes a container over has its id, and so its name. */
export function hostnameOf(object: Named): string {
  const { metadata, spec } = object;
  const byDefault =
    metadata.annotations?.[hostnameAnnotation] === idAsHostname ? containerIDOf(object).slice(0, 12) : metadata.name;
  return spec.hostname ?? byDefault;
}
