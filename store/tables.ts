/** Tables of `kubectl get` (meta.k8s.io Table) and metadata-only objects. Pure: the time is passed in. */
import type { AnswerForm } from './accept.ts';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';
import type { Column, KubeObject, ResourceKind } from './resources.ts';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

export interface TableOptions {
  readonly metaVersion: AnswerForm['metaVersion'];
  readonly includeObject: IncludeObject;
  readonly nowMs: number;
  /** The first table of a watch names the columns; those after it do not. */
  readonly header: 'with columns' | 'rows only';
}

export interface ListMeta extends JsonObject {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

export function formatTable(
  kind: ResourceKind,
  objects: Iterable<KubeObject>,
  metadata: ListMeta,
  options: TableOptions,
): JsonObject {
  const { metaVersion, includeObject, nowMs, header } = options;
  const rows = Array.from(objects, (object): JsonObject => {
    const cells = kind.columns.map((column) => formatCell(column, object, nowMs));
    switch (includeObject) {
      case 'None':
        return { cells };
      case 'Object':
        return { cells, object };
      case 'Metadata':
        return { cells, object: metadataOnly(object, metaVersion) };
      default:
        throw new TypeError(`unknown includeObject: ${JSON.stringify(includeObject satisfies never)}`);
    }
  });
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${metaVersion}`,
    metadata,
    columnDefinitions: header === 'with columns' ? kind.columns.map(formatColumn) : [],
    rows,
  };
}

function formatColumn({ name, type, format, description, priority }: Column): JsonObject {
  return { name, type, format: format ?? '', description, priority };
}

export function metadataOnly(object: KubeObject, metaVersion: AnswerForm['metaVersion']): JsonObject {
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${metaVersion}`, metadata: object.metadata };
}

function formatCell(column: Column, object: KubeObject, nowMs: number): Json {
  const value = column.value(object, nowMs);
  if (value === undefined || value === null) return column.type === 'date' ? '<unknown>' : null;
  switch (column.type) {
    case 'date': {
      const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN;
      return Number.isNaN(atMs) ? '<invalid>' : formatAge(nowMs - atMs);
    }
    case 'integer':
    case 'number':
    case 'boolean':
      return typeof value === 'string' ? null : value;
    default:
      return isJsonObject(value) || isJsonArray(value) ? JSON.stringify(value) : String(value);
  }
}

/** A duration as kubectl shows it: the finer the shorter. Source: apimachinery/pkg/util/duration HumanDuration. */
export function formatAge(ageMs: number): string {
  const seconds = Math.trunc(ageMs / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (hours < 192) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  if (years < 8) return days % 365 === 0 ? `${years}y` : `${years}y${days % 365}d`;
  return `${years}y`;
}
