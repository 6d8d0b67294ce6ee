/** Which volume of a host a spec means. Pure. */

/** A volume's name on its host: those of two namespaces differ. A namespace has no dot in its name. */
export function volumeNameOf(namespace: string, name: string): string {
  return `${namespace}.${name}`;
}
