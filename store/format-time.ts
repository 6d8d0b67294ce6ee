/** Instants as Kubernetes writes them. Pure. */

/** In whole seconds, UTC. Throws RangeError for what is no instant. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/u, 'Z');
}
