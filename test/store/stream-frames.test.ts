/** The readers of frames, header blocks, messages, sizes and options: by table, and against anything that may come. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { duplexPair, PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { constants, createDeflate } from 'node:zlib';
import fc from 'fast-check';
import pino from 'pino';
import { StatusError } from '../../store/status-error.ts';
import { formatExitStatus, formatExitText } from '../../store/streams/exit-status.ts';
import { parseAttachOptions, parseExecOptions, parseForwardPorts } from '../../store/streams/options.ts';
import { forwardOverSpdy } from '../../store/streams/port-forward.ts';
import { runRemoteCommand } from '../../store/streams/remote-command.ts';
import type { CommandClient, CommandResult, Session, TerminalSize } from '../../store/streams/session.ts';
import { SpdyConnection, type SpdyStream } from '../../store/streams/spdy-connection.ts';
import {
  formatDataHead,
  formatGoAway,
  formatPing,
  formatReset,
  formatSynReply,
  formatSynStream,
  maxControlFrameBytes,
  type SpdyFrame,
  SpdyFrameReader,
  SpdyProtocolError,
} from '../../store/streams/spdy-frames.ts';
import { SpdyHeaderReader, SpdyHeaderWriter, spdyDictionary } from '../../store/streams/spdy-headers.ts';
import { createSpdyTransport } from '../../store/streams/spdy-transport.ts';
import { StreamServer } from '../../store/streams/stream-server.ts';
import { parseTerminalSize, TerminalSizeReader } from '../../store/streams/terminal-size.ts';
import {
  chooseCommandProtocol,
  formatMessage,
  parseMessage,
  parseOffered,
} from '../../store/streams/websocket-channels.ts';
import { until } from '../until.ts';

const block = Buffer.from('block');
const control = (type: number, body: Buffer, version = 3): Buffer =>
  Buffer.concat([Buffer.from([0x80, version, 0, type, 0, 0, body.length >> 8, body.length & 0xff]), body]);

/** What a reader makes of bytes that come in pieces of a size; data in one piece, however it came. */
function readAll(bytes: Buffer, pieceBytes: number): readonly SpdyFrame[] {
  const reader = new SpdyFrameReader();
  const frames: SpdyFrame[] = [];
  for (let offset = 0; offset < bytes.length; offset += pieceBytes) {
    for (const frame of reader.read(bytes.subarray(offset, offset + pieceBytes))) {
      const last = frames.at(-1);
      if (frame.kind === 'data' && last?.kind === 'data' && last.id === frame.id) {
        frames[frames.length - 1] = { ...last, data: Buffer.concat([last.data, frame.data]) };
      } else frames.push(frame);
    }
  }
  return frames;
}

