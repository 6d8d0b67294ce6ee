/** Conflicts of an apply with what others own, in the words of kube-apiserver. Pure. */
import { StatusError } from '../status-error.ts';
import type { ManagedEntry } from './entries.ts';
import { type FieldSet, formatPaths } from './field-set.ts';

/** Fields that another manager owns, and that an apply would change. */
export interface Conflict {
  readonly manager: ManagedEntry;
  readonly fields: FieldSet;
}

/** Conflicts told in one answer at most. */
const maxTold = 200;

function formatManager({ manager, operation, apiVersion, subresource }: ManagedEntry): string {
  const name = JSON.stringify(manager);
  const where = subresource === '' ? name : `${name} with subresource ${JSON.stringify(subresource)}`;
  return operation === 'Update' ? `${where} using ${apiVersion}` : where;
}

/** 409 with a cause for each field. */
export function applyConflict(conflicts: readonly Conflict[]): StatusError {
  const named = conflicts.map(({ manager, fields }) => ({
    who: formatManager(manager),
    paths: [...formatPaths(fields)],
  }));
  const causes = named.flatMap(({ who, paths }) =>
    paths.map((field) => ({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field })),
  );
  const [first] = causes;
  const lists = named.map(({ who, paths }) =>
    [`conflicts with ${who}:`, ...paths.slice(0, maxTold).map((path) => `- ${path}`)].join('\n'),
  );
  const message =
    causes.length === 1 && first !== undefined
      ? `Apply failed with 1 conflict: ${first.message}: ${first.field}`
      : `Apply failed with ${causes.length} conflicts: ${lists.join('\n')}`;
  return new StatusError(409, 'Conflict', message, { causes: causes.slice(0, maxTold) });
}
