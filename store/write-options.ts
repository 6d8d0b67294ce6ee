/**
 * How a write is to be carried out: dry run, checks of unknown and duplicate fields, and in whose name. Pure.
 * Source: apimachinery/pkg/apis/meta/v1/validation, and the create, update and patch handlers of apiserver.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Caller } from './access/index.ts';
import { checkDryRun } from './dry-run.ts';
import type { FieldError } from './field-errors.ts';
import { checkManagerName, managerOfUserAgent } from './managed-fields/index.ts';
import type { WriteMode } from './operations.ts';
import type { ParsedBody } from './request-body.ts';
import { isTrue, type Query, textOf } from './requests.ts';
import { apiVersionOf, type ResourceKind } from './resources.ts';
import { badRequest, invalid, type StatusError } from './status-error.ts';

/** Which options a request has; an apply is a patch with rules of its own. */
export type OptionsKind = 'CreateOptions' | 'UpdateOptions' | 'PatchOptions' | 'ApplyOptions' | 'DeleteOptions';

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

export interface WriteOptions {
  readonly isDryRun: boolean;
  readonly fieldValidation: FieldValidation;
  /** undefined: not given. */
  readonly fieldManager: string | undefined;
  readonly conflicts: 'refuse' | 'force';
}

/** Throws StatusError 422 that names each wrong option. */
export function parseWriteOptions(query: Query, kind: OptionsKind): WriteOptions {
  const fieldManager = textOf(query, 'fieldManager');
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  const fieldValidation = textOf(query, 'fieldValidation') ?? 'Warn';
  const errors: FieldError[] = [];
  if (kind === 'ApplyOptions' && fieldManager === undefined) {
    errors.push({ kind: 'required', field: 'fieldManager', detail: 'is required for apply patch' });
  }
  if (kind === 'PatchOptions' && query.has('force')) {
    errors.push({ kind: 'forbidden', field: 'force', detail: 'may not be specified for non-apply patch' });
  }
  errors.push(...checkManagerName(fieldManager ?? '', 'fieldManager'), ...checkDryRun(dryRun));
  const isKnown = fieldValidation === 'Strict' || fieldValidation === 'Warn' || fieldValidation === 'Ignore';
  if (!isKnown) {
    const supported = ['', 'Ignore', 'Strict', 'Warn'];
    errors.push({ kind: 'unsupported', field: 'fieldValidation', value: fieldValidation, supported });
  }
  if (errors.length > 0 || !isKnown) throw invalidOptions(kind, errors);
  const conflicts = kind === 'ApplyOptions' && isTrue(query, 'force') ? 'force' : 'refuse';
  return { isDryRun: dryRun.length > 0, fieldValidation, fieldManager, conflicts };
}

function invalidOptions(kind: OptionsKind, errors: readonly FieldError[]): StatusError {
  return invalid({ group: 'meta.k8s.io', kind: kind === 'ApplyOptions' ? 'PatchOptions' : kind }, '', errors);
}

export interface WriteRequest {
  readonly caller: Pick<Caller, 'admit'>;
  readonly query: Query;
  readonly headers: IncomingHttpHeaders;
}

export interface Mode {
  readonly mode: WriteMode;
  readonly conflicts: WriteOptions['conflicts'];
  /** What to warn of, once it is known which fields are unknown. */
  readonly warnings: (unknownFields: readonly string[]) => readonly string[];
}

/** Throws StatusError 422; what it returns throws 400 or 422 for fields that a strict request must not have. */
export function parseWriteMode(
  kind: ResourceKind,
  { query, headers, caller }: WriteRequest,
  { duplicateFields, duplicateKeys = [] }: Omit<ParsedBody, 'value'>,
  options: OptionsKind,
): Mode {
  const { isDryRun, fieldValidation, fieldManager, conflicts } = parseWriteOptions(query, options);
  const problems = (unknownFields: readonly string[]): readonly string[] => [
    ...unknownFields.map((field) => `unknown field "${field}"`),
    ...duplicateFields.map((field) => `duplicate field "${field}"`),
    ...duplicateKeys,
  ];
  const checkUnknown = (unknownFields: readonly string[]): void => {
    const found = problems(unknownFields);
    if (fieldValidation === 'Strict' && found.length > 0) throw strictDecodingError(kind, found, options);
  };
  return {
    mode: {
      isDryRun,
      checkUnknown,
      admit: caller.admit,
      fieldManager: fieldManager ?? managerOfUserAgent(headers['user-agent']),
    },
    conflicts,
    warnings: (unknownFields) => {
      return fieldValidation === 'Warn' ? problems(unknownFields).slice(0, maxProblemsTold).map(shorten) : [];
    },
  };
}

function strictDecodingError(kind: ResourceKind, problems: readonly string[], options: OptionsKind): StatusError {
  const told = problems.slice(0, maxProblemsTold).map(shorten);
  const more = problems.length > told.length ? [`and ${problems.length - told.length} more`] : [];
  const list = [...told, ...more].join(', ');
  switch (options) {
    case 'ApplyOptions':
      return badRequest(`error strict decoding patch: ${list}`);
    case 'PatchOptions':
      return invalid({ group: '', kind: '' }, '', [
        { kind: 'invalid', field: 'patch', value: formatKind(kind), detail: `strict decoding error: ${list}` },
      ]);
    default: {
      const what = `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}`;
      return badRequest(`${what}: strict decoding error: ${list}`);
    }
  }
}

/** What stands for the patched object, which may be large and hold secrets. */
function formatKind(kind: ResourceKind): string {
  return `${apiVersionOf(kind)} ${kind.kind}`;
}

/** Clients refuse an answer with more than about 16 KB of headers, and then do not learn that they have written. */
const maxProblemsTold = 20;
const maxProblemLength = 256;

function shorten(problem: string): string {
  return problem.length <= maxProblemLength ? problem : `${problem.slice(0, maxProblemLength - 1)}…`;
}