describe('SpdyFrameReader', () => {
  const cases: { it: string; bytes: Buffer; want: readonly SpdyFrame[] }[] = [
    {
      it: 'reads a new stream',
      bytes: formatSynStream(5, block, true),
      want: [{ kind: 'syn-stream', id: 5, isLast: true, headerBlock: block }],
    },
    {
      it: 'reads a reply, whose headers count for the compression',
      bytes: formatSynReply(2, block),
      want: [{ kind: 'headers', id: 2, isLast: false, headerBlock: block }],
    },
    {
      it: 'reads data and the end',
      bytes: Buffer.concat([
        formatDataHead(7, 5, true),
        block,
        formatDataHead(9, 0, true),
        formatDataHead(9, 0, false),
      ]),
      want: [
        { kind: 'data', id: 7, data: block },
        { kind: 'end', id: 7 },
        { kind: 'end', id: 9 },
      ],
    },
    {
      it: 'reads a reset, a ping and a goodbye',
      bytes: Buffer.concat([formatReset(3, 5), formatPing(11), formatGoAway(0)]),
      want: [{ kind: 'reset', id: 3 }, { kind: 'ping', id: 11 }, { kind: 'go-away' }],
    },
    {
      it: 'passes over settings, window updates and what it does not know',
      bytes: Buffer.concat([...[4, 9, 5, 200].map((type) => control(type, Buffer.alloc(8))), formatPing(1)]),
      want: [{ kind: 'ping', id: 1 }],
    },
  ];
  for (const { it: title, bytes, want } of cases) {
    it(title, () => {
      for (const size of [1, 3, 8, 9, 1_000]) assert.deepEqual(readAll(bytes, size), want, `in pieces of ${size}`);
    });
  }

  it('refuses what is not SPDY/3', () => {
    const bad: readonly (readonly [Buffer, RegExp])[] = [
      [control(6, Buffer.alloc(4), 2), /SPDY version 2/],
      [Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]), new RegExp(`at most ${maxControlFrameBytes}`)],
      [control(1, Buffer.alloc(9)), /only 9 bytes/],
      [control(6, Buffer.alloc(3)), /only 3 bytes/],
      [Buffer.from('\xffTTP/1.1 200 OK\r\n', 'latin1'), /SPDY version/],
    ];
    for (const [bytes, message] of bad) {
      assert.throws(
        () => readAll(bytes, 1_000),
        (error) => error instanceof SpdyProtocolError && message.test(error.message),
      );
    }
  });

  it('makes the same of bytes however they are cut, and of any bytes either frames or a protocol error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 20 }), (random, size) => {
        // Half of them begin like a control frame, or nearly all would be data of some stream.
        const bytes = Buffer.from(random);
        if (bytes.length > 8 && (bytes[0] ?? 0) > 127) Buffer.from([0x80, 3, 0]).copy(bytes);
        const outcome = (pieceBytes: number): unknown => {
          try {
            return readAll(bytes, pieceBytes);
          } catch (error) {
            assert.ok(error instanceof SpdyProtocolError, String(error));
            return error.message;
          }
        };
        const [whole, cut] = [outcome(1_000), outcome(size)];
        if (typeof whole !== 'string' && typeof cut !== 'string') assert.deepEqual(cut, whole);
        else assert.equal(cut, whole);
      }),
      { numRuns: 2_000, verbose: true },
    );
  });
});

describe('SpdyHeaderReader', () => {
  /** Compresses as Go's and C's zlib do: one state, a sync flush after each block. */
  async function compress(blocks: readonly Buffer[]): Promise<readonly Buffer[]> {
    const deflate = createDeflate({ dictionary: spdyDictionary });
    const out: Buffer[] = [];
    for (const one of blocks) {
      deflate.write(one);
      await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, resolve));
      const chunks: Buffer[] = [];
      for (let chunk: Buffer | null = deflate.read(); chunk !== null; chunk = deflate.read()) chunks.push(chunk);
      out.push(Buffer.concat(chunks));
    }
    deflate.destroy();
    return out;
  }

  /** A block's text: what the writer makes, without the frame of zlib around it. */
  function textOf(headers: ReadonlyMap<string, string>): Buffer {
    const writer = new SpdyHeaderWriter();
    writer.format(new Map());
    return writer.format(headers).subarray(5, -5);
  }

  it('knows the dictionary of the draft', () => {
    let [a, b] = [1, 0];
    for (const byte of spdyDictionary) {
      a = (a + byte) % 65_521;
      b = (b + a) % 65_521;
    }
    assert.equal(spdyDictionary.length, 1_423);
    assert.equal((b * 65_536 + a).toString(16), 'e3c6a7c2');
  });

  it('reads blocks that refer to those before, over more than the window', async () => {
    const headers = Array.from(
      { length: 400 },
      (_, index) =>
        new Map([
          ['streamtype', index % 2 === 0 ? 'error' : 'data'],
          ['port', '8080'],
          ['requestid', `${index}${'x'.repeat(index % 300)}`],
        ]),
    );
    const reader = new SpdyHeaderReader();
    const read = (await compress(headers.map(textOf))).map((one) => reader.read(one));
    assert.deepEqual(read, headers);
  });

  it('reads what the writer writes', () => {
    const [reader, writer] = [new SpdyHeaderReader(), new SpdyHeaderWriter()];
    for (const headers of [
      new Map(),
      new Map([
        ['a', 'b'],
        ['', '\0'],
      ]),
      new Map([['c', 'ä'.repeat(1_000)]]),
    ]) {
      assert.deepEqual(reader.read(writer.format(headers)), headers);
    }
  });

  it('refuses a bomb, a lie about a length, and what is not compressed', async () => {
    const huge = await compress([Buffer.concat([Buffer.from([0, 0, 0, 1]), Buffer.alloc(10_000_000)])]);
    const lie = await compress([Buffer.from([0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1])]);
    const many = await compress([Buffer.from([0xff, 0xff, 0xff, 0xff])]);
    for (const bytes of [huge[0], lie[0], many[0], Buffer.alloc(0), Buffer.from('plain text')]) {
      assert.throws(() => new SpdyHeaderReader().read(bytes ?? assert.fail('no block')), SpdyProtocolError);
    }
  });

  it('makes either headers or a protocol error of any bytes', () => {
    const head = Buffer.from('78bbe3c6a7c2', 'hex');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          new SpdyHeaderReader().read(Buffer.concat([head, bytes]));
        } catch (error) {
          assert.ok(error instanceof SpdyProtocolError, String(error));
        }
      }),
      { numRuns: 1_000, verbose: true },
    );
  });
});

