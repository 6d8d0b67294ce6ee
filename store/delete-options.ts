/**
 * meta/v1 DeleteOptions, and what a propagation policy makes of an object's finalizers. Pure.
 * Source: apimachinery ValidateDeleteOptions; apiserver registry/generic, deletionFinalizersForGarbageCollection.
 */
import { checkDryRun } from './dry-run.ts';
import type { FieldError } from './field-errors.ts';
import { getOwn, isJsonArray, isJsonObject, type Json, type JsonObject } from './json.ts';
import { type Query, textOf } from './requests.ts';
import { badRequest, invalid } from './status-error.ts';

/** What becomes of those that depend on an object. `default`: as its finalizers say, else in the background. */
export type Propagation = 'Background' | 'Foreground' | 'Orphan' | 'default';

/** Holds an owner until its dependents are gone. */
export const foregroundFinalizer = 'foregroundDeletion';
/** Holds an owner until its dependents have forgotten it. */
export const orphanFinalizer = 'orphan';

export interface Preconditions {
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
}

export interface DeleteOptions {
  readonly preconditions: Preconditions;
  readonly isDryRun: boolean;
  readonly propagation: Propagation;
  /** Whether the client asked for all to be gone: one that is not gone at once is then answered 202. */
  readonly isCascading: boolean;
}

const kind = { group: 'meta.k8s.io', kind: 'DeleteOptions' };

/** Reads the body of a DELETE; undefined: there is none, and the query counts. Throws StatusError 400 or 422. */
export function parseDeleteOptions(body: Json | undefined, query: Query): DeleteOptions {
  const value = body ?? optionsOfQuery(query);
  if (!isJsonObject(value) || (value.kind !== undefined && value.kind !== 'DeleteOptions')) {
    throw badRequest('the body of a DELETE must be an object of kind DeleteOptions, or empty');
  }
  const seconds = typed(value, 'gracePeriodSeconds', 'number', 'an integer');
  if (seconds !== undefined && !Number.isSafeInteger(seconds)) throw wrongType('gracePeriodSeconds', 'an integer');
  const orphans = typed(value, 'orphanDependents', 'boolean', 'a boolean');
  const policy = typed(value, 'propagationPolicy', 'string', 'a string') ?? '';
  const dryRun = parseDryRun(value);
  const errors: readonly FieldError[] = [...checkPolicy(policy, orphans), ...checkDryRun(dryRun)];
  if (errors.length > 0) throw invalid(kind, '', errors);
  const given = getOwn(value, 'preconditions') ?? {};
  if (!isJsonObject(given)) throw wrongType('preconditions', 'an object');
  return {
    preconditions: {
      uid: typed(given, 'uid', 'string', 'a string', 'preconditions.'),
      resourceVersion: typed(given, 'resourceVersion', 'string', 'a string', 'preconditions.'),
    },
    isDryRun: dryRun.length > 0,
    propagation: propagationOf(policy, orphans),
    isCascading: policy === 'Foreground' || orphans === false,
  };
}

function optionsOfQuery(query: Query): JsonObject {
  const seconds = textOf(query, 'gracePeriodSeconds');
  const orphans = textOf(query, 'orphanDependents');
  if (seconds !== undefined && !/^-?\d+$/u.test(seconds)) throw wrongType('gracePeriodSeconds', 'an integer');
  if (orphans !== undefined && !/^(true|false|0|1)$/u.test(orphans)) throw wrongType('orphanDependents', 'a boolean');
  return {
    ...(seconds === undefined ? {} : { gracePeriodSeconds: Number(seconds) }),
    ...(orphans === undefined ? {} : { orphanDependents: orphans === 'true' || orphans === '1' }),
    propagationPolicy: textOf(query, 'propagationPolicy') ?? '',
    dryRun: query.getAll('dryRun').filter((item) => item !== ''),
  };
}

interface Types {
  readonly number: number;
  readonly boolean: boolean;
  readonly string: string;
}

/** The member of that type; null and absent are one. */
function typed<T extends keyof Types>(
  value: JsonObject,
  field: string,
  type: T,
  words: string,
  prefix = '',
): Types[T] | undefined {
  const found = getOwn(value, field);
  if (found === undefined || found === null) return undefined;
  if (typeof found !== type) throw wrongType(prefix + field, words);
  return found as Types[T]; // of that type, as the line above has made sure
}

function wrongType(field: string, words: string) {
  return badRequest(`DeleteOptions: ${field} must be ${words}`);
}

function parseDryRun(value: JsonObject): readonly Json[] {
  const found = getOwn(value, 'dryRun');
  if (found === undefined || found === null) return [];
  if (!isJsonArray(found)) throw wrongType('dryRun', 'a list of strings');
  return found;
}

const policies = ['Foreground', 'Background', 'Orphan'];

function checkPolicy(policy: string, orphans: boolean | undefined): readonly FieldError[] {
  if (policy !== '' && orphans !== undefined) {
    const detail = 'orphanDependents and deletionPropagation cannot be both set';
    return [{ kind: 'invalid', field: 'propagationPolicy', value: policy, detail }];
  }
  if (policy === '' || policies.includes(policy)) return [];
  return [{ kind: 'unsupported', field: 'propagationPolicy', value: policy, supported: [...policies, 'nil'] }];
}

function propagationOf(policy: string, orphans: boolean | undefined): Propagation {
  if (orphans !== undefined) return orphans ? 'Orphan' : 'Background';
  return policy === 'Foreground' || policy === 'Background' || policy === 'Orphan' ? policy : 'default';
}

/** The finalizers that a deletion leaves an object: those of others, and the one that the policy needs. */
export function finalizersOnDelete(finalizers: readonly string[] = [], propagation: Propagation): readonly string[] {
  const isOurs = (name: string): boolean => name === foregroundFinalizer || name === orphanFinalizer;
  const others = finalizers.filter((name) => !isOurs(name));
  switch (propagation) {
    case 'Foreground':
      return [...others, foregroundFinalizer];
    case 'Orphan':
      return [...others, orphanFinalizer];
    case 'Background':
      return others;
    case 'default': {
      const first = finalizers.find(isOurs);
      return first === undefined ? others : [...others, first];
    }
    default:
      throw new TypeError(`unknown propagation: ${JSON.stringify(propagation satisfies never)}`);
  }
}
