/**
 * Docker's formats of streams: frames that keep stdout and stderr apart on one connection, and the keys that detach a
 * terminal. Pure. Source: Engine API, "Attach to a container": stream format; moby pkg/term (ascii.go, proxy.go).
 */
import { badParameter } from './docker-error.ts';

/** application/vnd.docker.…: the kind of stream tells what a connection carries, since API 1.42. */
export function contentTypeOf(hasTerminal: boolean, version: number): string {
  const kind = hasTerminal || version < 42 ? 'raw' : 'multiplexed';
  return `application/vnd.docker.${kind}-stream`;
}

/** A header of eight bytes, then the data. */
export function formatFrame(stream: 'stdout' | 'stderr', data: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream === 'stdout' ? 1 : 2;
  header.writeUInt32BE(data.length, 4);
  return data.length === 0 ? header : Buffer.concat([header, data]);
}

/** Bytes of a list such as ctrl-p,ctrl-q or a,b; the default without one. Throws DockerError. */
export function parseDetachKeys(text: string | null): Buffer {
  if (text === null || text === '') return Buffer.from([0x10, 0x11]);
  const bytes = text.split(',').map((key) => {
    const [, letter] = /^ctrl-([a-z@[\\\]^_])$/i.exec(key) ?? [];
    if (letter !== undefined) return letter.toLowerCase().charCodeAt(0) & 0x1f;
    const code = key.charCodeAt(0);
    if (key.length !== 1 || code > 0x7f) throw badParameter(`Invalid detach keys (${text.slice(0, 100)}) provided`);
    return code;
  });
  return Buffer.from(bytes);
}

/** Watches what is typed; keys that may be the beginning of those that detach are held back until that is clear. */
export class DetachWatch {
  readonly #keys: Buffer;
  #held = Buffer.alloc(0);

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What is to be handed on, and whether the keys were typed; what came after them is dropped. */
  take(chunk: Buffer): { readonly data: Buffer; readonly isDetached: boolean } {
    const data = Buffer.concat([this.#held, chunk]);
    const at = data.indexOf(this.#keys);
    if (at >= 0) return { data: data.subarray(0, at), isDetached: true };
    let length = Math.min(this.#keys.length - 1, data.length);
    while (length > 0 && !data.subarray(-length).equals(this.#keys.subarray(0, length))) length -= 1;
    this.#held = Buffer.from(data.subarray(data.length - length));
    return { data: data.subarray(0, data.length - length), isDetached: false };
  }
}
