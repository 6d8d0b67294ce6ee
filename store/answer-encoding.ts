/** Objects and lists as text, in the form that a client asked for. Pure; objects as they are cost no encoding. */
import type { AnswerForm } from './accept.ts';
import { type Entry, textWithoutOwners, withoutOwners } from './entry-object.ts';
import { omitsManagedFields, parseIncludeObject, type Query } from './requests.ts';
import { apiVersionOf, type KubeObject, type ResourceKind } from './resources.ts';
import { formatTable, type ListMeta, metadataOnly } from './tables.ts';

export interface AnswerParts {
  readonly kind: ResourceKind;
  readonly entries: readonly Entry[];
  readonly count: 'single' | 'list';
  /** Of the list, or of the table. */
  readonly metadata: ListMeta;
  readonly form: AnswerForm;
  readonly query: Query;
  readonly nowMs: number;
}

/** Objects as items of a list: of built-in kinds without kind and apiVersion, which the list has, as in Kubernetes. */
function itemsOf(kind: ResourceKind, texts: readonly string[]): string {
  if (kind.isCustom) return texts.join(',');
  const head = `{"apiVersion":${JSON.stringify(apiVersionOf(kind))},"kind":${JSON.stringify(kind.kind)},`;
  return texts.map((text) => (text.startsWith(head) ? `{${text.slice(head.length)}` : text)).join(',');
}

/** Throws StatusError 400 for a bad includeObject. */
export function encodeAnswer({ kind, entries, count, metadata, form, query, nowMs }: AnswerParts): string {
  const omits = omitsManagedFields(query);
  const objectOf = ({ object }: Entry): KubeObject => (omits ? withoutOwners(object) : object);
  switch (form.as) {
    case 'table': {
      const includeObject = parseIncludeObject(query, form);
      const options = {
        metaVersion: form.metaVersion,
        includeObject,
        nowMs,
        header: 'with columns',
      } as const;
      return JSON.stringify(formatTable(kind, entries.map(objectOf), metadata, options));
    }
    case 'metadata': {
      const items = entries.map((entry) => metadataOnly(objectOf(entry), form.metaVersion));
      if (count === 'single') return JSON.stringify(items[0]);
      const apiVersion = `meta.k8s.io/${form.metaVersion}`;
      return JSON.stringify({ kind: 'PartialObjectMetadataList', apiVersion, metadata, items });
    }
    case 'object': {
      const texts = entries.map(omits ? textWithoutOwners : ({ json }) => json);
      if (count === 'single') return texts.join(',');
      const items = itemsOf(kind, texts);
      const head = JSON.stringify({ kind: kind.listKind, apiVersion: apiVersionOf(kind), metadata });
      return `${head.slice(0, -1)},"items":[${items}]}`;
    }
    default:
      throw new TypeError(`unknown form: ${JSON.stringify(form.as satisfies never)}`);
  }
}
