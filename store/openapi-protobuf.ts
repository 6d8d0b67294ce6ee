/**
 * OpenAPI v2 as protobuf, which kubectl up to at least 1.32 asks for and older ones cannot do without. Pure.
 * Message and field numbers: google/gnostic openapiv2/OpenAPIv2.proto; only messages that openapi.ts makes use of.
 */
import { dump } from 'js-yaml';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';

/** Under which it is served. Clients ask for `…v2@v1.0+protobuf`, but Go cannot parse a media type with an @ in it. */
export const openApiProtobufType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf';

type Encode = (value: Json) => Buffer;

interface Field {
  readonly number: number;
  readonly encode: Encode;
  /** A list becomes a repeated field. */
  readonly isRepeated?: boolean;
  /** How the value is framed: bytes with their length, or as encode made it. */
  readonly wire: 'varint' | 'double' | 'bytes';
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

const wireTypes = { varint: 0, double: 1, bytes: 2 } as const;

function field(number: number, wire: Field['wire'], content: Buffer): Buffer {
  const tag = varint((number << 3) | wireTypes[wire]);
  return wire === 'bytes' ? Buffer.concat([tag, varint(content.length), content]) : Buffer.concat([tag, content]);
}

function double(value: Json): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeDoubleLE(Number(value));
  return buffer;
}

const text = (number: number): Field => ({ number, wire: 'bytes', encode: (value) => Buffer.from(String(value)) });
const texts = (number: number): Field => ({ ...text(number), isRepeated: true });
const flag = (number: number): Field => ({ number, wire: 'varint', encode: (value) => varint(value === true ? 1 : 0) });
const whole = (number: number): Field => ({ number, wire: 'varint', encode: (value) => varint(Number(value)) });
const real = (number: number): Field => ({ number, wire: 'double', encode: double });
const message = (number: number, encode: Encode): Field => ({ number, wire: 'bytes', encode });
const messages = (number: number, encode: Encode): Field => ({ ...message(number, encode), isRepeated: true });

/** `Any` holds its value as YAML text. */
const anyValue: Encode = (value) => field(2, 'bytes', Buffer.from(dump(value)));

/** A map as a list of {name = 1, value = 2}, in field `number` of the message around it. */
function namedEntries(object: Json, number: number, encode: Encode): Buffer {
  const entries = Object.entries(isJsonObject(object) ? object : {});
  return Buffer.concat(
    entries.map(([name, value]) =>
      field(
        number,
        'bytes',
        Buffer.concat([field(1, 'bytes', Buffer.from(name)), field(2, 'bytes', encode(value ?? null))]),
      ),
    ),
  );
}

/** A message by its field table; `x-…` keys go to field `extensions` as NamedAny. */
function encodeMessage(fields: Readonly<Record<string, Field>>, extensions: number | undefined): Encode {
  return (value) => {
    const parts: Buffer[] = [];
    const vendor: [string, Json][] = [];
    for (const [key, item] of Object.entries(isJsonObject(value) ? value : {})) {
      if (item === undefined) continue;
      const known = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (known === undefined) {
        if (key.startsWith('x-')) vendor.push([key, item]);
        continue;
      }
      const items = known.isRepeated === true && isJsonArray(item) ? item : [item];
      for (const each of items) parts.push(field(known.number, known.wire, known.encode(each)));
    }
    if (extensions !== undefined && vendor.length > 0) {
      parts.push(namedEntries(Object.fromEntries(vendor), extensions, anyValue));
    }
    return Buffer.concat(parts);
  };
}

const schemaFields: Readonly<Record<string, Field>> = {
  $ref: text(1),
  format: text(2),
  title: text(3),
  description: text(4),
  default: message(5, anyValue),
  multipleOf: real(6),
  maximum: real(7),
  exclusiveMaximum: flag(8),
  minimum: real(9),
  exclusiveMinimum: flag(10),
  maxLength: whole(11),
  minLength: whole(12),
  pattern: text(13),
  maxItems: whole(14),
  minItems: whole(15),
  uniqueItems: flag(16),
  maxProperties: whole(17),
  minProperties: whole(18),
  required: texts(19),
  enum: messages(20, anyValue),
  additionalProperties: message(21, (value) =>
    isJsonObject(value) ? field(1, 'bytes', schema(value)) : field(2, 'varint', varint(value === true ? 1 : 0)),
  ),
  type: message(22, (value) =>
    Buffer.concat((isJsonArray(value) ? value : [value]).map((type) => field(1, 'bytes', Buffer.from(String(type))))),
  ),
  items: message(23, (value) => field(1, 'bytes', schema(value))),
  allOf: messages(24, (value) => schema(value)),
  properties: message(25, (value) => namedEntries(value, 1, (child) => schema(child))),
};

function schema(value: Json): Buffer {
  return encodeMessage(schemaFields, 31)(value);
}

const bodyParameter = encodeMessage(
  { description: text(1), name: text(2), in: text(3), required: flag(4), schema: message(5, schema) },
  6,
);
const pathParameter = encodeMessage(
  { required: flag(1), in: text(2), description: text(3), name: text(4), type: text(5), uniqueItems: flag(19) },
  22,
);
const queryParameter = encodeMessage(
  { required: flag(1), in: text(2), description: text(3), name: text(4), type: text(6), uniqueItems: flag(20) },
  23,
);

/** ParametersItem > Parameter > body, or NonBodyParameter > query or path. */
const parameter: Encode = (value) => {
  const place = isJsonObject(value) ? value.in : undefined;
  if (place === 'body') return field(1, 'bytes', field(1, 'bytes', bodyParameter(value)));
  const inner = place === 'query' ? field(3, 'bytes', queryParameter(value)) : field(4, 'bytes', pathParameter(value));
  return field(1, 'bytes', field(2, 'bytes', inner));
};

const response = encodeMessage(
  { description: text(1), schema: message(2, (value) => field(1, 'bytes', schema(value))) },
  5,
);
const responses: Encode = (value) => namedEntries(value, 1, (each) => field(1, 'bytes', response(each)));

const operation = encodeMessage(
  {
    description: text(3),
    operationId: text(5),
    parameters: messages(8, parameter),
    responses: message(9, responses),
  },
  13,
);

const pathItem = encodeMessage(
  {
    get: message(2, operation),
    put: message(3, operation),
    post: message(4, operation),
    delete: message(5, operation),
    patch: message(8, operation),
    parameters: messages(9, parameter),
  },
  10,
);

const document = encodeMessage(
  {
    swagger: text(1),
    info: message(2, encodeMessage({ title: text(1), version: text(2) }, 7)),
    paths: message(8, (value) => namedEntries(value, 2, pathItem)),
    definitions: message(9, (value) => namedEntries(value, 1, schema)),
  },
  16,
);

export function encodeOpenApiV2(openApi: JsonObject): Buffer {
  return document(openApi);
}
