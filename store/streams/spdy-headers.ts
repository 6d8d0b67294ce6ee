/**
 * Header blocks of SPDY/3: names and values, compressed by zlib with a known dictionary and with one state for all
 * blocks of a direction. Each block ends with a sync flush, hence at a whole byte, so that the next one can be read by
 * itself if only the last 32 KiB of text are known: no compressor is kept open. Source: SPDY draft 3, section 2.6.10.
 */
import { constants, inflateRawSync } from 'node:zlib';
import { SpdyProtocolError } from './spdy-frames.ts';

const windowBytes = 32 * 1024;
const maxTextBytes = 64 * 1024;

const words = [
  ...'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age'.split(
    ' ',
  ),
  ...'allow authorization cache-control connection content-base content-encoding content-language'.split(' '),
  ...'content-length content-location content-md5 content-range content-type date etag expect expires'.split(' '),
  ...'from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified'.split(' '),
  ...'location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server'.split(' '),
  ...'te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status'.split(' '),
  ...['200 OK', 'version', 'HTTP/1.1', 'url', 'public', 'set-cookie', 'keep-alive', 'origin'],
];

const tail = [
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505',
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized',
  '403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable',
  'Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT',
  'chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,',
  'text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.',
].join('');

/** The dictionary that both sides begin with: common words, each after its length, and what follows them. */
export const spdyDictionary = Buffer.concat([...words.map(formatText), Buffer.from(tail)]);

/** zlib's head for a stream that begins with that dictionary: method, flags, and the dictionary's Adler-32. */
const zlibHead = Buffer.from('78bbe3c6a7c2', 'hex');

function formatText(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

export class SpdyHeaderReader {
  /** The text that later blocks may refer to. */
  #window: Buffer = spdyDictionary;
  #isFirst = true;

  /** Names are in lower case. Throws SpdyProtocolError; the reader must not be used then. */
  read(block: Buffer): ReadonlyMap<string, string> {
    const text = this.#inflate(block);
    this.#window = Buffer.concat([this.#window, text]).subarray(-windowBytes);
    return parseHeaders(text);
  }

  #inflate(block: Buffer): Buffer {
    if (this.#isFirst && (block.length < zlibHead.length || !block.subarray(2, 6).equals(zlibHead.subarray(2)))) {
      throw new SpdyProtocolError("the first header block does not begin with SPDY/3's dictionary");
    }
    const deflated = this.#isFirst ? block.subarray(zlibHead.length) : block;
    this.#isFirst = false;
    try {
      return inflateRawSync(deflated, {
        dictionary: this.#window,
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: maxTextBytes,
      });
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      throw new SpdyProtocolError(`a header block cannot be read: ${what}`, { cause: error });
    }
  }
}

function parseHeaders(text: Buffer): ReadonlyMap<string, string> {
  let offset = 0;
  const takeLength = (): number => {
    if (offset + 4 > text.length) throw new SpdyProtocolError('a header block ends in the middle of a length');
    offset += 4;
    return text.readUInt32BE(offset - 4);
  };
  const takeText = (): string => {
    const length = takeLength();
    if (offset + length > text.length) {
      throw new SpdyProtocolError(`a header of ${length} bytes is longer than the ${text.length} of its block`);
    }
    offset += length;
    return text.toString('utf8', offset - length, offset);
  };
  const headers = new Map<string, string>();
  const count = takeLength();
  for (let index = 0; index < count; index++) {
    const name = takeText().toLowerCase();
    headers.set(name, takeText());
  }
  return headers;
}

/** An empty stored block. Go's reader gives out what it has only when it comes upon one. */
const syncFlush = Buffer.from('000000ffff', 'hex');

/**
 * Writes header blocks uncompressed, as zlib may, so that nothing of earlier blocks need be known. What we answer with
 * is empty. A text must be shorter than 64 KiB.
 */
export class SpdyHeaderWriter {
  #isFirst = true;

  format(headers: ReadonlyMap<string, string>): Buffer {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(headers.size);
    const text = Buffer.concat([
      count,
      ...[...headers].flatMap(([name, value]) => [formatText(name), formatText(value)]),
    ]);
    const storedHead = Buffer.alloc(5); // of deflate's stored block: not the last, length, length inverted
    storedHead.writeUInt16LE(text.length, 1);
    storedHead.writeUInt16LE(0xffff ^ text.length, 3);
    const block = Buffer.concat([...(this.#isFirst ? [zlibHead] : []), storedHead, text, syncFlush]);
    this.#isFirst = false;
    return block;
  }
}