describe('SpdyConnection', () => {
  interface Peer {
    readonly streams: SpdyStream[];
    readonly connection: SpdyConnection;
    readonly answers: SpdyFrame[];
    send(...frames: readonly Buffer[]): void;
    end(): void;
    readonly isOver: () => boolean;
  }

  function connect(maxStreams = 4): Peer {
    const [server, client] = duplexPair();
    const streams: SpdyStream[] = [];
    const connection = new SpdyConnection(server, { maxStreams, onStream: (stream) => streams.push(stream) });
    const reader = new SpdyFrameReader();
    const answers: SpdyFrame[] = [];
    client.on('data', (bytes: Buffer) => answers.push(...reader.read(bytes)));
    client.on('error', () => {});
    let isOver = false;
    void connection.ended.then(() => {
      isOver = true;
    });
    return {
      streams,
      connection,
      answers,
      send: (...frames) => client.write(Buffer.concat(frames)),
      end: () => client.end(),
      isOver: () => isOver,
    };
  }

  const headers = new SpdyHeaderWriter();
  const first = headers.format(new Map([['streamtype', 'stdin']]));

  it('opens streams, carries their data both ways, and ends them', async () => {
    const peer = connect();
    peer.send(formatSynStream(1, first, false), formatDataHead(1, 5, true), block);
    await until(() => peer.streams.length === 1, 'the stream');
    const [stream] = peer.streams;
    assert.equal(stream?.headers.get('streamtype'), 'stdin');
    const received: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => received.push(chunk));
    await once(stream, 'end');
    assert.deepEqual(Buffer.concat(received), block);
    stream.end('answer');
    await until(() => peer.answers.some(({ kind }) => kind === 'end'), 'the end');
    assert.deepEqual(
      peer.answers.map(({ kind }) => kind),
      ['headers', 'data', 'end'],
    );
    peer.connection.close();
    await until(() => peer.answers.some(({ kind }) => kind === 'go-away'), 'the goodbye');
    peer.end();
    await until(peer.isOver, 'the end of the connection');
  });

  it('answers pings, and not those of its own', async () => {
    const peer = connect();
    peer.send(formatPing(2), formatPing(3));
    await until(() => peer.answers.length === 1, 'the answer');
    assert.deepEqual(peer.answers, [{ kind: 'ping', id: 3 }]);
    peer.connection.destroy();
  });

  it('refuses more streams than it may have, and goes on', async () => {
    const peer = connect(1);
    const second = formatSynStream(3, new SpdyHeaderWriter().format(new Map()).subarray(6), false);
    peer.send(formatSynStream(1, first, false), second, formatPing(1));
    await until(() => peer.answers.some(({ kind }) => kind === 'ping'), 'the ping');
    assert.deepEqual(
      peer.answers.map(({ kind, ...rest }) => [kind, 'id' in rest ? rest.id : 0]),
      [
        ['headers', 1],
        ['reset', 3],
        ['ping', 1],
      ],
    );
    peer.connection.destroy();
  });

  it('stops reading when a stream is not read, and goes on when it is', async () => {
    const peer = connect();
    const piece = Buffer.alloc(64 * 1024);
    peer.send(formatSynStream(1, first, false));
    await until(() => peer.streams.length === 1, 'the stream');
    for (let sent = 0; sent < 20; sent++) peer.send(formatDataHead(1, piece.length, sent === 19), piece);
    peer.send(formatPing(1));
    const [stream] = peer.streams;
    await until(() => (stream?.readableLength ?? 0) >= 256 * 1024, 'the stream to be full');
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok((stream?.readableLength ?? 0) < 1024 * 1024);
    assert.deepEqual(
      peer.answers.filter(({ kind }) => kind === 'ping'),
      [],
    );
    assert.equal((await buffer(stream ?? assert.fail())).length, 20 * piece.length);
    await until(() => peer.answers.some(({ kind }) => kind === 'ping'), 'the ping after the data');
    peer.connection.destroy();
  });

  it('goes on when a stream that is full is reset', async () => {
    const peer = connect();
    peer.send(formatSynStream(1, first, false), formatDataHead(1, 300_000, false), Buffer.alloc(300_000));
    await until(() => (peer.streams[0]?.readableLength ?? 0) > 0, 'data');
    peer.streams[0]?.destroy();
    peer.send(formatDataHead(1, 5, false), block, formatPing(1));
    await until(() => peer.answers.some(({ kind }) => kind === 'ping'), 'the ping');
    peer.connection.destroy();
  });

  it('ends all streams with the connection', async () => {
    const peer = connect();
    peer.send(formatSynStream(1, first, false));
    await until(() => peer.streams.length === 1, 'the stream');
    peer.end();
    await until(peer.isOver, 'the end of the connection');
    assert.equal(peer.streams[0]?.destroyed, true);
  });

  it('is cut off by whatever is no SPDY', async () => {
    const bad: readonly Buffer[] = [
      Buffer.from([0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]),
      formatSynStream(2, first, false),
      formatSynStream(1, block, false),
      Buffer.concat([formatSynStream(3, first, false), formatSynStream(1, first, false)]),
    ];
    for (const bytes of bad) {
      const peer = connect();
      peer.send(bytes);
      await until(peer.isOver, 'the end of the connection');
    }
  });

  it('survives any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), async (pieces) => {
        const peer = connect();
        const frames = [formatSynStream(1, first, false), formatPing(1), formatReset(1, 5), formatDataHead(1, 4, true)];
        peer.send(...pieces.flatMap((piece, index) => [frames[index % 4] ?? block, Buffer.from(piece)]));
        peer.end();
        for (const stream of peer.streams) stream.resume();
        await until(() => {
          for (const stream of peer.streams) stream.resume();
          return peer.isOver();
        }, 'the end of the connection');
      }),
      { numRuns: 200, verbose: true },
    );
  });
});

