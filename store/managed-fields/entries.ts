/**
 * metadata.managedFields: who owns which fields, as entries. Pure, apart from a cache that lets equal sets share one
 * object: ten thousand objects made alike hold one set. Source: apimachinery/pkg/util/managedfields/internal.
 */
import type { FieldError } from '../field-errors.ts';
import { formatTime } from '../format-time.ts';
import { compareText, isJsonArray, isJsonObject, type Json, type JsonObject } from '../json.ts';
import { type FieldSet, nothing, parseFieldSet, sortSet } from './field-set.ts';
import { checkManagerName } from './manager-name.ts';

export interface ManagedEntry {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  /** '' is the object itself. */
  readonly subresource: string;
  /** RFC 3339; undefined: not known. */
  readonly time: string | undefined;
  readonly fields: FieldSet;
  /** The entry as it stands in an object, if it does. */
  readonly json?: JsonObject;
}

export type ManagerIdentity = Pick<ManagedEntry, 'manager' | 'operation' | 'apiVersion' | 'subresource'>;

/** What tells managers apart. Appliers stay the same whatever version they apply. */
export function identityOf({ manager, operation, apiVersion, subresource }: ManagerIdentity): string {
  return JSON.stringify([manager, operation, subresource, operation === 'Apply' ? '' : apiVersion]);
}

/** The entries of a stored object. */
export function readEntries(managedFields: Json | undefined): readonly ManagedEntry[] {
  return parseEntries(managedFields, (fields) => (isJsonObject(fields) ? (fields as FieldSet) : nothing)) ?? [];
}

/** Entries that a client sent; undefined: they cannot be read, which counts as not sent. */
export function parseSentEntries(managedFields: Json | undefined): readonly ManagedEntry[] | undefined {
  try {
    return parseEntries(managedFields, parseFieldSet)?.map(({ json: _json, time, ...entry }) => ({
      ...entry,
      time: parseTime(time),
    }));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** In whole seconds: clients in other languages give back what they read with fractions. Throws SyntaxError. */
function parseTime(time: string | undefined): string | undefined {
  if (time === undefined) return undefined;
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw new SyntaxError(`${JSON.stringify(time.slice(0, 100))} is not a time`);
  return formatTime(ms);
}

function parseEntries(
  managedFields: Json | undefined,
  toSet: (fields: Json | undefined) => FieldSet,
): readonly ManagedEntry[] | undefined {
  if (!isJsonArray(managedFields)) return undefined;
  const entries = new Map<string, ManagedEntry>();
  for (const json of managedFields) {
    if (!isJsonObject(json)) return undefined;
    const { manager = '', operation, apiVersion, subresource = '', time, fieldsType, fieldsV1 } = json;
    if (operation !== 'Apply' && operation !== 'Update') return undefined;
    if (typeof apiVersion !== 'string' || apiVersion === '' || fieldsType !== 'FieldsV1') return undefined;
    if (typeof manager !== 'string' || typeof subresource !== 'string') return undefined;
    const at = typeof time === 'string' ? inUtc(time) : undefined;
    const entry: ManagedEntry = {
      manager,
      operation,
      apiVersion,
      subresource,
      time: at,
      fields: toSet(fieldsV1),
      json,
    };
    entries.set(identityOf(entry), entry);
  }
  return [...entries.values()];
}

/** Whether a client asks that ownership be forgotten: an empty list, or one with an empty entry. */
export function isReset(managedFields: Json | undefined): boolean {
  if (!isJsonArray(managedFields)) return false;
  const [first, ...more] = managedFields;
  return first === undefined || (more.length === 0 && isJsonObject(first) && Object.keys(first).length === 0);
}

const maxSubresourceLength = 256;

/** What is wrong with entries that are to be stored. */
export function validateEntries(entries: readonly ManagedEntry[]): readonly FieldError[] {
  return entries.flatMap(({ manager, subresource }, index) => {
    const field = `metadata.managedFields[${index}]`;
    const isLong = subresource.length > maxSubresourceLength;
    const tooLong = { kind: 'tooLong', field: `${field}.subresource`, maxBytes: maxSubresourceLength } as const;
    return [...checkManagerName(manager, `${field}.manager`), ...(isLong ? [tooLong] : [])];
  });
}

export function compareEntries(a: ManagedEntry, b: ManagedEntry): number {
  return (
    compareText(a.operation, b.operation) ||
    secondsOf(a) - secondsOf(b) ||
    compareText(a.manager, b.manager) ||
    compareText(a.apiVersion, b.apiVersion) ||
    compareText(a.subresource, b.subresource)
  );
}

/** As Kubernetes writes times, so that what a client sends back in another zone is no change. */
function inUtc(time: string): string {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? time : formatTime(ms);
}

export function secondsOf({ time }: ManagedEntry): number {
  const ms = time === undefined ? 0 : Date.parse(time);
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
}

/** Sets kept for sharing; beyond that the oldest is forgotten, and its next likeness is kept anew. */
const maxSharedSets = 2_048;

/** Sets of more text than this are not kept for sharing. */
const maxSharedLength = 8_192;

/** Makes the entries' JSON, in which equal sets are one object. */
export class EntryWriter {
  readonly #byText = new Map<string, FieldSet>();
  readonly #shared = new WeakSet<FieldSet>();

  /** The set in the order of fieldsV1, and where possible an object that others have too. */
  share(fields: FieldSet): FieldSet {
    if (this.#shared.has(fields)) return fields;
    const text = JSON.stringify(fields);
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const sorted = sortSet(fields);
    const sortedText = JSON.stringify(sorted);
    const shared = this.#byText.get(sortedText) ?? sorted;
    this.#shared.add(shared);
    this.#remember(sortedText, shared);
    if (text !== sortedText) this.#remember(text, shared); // most sets come in the same order again
    return shared;
  }

  #remember(text: string, fields: FieldSet): void {
    if (text.length > maxSharedLength) return;
    if (this.#byText.size >= maxSharedSets) {
      for (const oldest of this.#byText.keys()) {
        this.#byText.delete(oldest);
        break;
      }
    }
    this.#byText.set(text, fields);
  }

  /** In the order of Kubernetes. */
  write(entries: readonly ManagedEntry[]): readonly JsonObject[] {
    return entries.toSorted(compareEntries).map((entry) => entry.json ?? this.#writeEntry(entry));
  }

  #writeEntry({ manager, operation, apiVersion, subresource, time, fields }: ManagedEntry): JsonObject {
    return {
      ...(manager === '' ? {} : { manager }),
      operation,
      apiVersion,
      ...(time === undefined ? {} : { time }),
      fieldsType: 'FieldsV1',
      fieldsV1: this.share(fields),
      ...(subresource === '' ? {} : { subresource }),
    };
  }
}
