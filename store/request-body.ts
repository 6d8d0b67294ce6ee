/**
 * Parses bodies that may be hostile: JSON, YAML or protobuf, bounded in depth and in size after YAML's aliases are expanded.
 * Pure. Every failure is a StatusError 400, 413 or 415 that says what is wrong.
 */
import { loadAll, YAMLException } from 'js-yaml';
import type { Json } from './json.ts';
import { kubernetesProtobufType, parseKubernetesProtobuf } from './protobuf-body.ts';
import { badRequest, StatusError, tooLarge, unsupportedMediaType } from './status-error.ts';

export interface ParsedBody {
  readonly value: Json;
  /** Keys that stand twice in one object, by path; the last one counts. */
  readonly duplicateFields: readonly string[];
  /** The same in YAML, in the words of its parser. */
  readonly duplicateKeys?: readonly string[];
}

/** Deeper values than any object needs would overflow the stack of those who walk them. */
const maxDepth = 100;

/** Values in one YAML document: its aliases can make a few lines into billions. */
const maxYamlValues = 200_000;

const acceptedTypes = ['application/json', 'application/yaml', kubernetesProtobufType];

const yamlTypes = new Set(['application/yaml', 'application/x-yaml', 'text/yaml', 'text/x-yaml']);

/** The media type of a Content-Type header, without parameters and in lower case; '' if there is none. */
export function mediaTypeOf(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** Parses an object of a kind. Throws StatusError. */
export function parseObjectBody(body: Buffer, contentType: string | undefined): ParsedBody {
  const mediaType = mediaTypeOf(contentType);
  if (body.length === 0) throw badRequest('the request has no body; send the object as JSON or YAML');
  if (mediaType === 'application/json' || mediaType === '') return parseJson(decodeText(body));
  if (mediaType === kubernetesProtobufType) return { value: parseKubernetesProtobuf(body), duplicateFields: [] };
  if (yamlTypes.has(mediaType)) return parseYaml(decodeText(body));
  throw unsupportedMediaType(acceptedTypes, `Content-Type ${JSON.stringify(mediaType.slice(0, 100))} is not served`);
}

/** The text of a body. Throws StatusError 400. */
export function decodeText(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (error) {
    throw badRequest('the body is not valid UTF-8', { cause: error });
  }
}

/** Parses JSON. Throws StatusError 400. */
export function parseJson(text: string): ParsedBody {
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw badRequest(`the body is not valid JSON: ${what.slice(0, 300)}`, { cause: error });
  }
  return { value, duplicateFields: scanJson(text) };
}

interface Level {
  readonly keys: Set<string> | undefined; // undefined: an array
  /** The key or index whose value comes next. */
  at: string | number;
  isKeyNext: boolean;
}

/**
 * Walks text that JSON.parse has accepted, for what parsing hides: duplicate keys and depth. Refuses `__proto__` as a
 * key, which no object needs and which would change what a copied object inherits.
 */
function scanJson(text: string): readonly string[] {
  const levels: Level[] = [];
  const duplicates: string[] = [];
  for (let index = 0; index < text.length; index++) {
    const top = levels.at(-1);
    switch (text.charCodeAt(index)) {
      case 0x7b: // {
        levels.push({ keys: new Set(), at: '', isKeyNext: true });
        break;
      case 0x5b: // [
        levels.push({ keys: undefined, at: 0, isKeyNext: false });
        break;
      case 0x7d: // }
      case 0x5d: // ]
        levels.pop();
        break;
      case 0x2c: // ,
        if (top?.keys !== undefined) top.isKeyNext = true;
        else if (typeof top?.at === 'number') top.at++;
        break;
      case 0x22: {
        const end = endOfString(text, index);
        if (top?.keys !== undefined && top.isKeyNext) {
          noteKey(top, top.keys, unquote(text.slice(index, end + 1)), levels, duplicates);
        }
        index = end;
        break;
      }
      default:
    }
    if (levels.length > maxDepth) throw badRequest(`the body is nested more than ${maxDepth} levels deep`);
  }
  return duplicates;
}

