/** Reads fields of protobuf messages by tables of what each number is. Pure. Source: protobuf.dev, encoding. */
import type { Json } from './json.ts';
import { badRequest } from './status-error.ts';

export type Decode = (content: Buffer | number) => Json | undefined;

export interface Field {
  readonly name: string;
  readonly decode: Decode;
  readonly holds: 'one' | 'many' | 'map';
}

export type Message = ReadonlyMap<number, Field>;

export const bytesOf = (content: Buffer | number): Buffer => (Buffer.isBuffer(content) ? content : Buffer.alloc(0));

export const asText: Decode = (content) => bytesOf(content).toString('utf8');
export const asBase64: Decode = (content) => bytesOf(content).toString('base64');
export const asNumber: Decode = (content) => (typeof content === 'number' ? content : 0);
export const asFlag: Decode = (content) => content === 1;

export const one = (name: string, decode: Decode): Field => ({ name, decode, holds: 'one' });
export const many = (name: string, decode: Decode): Field => ({ name, decode, holds: 'many' });
export const map = (name: string, decode: Decode): Field => ({ name, decode, holds: 'map' });

export const asMessage =
  (message: Message): Decode =>
  (content) =>
    decodeMessage(message, bytesOf(content));

/** meta/v1 Time; an empty one is no time at all. */
export const asTime: Decode = (content) => {
  const seconds = decodeFields(bytesOf(content)).find(({ number }) => number === 1)?.content;
  if (typeof seconds !== 'number' || Math.abs(seconds) > 253_402_300_799) return undefined;
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
};

const objectMeta: Message = new Map([
  [1, one('name', asText)],
  [2, one('generateName', asText)],
  [3, one('namespace', asText)],
  [5, one('uid', asText)],
  [6, one('resourceVersion', asText)],
  [11, map('labels', asText)],
  [12, map('annotations', asText)],
  [
    13,
    many(
      'ownerReferences',
      asMessage(
        new Map([
          [1, one('kind', asText)],
          [3, one('name', asText)],
          [4, one('uid', asText)],
          [5, one('apiVersion', asText)],
          [6, one('controller', asFlag)],
          [7, one('blockOwnerDeletion', asFlag)],
        ]),
      ),
    ),
  ],
  [14, many('finalizers', asText)],
]);

export const metadata = one('metadata', asMessage(objectMeta));

export const objectReference = asMessage(
  new Map([
    [1, one('kind', asText)],
    [2, one('namespace', asText)],
    [3, one('name', asText)],
    [4, one('uid', asText)],
    [5, one('apiVersion', asText)],
    [6, one('resourceVersion', asText)],
    [7, one('fieldPath', asText)],
  ]),
);

export function decodeMessage(message: Message, content: Buffer): { readonly [key: string]: Json } {
  const object: Record<string, Json> = {};
  // Filled in place: with a copy for each entry, a body of many entries would hold up everyone for minutes.
  const maps = new Map<string, Record<string, Json>>();
  const lists = new Map<string, Json[]>();
  for (const { number, content: raw } of decodeFields(content)) {
    const field = message.get(number);
    if (field === undefined) continue;
    const { name, holds, decode } = field;
    if (holds === 'map') {
      const [key, value] = decodeMapEntry(bytesOf(raw), decode);
      const entries = maps.get(name) ?? {};
      entries[key] = value;
      maps.set(name, entries);
      object[name] = entries;
      continue;
    }
    const value = decode(raw);
    // Go writes empty fields too; to a schema they would be values. In a list they are: "" is the core API group.
    if (value === undefined || (value === '' && holds === 'one')) continue;
    if (holds === 'one') {
      object[name] = value;
      continue;
    }
    const items = lists.get(name) ?? [];
    items.push(value);
    lists.set(name, items);
    object[name] = items;
  }
  return object;
}

function decodeMapEntry(content: Buffer, decode: Decode): readonly [string, Json] {
  const fields = decodeFields(content);
  const key = String(asText(fields.find(({ number }) => number === 1)?.content ?? 0));
  if (key === '__proto__') throw badRequest('the key "__proto__" is not accepted');
  return [key, decode(fields.find(({ number }) => number === 2)?.content ?? 0) ?? null];
}

interface RawField {
  readonly number: number;
  readonly content: Buffer | number;
}

export function decodeFields(buffer: Buffer): readonly RawField[] {
  const fields: RawField[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = buffer[at++];
      if (byte === undefined) throw badRequest('the protobuf body ends within a field');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    }
    throw badRequest('the protobuf body holds a number that is too long');
  };
  while (at < buffer.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    switch (tag & 7) {
      case 0:
        fields.push({ number, content: varint() });
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const length = varint();
        if (length < 0 || at + length > buffer.length) throw badRequest('the protobuf body ends within a field');
        fields.push({ number, content: buffer.subarray(at, at + length) });
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw badRequest('the protobuf body holds a field of a type that is not known');
    }
  }
  return fields;
}
