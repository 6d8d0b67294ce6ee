/** Resource versions: the same everywhere in one store, and rising. Pure. */

/**
 * Whether the first is an earlier one than the second. Versions that are no numbers cannot be compared, and are not.
 * Source: Kubernetes' "API Concepts", resource versions: decimal numbers that may be compared for order (since 1.35).
 */
export function isOlderVersion(version: string, than: string): boolean {
  return isNumber(version) && isNumber(than) && BigInt(version) < BigInt(than);
}

function isNumber(version: string): boolean {
  return /^\d{1,40}$/.test(version);
}