describe('StreamServer', () => {
  it('refuses more sessions than it may have, before it asks for one', async () => {
    const log = pino({ level: 'silent' });
    const server = new StreamServer({ log, stop: new AbortController().signal, maxSessions: 0 });
    const refuse = (): never => assert.fail('it was asked for');
    await assert.rejects(
      server.serve({
        request: new IncomingMessage(new Socket()),
        socket: new Socket(),
        head: Buffer.alloc(0),
        subresource: 'exec',
        query: new URLSearchParams('command=true&stdout=1'),
        ends: { exec: refuse, attach: refuse, portForward: refuse },
        onSwitched: refuse,
      }),
      (error) => error instanceof StatusError && error.code === 429 && error.reason === 'TooManyRequests',
    );
  });
});

describe('channels of a WebSocket', () => {
  it('gives back what was formatted, in both forms', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.integer({ min: 0, max: 9 }), fc.boolean(), (data, channel, isBase64) => {
        const message = { channel, data: Buffer.from(data) };
        assert.deepEqual(parseMessage(Buffer.from(formatMessage(message, { isBase64 })), { isBase64 }), message);
      }),
      { verbose: true },
    );
  });

  it('has no channel in an empty message, or in text that begins with no digit', () => {
    assert.equal(parseMessage(Buffer.alloc(0), { isBase64: false }), undefined);
    assert.equal(parseMessage(Buffer.from('x'), { isBase64: true }), undefined);
    assert.deepEqual(parseMessage(Buffer.from([255, 0]), { isBase64: false }), {
      channel: 255,
      data: Buffer.from([0]),
    });
  });

  it('chooses the first of the offered protocols that it knows', () => {
    assert.deepEqual(parseOffered(' a, v4.channel.k8s.io ,,b '), ['a', 'v4.channel.k8s.io', 'b']);
    assert.equal(chooseCommandProtocol(['a', 'v4.channel.k8s.io', 'v5.channel.k8s.io'])?.name, 'v4.channel.k8s.io');
    assert.equal(chooseCommandProtocol(['a']), undefined);
    assert.deepEqual(chooseCommandProtocol([]), {
      name: undefined,
      isBase64: false,
      hasStatus: false,
      canEndInput: false,
    });
  });
});

