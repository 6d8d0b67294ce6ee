/** Which subresources are streams. Pure. */
import type { StreamSubresource } from './streams/index.ts';

const upgraded = ['exec', 'attach', 'portforward'] as const satisfies readonly StreamSubresource[];
const plain = ['log', 'stats', 'archive'] as const;
export type PlainStream = (typeof plain)[number];

export const streamSubresources: readonly string[] = [...plain, ...upgraded];

/** Whether a client asks for the subresource by an upgrade of its connection. */
export function isUpgraded(subresource: string | undefined): subresource is StreamSubresource {
  return upgraded.some((one) => one === subresource);
}

export function isPlainStream(subresource: string | undefined): subresource is PlainStream {
  return plain.some((one) => one === subresource);
}
