/**
 * One side of a SPDY/3.1 connection, the server's: streams that the client opens, over any duplex of bytes. Effects only.
 * Without flow control, as moby/spdystream, which every Kubernetes client uses, has none: when a stream is not read,
 * the connection as a whole is not read any more, and TCP makes the client wait.
 */
import { Duplex } from 'node:stream';
import {
  formatDataHead,
  formatGoAway,
  formatPing,
  formatReset,
  formatSynReply,
  resetStatus,
  type SpdyFrame,
  SpdyFrameReader,
  SpdyProtocolError,
} from './spdy-frames.ts';
import { SpdyHeaderReader, SpdyHeaderWriter } from './spdy-headers.ts';

/** Bytes of a stream that are kept for its reader before the connection waits. */
const maxUnreadBytes = 256 * 1024;
/** Of a data frame that we write. */
const maxDataBytes = 256 * 1024;
/** A client that does not close its side after ours is cut off. */
const lingerMs = 10_000;

export interface SpdyConnectionOptions {
  /** Streams open at once; further ones are refused. */
  readonly maxStreams: number;
  /** Called with each stream that the client opens. */
  readonly onStream: (stream: SpdyStream) => void;
}

/** A stream that the client opened. destroy() resets it. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly #connection: StreamLinks;

  constructor(id: number, headers: ReadonlyMap<string, string>, connection: StreamLinks) {
    super({ readableHighWaterMark: maxUnreadBytes, emitClose: true });
    this.id = id;
    this.headers = headers;
    this.#connection = connection;
  }

  override _read(): void {
    this.#connection.wasRead(this.id);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#connection.send(this.id, chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#connection.send(this.id, undefined, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#connection.closed(this.id, this.readableEnded && this.writableFinished);
    done(error);
  }
}

interface StreamLinks {
  wasRead(id: number): void;
  /** No data: the end. */
  send(id: number, data: Buffer | undefined, done: (error?: Error | null) => void): void;
  closed(id: number, isWhole: boolean): void;
}

export class SpdyConnection {
  readonly #socket: Duplex;
  readonly #options: SpdyConnectionOptions;
  readonly #frames = new SpdyFrameReader();
  readonly #headerReader = new SpdyHeaderReader();
  readonly #headerWriter = new SpdyHeaderWriter();
  readonly #streams = new Map<number, SpdyStream>();
  /** Streams whose reader has enough for now. */
  readonly #full = new Set<number>();
  readonly #ended: Promise<void>;
  #lastId = 0;
  #isClosing = false;
  #nextPing = 2;

  constructor(socket: Duplex, options: SpdyConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#ended = new Promise((resolve) => {
      socket.once('close', () => {
        for (const stream of this.#streams.values()) stream.destroy();
        resolve();
      });
    });
    socket.on('error', () => {}); // `close` follows, which ends all streams
    socket.on('end', () => this.#peerEnded());
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
  }

  /** Resolves when the connection is gone, whoever ended it. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Keeps the path to the client open, and finds out whether it is still there. */
  ping(): void {
    if (this.#socket.writable) this.#socket.write(formatPing(this.#nextPing));
    this.#nextPing = (this.#nextPing + 2) % 0x7fff_fffe;
  }

  /** Sends what was written and then the end. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#socket.writable) this.#socket.end(formatGoAway(this.#lastId));
    this.#socket.resume(); // what still comes is thrown away, so that the client's end is seen
    const deadline = setTimeout(() => this.destroy(), lingerMs).unref();
    this.#socket.once('close', () => clearTimeout(deadline));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    if (this.#isClosing) return;
    try {
      for (const frame of this.#frames.read(bytes)) this.#take(frame);
    } catch (error) {
      if (!(error instanceof SpdyProtocolError)) throw error;
      this.destroy();
    }
    if (this.#full.size > 0) this.#socket.pause();
  }

  #take(frame: SpdyFrame): void {
    switch (frame.kind) {
      case 'syn-stream': {
        const headers = this.#headerReader.read(frame.headerBlock);
        return this.#open(frame.id, headers, frame.isLast);
      }
      case 'headers':
        this.#headerReader.read(frame.headerBlock);
        if (frame.isLast) this.#endOfInput(frame.id);
        return;
      case 'data': {
        const stream = this.#streams.get(frame.id);
        // A copy: the piece is part of what the socket read, which would be kept as a whole.
        const hasRoom = stream?.push(Buffer.from(frame.data)) ?? true;
        if (!hasRoom && this.#streams.has(frame.id)) this.#full.add(frame.id);
        return;
      }
      case 'end':
        return this.#endOfInput(frame.id);
      case 'reset':
        this.#forget(frame.id)?.destroy();
        return;
      case 'ping':
        if (frame.id % 2 === 1 && this.#socket.writable) this.#socket.write(formatPing(frame.id));
        return;
      case 'go-away':
        return; // the client opens no further streams; it closes the connection when these have ended
      default:
        throw new TypeError(`unknown frame: ${JSON.stringify(frame satisfies never)}`);
    }
  }

  #open(id: number, headers: ReadonlyMap<string, string>, isLast: boolean): void {
    if (id % 2 === 0 || id <= this.#lastId) {
      throw new SpdyProtocolError(`stream ${id} was opened after stream ${this.#lastId}; ids are odd and only grow`);
    }
    this.#lastId = id;
    if (this.#streams.size >= this.#options.maxStreams) {
      this.#socket.write(formatReset(id, resetStatus.refusedStream));
      return;
    }
    const stream = new SpdyStream(id, headers, {
      wasRead: (which) => this.#wasRead(which),
      send: (which, data, done) => this.#send(which, data, done),
      closed: (which, isWhole) => this.#closed(which, isWhole),
    });
    stream.on('error', () => {}); // whoever uses the stream sees it close
    this.#streams.set(id, stream);
    this.#socket.write(formatSynReply(id, this.#headerWriter.format(new Map())));
    if (isLast) stream.push(null);
    this.#options.onStream(stream);
  }

  #endOfInput(id: number): void {
    this.#streams.get(id)?.push(null);
    this.#wasRead(id); // nothing comes after it, so there is nothing to wait for
  }

  #wasRead(id: number): void {
    if (this.#full.delete(id) && this.#full.size === 0) this.#socket.resume();
  }

  #send(id: number, data: Buffer | undefined, done: (error?: Error | null) => void): void {
    if (!this.#socket.writable) return done(new Error('the connection is closed'));
    if (data === undefined) {
      this.#socket.write(formatDataHead(id, 0, true), done);
      return;
    }
    if (data.length === 0) return done();
    // In one go, so that no other frame comes between a head and its data.
    this.#socket.cork();
    for (let offset = 0; offset < data.length; offset += maxDataBytes) {
      const part = data.subarray(offset, offset + maxDataBytes);
      this.#socket.write(formatDataHead(id, part.length, false));
      this.#socket.write(part, offset + part.length < data.length ? undefined : done);
    }
    this.#socket.uncork();
  }

  #closed(id: number, isWhole: boolean): void {
    const isKnown = this.#forget(id) !== undefined;
    if (isKnown && !isWhole && !this.#isClosing && this.#socket.writable) {
      this.#socket.write(formatReset(id, resetStatus.cancel));
    }
  }

  #forget(id: number): SpdyStream | undefined {
    const stream = this.#streams.get(id);
    this.#streams.delete(id);
    this.#wasRead(id);
    return stream;
  }

  #peerEnded(): void {
    for (const stream of this.#streams.values()) stream.destroy();
    this.#isClosing = true;
    this.#socket.end();
  }
}
