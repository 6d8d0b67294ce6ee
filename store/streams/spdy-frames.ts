/**
 * Frames of SPDY/3.1, as far as the kubelet's streaming protocols use them: read piece by piece as bytes come, and
 * written. Pure, but for the reader's memory of what it has. Source: SPDY protocol draft 3.1, section 2.
 */

/** A frame that was read. The data of a data frame comes in the pieces in which the bytes come. */
export type SpdyFrame =
  | { readonly kind: 'syn-stream'; readonly id: number; readonly isLast: boolean; readonly headerBlock: Buffer }
  | { readonly kind: 'data'; readonly id: number; readonly data: Buffer }
  /** The other side sends nothing more on this stream. */
  | { readonly kind: 'end'; readonly id: number }
  | { readonly kind: 'reset'; readonly id: number }
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'go-away' }
  /** Header blocks share one state of compression: also those that nobody needs must be read. */
  | { readonly kind: 'headers'; readonly id: number; readonly isLast: boolean; readonly headerBlock: Buffer };

/** The peer does not speak SPDY/3.1. The connection is of no use any more. */
export class SpdyProtocolError extends Error {
  override readonly name = 'SpdyProtocolError';
}

const frameHeadBytes = 8;
const version = 3;
const type = { synStream: 1, synReply: 2, reset: 3, ping: 6, goAway: 7, headers: 8 } as const;
const finFlag = 0x01;
const maxStreamId = 0x7fff_ffff;

/** Frames of control hold a few short headers; a data frame may have any size, for it is not kept. */
export const maxControlFrameBytes = 64 * 1024;

export const resetStatus = { protocolError: 1, invalidStream: 2, refusedStream: 3, cancel: 5 } as const;

export class SpdyFrameReader {
  #rest: Buffer = Buffer.alloc(0);
  /** The data frame that is being read. */
  #open: { readonly id: number; readonly isLast: boolean; left: number } | undefined;

  /** The frames that are whole with these bytes. Throws SpdyProtocolError; the reader must not be used then. */
  *read(bytes: Buffer): Generator<SpdyFrame, void> {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    this.#rest = Buffer.alloc(0);
    for (;;) {
      if (this.#open !== undefined) {
        const { id, isLast, left } = this.#open;
        const data = rest.subarray(0, left);
        rest = rest.subarray(data.length);
        this.#open = data.length < left ? { id, isLast, left: left - data.length } : undefined;
        if (data.length > 0) yield { kind: 'data', id, data };
        if (this.#open !== undefined) return;
        if (isLast) yield { kind: 'end', id };
        continue;
      }
      if (rest.length < frameHeadBytes) break;
      const first = rest.readUInt32BE(0);
      const flags = rest.readUInt8(4);
      const length = rest.readUIntBE(5, 3);
      if (first >>> 31 === 0) {
        this.#open = { id: first, isLast: (flags & finFlag) !== 0, left: length };
        rest = rest.subarray(frameHeadBytes);
        continue;
      }
      checkControl(first, length);
      if (rest.length < frameHeadBytes + length) break;
      const body = rest.subarray(frameHeadBytes, frameHeadBytes + length);
      rest = rest.subarray(frameHeadBytes + length);
      const frame = parseControl(first & 0xffff, flags, body);
      if (frame !== undefined) yield frame;
    }
    this.#rest = Buffer.from(rest); // not a part of the larger buffer that it came in
  }
}

function checkControl(first: number, length: number): void {
  const found = (first >>> 16) & 0x7fff;
  if (found !== version) {
    throw new SpdyProtocolError(
      `a control frame of SPDY version ${found} came; only version ${version} is spoken here`,
    );
  }
  if (length > maxControlFrameBytes) {
    throw new SpdyProtocolError(`a control frame of ${length} bytes came; at most ${maxControlFrameBytes} are taken`);
  }
}

function parseControl(frameType: number, flags: number, body: Buffer): SpdyFrame | undefined {
  const isLast = (flags & finFlag) !== 0;
  const word = (offset: number): number => {
    if (body.length < offset + 4) {
      throw new SpdyProtocolError(`a control frame of type ${frameType} has only ${body.length} bytes`);
    }
    return body.readUInt32BE(offset);
  };
  switch (frameType) {
    case type.synStream: {
      const id = word(0) & maxStreamId;
      word(6); // the stream it belongs to, priority and slot: of no use here, but they must be there
      return { kind: 'syn-stream', id, isLast, headerBlock: Buffer.from(body.subarray(10)) };
    }
    case type.synReply:
    case type.headers:
      return { kind: 'headers', id: word(0) & maxStreamId, isLast, headerBlock: Buffer.from(body.subarray(4)) };
    case type.reset:
      return { kind: 'reset', id: word(0) & maxStreamId };
    case type.ping:
      return { kind: 'ping', id: word(0) };
    case type.goAway:
      return { kind: 'go-away' };
    default:
      return undefined; // SETTINGS, WINDOW_UPDATE and what is unknown: to be ignored
  }
}

function formatControl(frameType: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUInt16BE(0x8000 | version, 0);
  head.writeUInt16BE(frameType, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value, index * 4);
  });
  return bytes;
}

/** For clients in tests: how a stream is opened. */
export function formatSynStream(id: number, headerBlock: Buffer, isLast: boolean): Buffer {
  const body = Buffer.concat([words(id, 0), Buffer.alloc(2), headerBlock]);
  return formatControl(type.synStream, isLast ? finFlag : 0, body);
}

export function formatSynReply(id: number, headerBlock: Buffer): Buffer {
  return formatControl(type.synReply, 0, Buffer.concat([words(id), headerBlock]));
}

export function formatReset(id: number, status: number): Buffer {
  return formatControl(type.reset, 0, words(id, status));
}

export function formatPing(id: number): Buffer {
  return formatControl(type.ping, 0, words(id));
}

export function formatGoAway(lastId: number): Buffer {
  return formatControl(type.goAway, 0, words(lastId, 0));
}

/** The head of a data frame, which its data follows. `length`: at most 16,777,215. */
export function formatDataHead(id: number, length: number, isLast: boolean): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUInt32BE(id, 0);
  head.writeUInt8(isLast ? finFlag : 0, 4);
  head.writeUIntBE(length, 5, 3);
  return head;
}