function noteKey(top: Level, keys: Set<string>, key: string, levels: readonly Level[], duplicates: string[]): void {
  if (key === '__proto__') throw badRequest('the key "__proto__" is not accepted');
  top.at = key;
  top.isKeyNext = false;
  if (keys.has(key) && duplicates.length < 20) duplicates.push(formatPath(levels.map(({ at }) => at)));
  keys.add(key);
}

function endOfString(text: string, start: number): number {
  let index = start + 1;
  while (index < text.length) {
    const unit = text.charCodeAt(index);
    if (unit === 0x22) return index;
    index += unit === 0x5c ? 2 : 1;
  }
  return index;
}

function unquote(quoted: string): string {
  return quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
}

function formatPath(steps: readonly (string | number)[]): string {
  return steps.reduce<string>((path, step) => {
    if (typeof step === 'number') return `${path}[${step}]`;
    return path === '' ? step : `${path}.${step}`;
  }, '');
}

/** Parses one YAML document; JSON is one too. Throws StatusError 400 or 413. */
export function parseYaml(text: string): ParsedBody {
  if (/^\s*[{[]/u.test(text)) {
    try {
      return parseJson(text);
    } catch (error) {
      // YAML in flow style begins like JSON; any other reason to refuse it stands.
      if (!(error instanceof StatusError) || !(error.cause instanceof SyntaxError)) throw error;
    }
  }
  const { documents, duplicateKeys } = loadDocuments(text);
  if (documents.length !== 1) {
    throw badRequest(`the body holds ${documents.length} YAML documents; send one object in each request`);
  }
  let count = 0;
  const toJson = (value: unknown, depth: number): Json => {
    if (++count > maxYamlValues) throw tooLarge(`the YAML document expands to more than ${maxYamlValues} values`);
    if (depth > maxDepth) throw badRequest(`the body is nested more than ${maxDepth} levels deep`);
    if (Array.isArray(value)) return value.map((item) => toJson(item, depth + 1));
    if (typeof value === 'object' && value !== null) {
      if (Object.hasOwn(value, '__proto__')) throw badRequest('the key "__proto__" is not accepted');
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toJson(item, depth + 1)]));
    }
    if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw badRequest(`the YAML value ${String(value)} has no equivalent in JSON`);
  };
  return { value: toJson(documents[0], 0), duplicateFields: [], duplicateKeys };
}

/** The documents that are not empty. Of keys that stand twice the first is told, and the last of its likes counts. */
function loadDocuments(text: string): { documents: readonly unknown[]; duplicateKeys: readonly string[] } {
  const limits = { maxDepth, maxAliases: 1_000 };
  const load = (options: typeof limits & { json?: boolean }): readonly unknown[] =>
    loadAll(text, options).filter((document) => document !== null);
  try {
    try {
      return { documents: load(limits), duplicateKeys: [] };
    } catch (error) {
      if (!(error instanceof YAMLException) || error.reason !== 'duplicated mapping key') throw error;
      return { documents: load({ ...limits, json: true }), duplicateKeys: [duplicateKey(error, text)] };
    }
  } catch (error) {
    const what = error instanceof YAMLException ? yamlProblem(error) : String(error);
    throw badRequest(`the body is not valid YAML: ${what}`, { cause: error });
  }
}

/** In the words of Go's YAML parser. */
function duplicateKey({ mark }: YAMLException, text: string): string {
  const line = mark?.line ?? 0;
  const rest = (text.split('\n', line + 1)[line] ?? '').slice(mark?.column ?? 0);
  const key = /^["']?([^"':\s]*)/u.exec(rest)?.[1] ?? '';
  return `line ${line + 1}: key ${JSON.stringify(key)} already set in map`;
}

function yamlProblem(error: YAMLException): string {
  const at = error.mark === undefined ? '' : ` (line ${error.mark.line + 1}, column ${error.mark.column + 1})`;
  return `${error.reason}${at}`;
}