describe('terminal sizes', () => {
  const cases: { text: string; want: TerminalSize | undefined }[] = [
    { text: '{"Width":80,"Height":24}', want: { columns: 80, rows: 24 } },
    { text: '{"height":24,"width":80}', want: { columns: 80, rows: 24 } },
    { text: '{"Width":0,"Height":0}', want: undefined },
    { text: '{"Width":-1,"Height":24}', want: undefined },
    { text: '{"Width":1.5,"Height":24}', want: undefined },
    { text: '{"Width":65536,"Height":24}', want: undefined },
    { text: '{"Width":"80","Height":24}', want: undefined },
    { text: '{}', want: undefined },
    { text: 'null', want: undefined },
    { text: '[', want: undefined },
  ];
  for (const { text, want } of cases) {
    it(`takes ${text} for ${JSON.stringify(want) ?? 'none'}`, () => assert.deepEqual(parseTerminalSize(text), want));
  }
  it('are found in a stream, however it is cut', () => {
    const reader = new TerminalSizeReader();
    const read = ['{"Width":80,', '"Height":24}\n{"Wid', 'th":81,"Height":24}', '\n', '}{"x"}{"Width":1,"Height":2}'];
    assert.deepEqual(
      read.flatMap((text) => reader.read(text)),
      [
        { columns: 80, rows: 24 },
        { columns: 81, rows: 24 },
        { columns: 1, rows: 2 },
      ],
    );
  });
  it('keep no more of what is none than a little', () => {
    const reader = new TerminalSizeReader();
    for (let index = 0; index < 100; index++) assert.deepEqual(reader.read('x'.repeat(100_000)), []);
    assert.deepEqual(reader.read('}{"Width":1,"Height":2}'), [{ columns: 1, rows: 2 }]);
  });
  it('are looked for in the end of a large message alone, so that nobody is kept busy', () => {
    const size = '{"Width":1,"Height":2}';
    const found = new TerminalSizeReader().read(size.repeat(100_000));
    assert.ok(found.length > 0 && found.length < 100, `${found.length} sizes`);
    assert.equal(parseTerminalSize(`${size}${' '.repeat(2_000)}`), undefined);
  });
});

describe('a port-forward over SPDY', () => {
  it('forgets a half that its client has reset, and takes the pair when it is opened again', async () => {
    const [server, client] = duplexPair();
    const [inside, program] = duplexPair();
    const headers = new SpdyHeaderWriter();
    const open = (id: number, type: string): Buffer =>
      formatSynStream(
        id,
        headers.format(
          new Map([
            ['streamtype', type],
            ['port', '80'],
            ['requestid', '0'],
          ]),
        ),
        false,
      );
    const reader = new SpdyFrameReader();
    const answers: SpdyFrame[] = [];
    client.on('data', (bytes: Buffer) => answers.push(...reader.read(bytes)));
    const dialled: number[] = [];
    const over = forwardOverSpdy(createSpdyTransport(server, new AbortController().signal), async (port) => {
      dialled.push(port);
      return inside;
    });
    try {
      client.write(Buffer.concat([open(1, 'error'), formatReset(1, 5), open(3, 'error'), open(5, 'data')]));
      program.end('hello');
      await until(() => answers.some((frame) => frame.kind === 'data' && frame.id === 5), 'what the program said');
      assert.deepEqual(dialled, [80]);
      assert.deepEqual(
        answers.filter(({ kind }) => kind === 'reset'),
        [],
      );
    } finally {
      client.destroy();
      server.destroy();
      await over;
    }
  });
});

describe('a remote command', () => {
  it('ends although its client closed an output before the process was there', async () => {
    const stdout = new PassThrough();
    stdout.destroy();
    const results: CommandResult[] = [];
    const client: CommandClient = {
      stdin: undefined,
      stdout,
      stderr: undefined,
      onResize: () => {},
      gone: new AbortController().signal,
      finish: async (result) => void results.push(result),
    };
    const open = async (): Promise<Session> => ({
      stdin: undefined,
      stdout: Readable.from([Buffer.alloc(1_000_000), Buffer.alloc(1_000_000)]),
      stderr: undefined,
      resize: async () => {},
      exit: Promise.resolve(3),
      close: async () => {},
    });
    await runRemoteCommand(client, { hasTerminal: false, open, toFailure: () => assert.fail('it does not fail') });
    assert.deepEqual(results, [{ kind: 'exited', code: 3 }]);
  });
});

describe('options of streams', () => {
  const all = { container: undefined, stdin: false, stdout: false, stderr: false, tty: false };
  const cases: { query: string; want: unknown }[] = [
    { query: 'command=a&stdout=true', want: { ...all, stdout: true, command: ['a'] } },
    {
      query: 'command=a&command=b+c&stdin=1&stdout=1&stderr=1&container=web',
      want: { container: 'web', stdin: true, stdout: true, stderr: true, tty: false, command: ['a', 'b c'] },
    },
    { query: 'command=a&stdout=true&stderr=false&tty=0', want: { ...all, stdout: true, command: ['a'] } },
    { query: 'command=a&stdout=1&stderr=1&tty=1', want: { ...all, stdout: true, tty: true, command: ['a'] } },
    { query: 'stdout=1', want: /command: Required value/ },
    { query: 'command=&stdout=1', want: /no name/ },
    { query: 'command=a', want: /at least 1 of stdin, stdout, stderr/ },
    { query: 'command=a&stderr=1&tty=1', want: /at least 1 of stdin, stdout, stderr/ },
    { query: 'command=a%00&stdout=1', want: /zero byte/ },
    { query: `${'command=a&'.repeat(4_097)}stdout=1`, want: /Too many: 4097/ },
  ];
  for (const { query, want } of cases) {
    it(`of exec: ${query.slice(0, 60)}`, () => {
      if (want instanceof RegExp) {
        assert.throws(
          () => parseExecOptions(new URLSearchParams(query)),
          (error) => error instanceof StatusError && error.code === 400 && want.test(error.message),
        );
      } else assert.deepEqual(parseExecOptions(new URLSearchParams(query)), want);
    });
  }
  it('of attach need no command', () => {
    assert.deepEqual(parseAttachOptions(new URLSearchParams('stdin=true&tty=true')), {
      ...all,
      stdin: true,
      tty: true,
    });
  });
  it('of port-forward are ports', () => {
    assert.deepEqual(parseForwardPorts(new URLSearchParams('ports=80&ports=8080,53')), [80, 8080, 53]);
    for (const query of [
      '',
      'ports=',
      'ports=0',
      'ports=65536',
      'ports=-1',
      'ports=80,',
      `ports=${'1,'.repeat(100)}1`,
    ]) {
      assert.throws(() => parseForwardPorts(new URLSearchParams(query)), StatusError);
    }
  });
});

describe('the last words of a stream', () => {
  const cases: { result: CommandResult; status: unknown; text: string }[] = [
    { result: { kind: 'exited', code: 0 }, status: { metadata: {}, status: 'Success' }, text: '' },
    { result: { kind: 'detached' }, status: { metadata: {}, status: 'Success' }, text: '' },
    {
      result: { kind: 'exited', code: 7 },
      status: {
        metadata: {},
        status: 'Failure',
        message: 'command terminated with non-zero exit code: exit status 7',
        reason: 'NonZeroExitCode',
        details: { causes: [{ reason: 'ExitCode', message: '7' }] },
      },
      text: 'command terminated with non-zero exit code: exit status 7',
    },
    {
      result: { kind: 'failed', status: { code: 400, reason: 'BadRequest', message: 'no' } },
      status: { metadata: {}, status: 'Failure', message: 'no', reason: 'BadRequest', code: 400 },
      text: 'no',
    },
  ];
  for (const { result, status, text } of cases) {
    it(`tell ${JSON.stringify(result)}`, () => {
      assert.deepEqual(JSON.parse(formatExitStatus(result)), status);
      assert.equal(formatExitText(result), text);
    });
  }
});
