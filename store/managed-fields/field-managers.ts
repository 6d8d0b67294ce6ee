/**
 * Ownership of fields for the writes of one store: what each kind of write makes of metadata.managedFields, and what an
 * apply makes of an object. Decides only; the caches of schemas and sets are its one effect.
 * Source: apimachinery/pkg/util/managedfields.
 */
import { getPath, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from '../json.ts';
import { apiVersionOf, type KubeObject, type ResourceKind } from '../resources.ts';
import { badRequest, invalid } from '../status-error.ts';
import { checkApplied } from './check-applied.ts';
import { type Changes, compare } from './compare.ts';
import { applyConflict, type Conflict } from './conflicts.ts';
import {
  EntryWriter,
  identityOf,
  isReset,
  type ManagedEntry,
  type ManagerIdentity,
  parseSentEntries,
  readEntries,
  validateEntries,
} from './entries.ts';
import type { FieldSchema } from './field-schema.ts';
import {
  difference,
  equals,
  type FieldSet,
  intersection,
  isEmpty,
  nothing,
  recursiveDifference,
  union,
  unionAll,
} from './field-set.ts';
import { fieldsOf } from './fields-of.ts';
import { fieldsOfLastApplied, kubectlManager, updateLastApplied } from './last-applied.ts';
import { mergeApplied } from './merge.ts';
import {
  compileKindFields,
  type KindFields,
  unowned,
  withManagedFields,
  withoutManagedFields,
} from './object-schema.ts';
import { prune } from './prune.ts';
import { takeFrom, updateEntries } from './update-managers.ts';

/** Who writes, to which part of an object, and when. `time`: RFC 3339. */
export interface FieldWrite {
  readonly kind: ResourceKind;
  readonly manager: string;
  readonly subresource: 'status' | 'scale' | undefined;
  readonly time: string;
}

/** What an apply comes to. */
export interface Applied {
  /** The object as a client would send it, without managedFields. */
  readonly object: JsonObject;
  /** The entries, once it is known whether the object itself was changed. */
  readonly managedFields: (isObjectChanged: boolean) => readonly JsonObject[];
}

export interface ApplyOptions {
  /** Take fields from who owns them, rather than be refused. */
  readonly conflicts: 'refuse' | 'force';
}

/** Owns what was there before anybody's ownership was noted. */
const beforeFirstApply = 'before-first-apply';

export class FieldManagers {
  readonly #writer = new EntryWriter();
  readonly #kinds = new WeakMap<object, KindFields>();

  /** A new object, with its creator as the owner of what it sent. */
  create(object: KubeObject, sent: Json | undefined, write: FieldWrite): KubeObject {
    const { kind } = write;
    const entries = isReset(sent) ? [] : (parseSentEntries(sent) ?? []);
    const changes = this.#changes(write, this.#fieldsOf(kind).empty, object);
    return withManagedFields(object, this.#update(entries, changes, write, object.metadata.name));
  }

  /** `next` with who owns its fields after an update; `sent` is what the client said of that. Throws StatusError 422. */
  update(live: KubeObject, next: KubeObject, sent: Json | undefined, write: FieldWrite): KubeObject {
    const present = live.metadata.managedFields;
    const isSent = write.subresource === undefined && sent !== present && !jsonEqual(sent, present);
    if (isSent && isReset(sent)) return withManagedFields(next, undefined);
    const fromClient = isSent ? parseSentEntries(sent) : undefined;
    const isTaken = fromClient !== undefined && fromClient.length > 0;
    const entries = isTaken ? fromClient : readEntries(present);
    // Objects that nobody applies and that have no entries are left so, as by kube-apiserver.
    if (entries.length === 0) return withManagedFields(next, undefined);
    if (next === live && !isTaken) return live;
    const changes = this.#changes(write, withoutManagedFields(live), withoutManagedFields(next));
    return withManagedFields(next, this.#keep(present, this.#update(entries, changes, write, next.metadata.name)));
  }

  /**
   * What an apply makes of an object; `live` is undefined where it creates one. Throws StatusError 400 for what is not a
   * configuration of the kind, 409 for conflicts.
   */
  apply(live: KubeObject | undefined, config: Json, write: FieldWrite, { conflicts }: ApplyOptions): Applied {
    const { kind, manager, time } = write;
    const { schema, empty, resetBy } = this.#fieldsOf(kind);
    const applied = this.#checkConfig(schema, config, write);
    const object: JsonObject = live === undefined ? empty : withoutManagedFields(live);
    const found = live === undefined ? [] : readEntries(live.metadata.managedFields);
    const entries = live === undefined || found.length > 0 ? found : this.#firstEntries(object, write);

    const self = identityOfWrite(write, 'Apply');
    const others = entries.filter((entry) => identityOf(entry) !== identityOf(self));
    const before = entries.find((entry) => identityOf(entry) === identityOf(self));
    const fields = recursiveDifference(fieldsOf(schema, applied), resetBy(write.subresource));
    const merged = mergeApplied(schema, object, applied) ?? applied;
    const owned = unionAll([fields, ...others.map((entry) => entry.fields)]);
    const pruned = prune(schema, merged, before?.fields ?? nothing, owned);
    const next = isJsonObject(pruned) ? pruned : applied;

    const changes = this.#changes(write, object, next);
    const found409 = conflictsOf(others, changes);
    if (conflicts === 'refuse' && found409.length > 0) {
      const allowed = manager === kubectlManager ? fieldsOfLastApplied(schema, object) : undefined;
      const refused = withoutAllowed(found409, allowed ?? nothing);
      if (refused.length > 0) throw applyConflict(refused);
    }
    const left = takeFrom(others, union(union(changes.added, changes.modified), changes.removed));
    const mine = difference(fields, unowned);
    return {
      object: manager === kubectlManager ? updateLastApplied(next, applied) : next,
      managedFields: (isObjectChanged) => {
        const isSame =
          before !== undefined &&
          !isObjectChanged &&
          equals(before.fields, mine) &&
          before.apiVersion === self.apiVersion;
        const entry = isSame ? before : { ...self, time, fields: mine };
        const all = isEmpty(mine) ? left : [...left, entry];
        return this.#keep(live?.metadata.managedFields, this.#writer.write(all)) ?? [];
      },
    };
  }

  #fieldsOf(kind: ResourceKind): KindFields {
    let fields = this.#kinds.get(kind.openApi);
    if (fields === undefined) {
      fields = compileKindFields(kind);
      this.#kinds.set(kind.openApi, fields);
    }
    return fields;
  }

  #changes({ kind, subresource }: FieldWrite, before: Json, after: Json): Changes {
    const { schema, resetBy } = this.#fieldsOf(kind);
    const { added, modified, removed } = compare(schema, before, after);
    const reset = resetBy(subresource);
    return {
      added: recursiveDifference(added, reset),
      modified: recursiveDifference(modified, reset),
      removed: recursiveDifference(removed, reset),
    };
  }

  #update(
    entries: readonly ManagedEntry[],
    changes: Changes,
    write: FieldWrite,
    name: string,
  ): readonly JsonObject[] | undefined {
    const writer = identityOfWrite(write, 'Update');
    const next = updateEntries({ entries, changes, writer, unowned, time: write.time });
    const errors = validateEntries(next);
    if (errors.length > 0) throw invalid(write.kind, name, errors);
    return next.length === 0 ? undefined : this.#writer.write(next);
  }

  /** The entries as they are stored already, if nothing of them changed. */
  #keep(present: Json | undefined, next: readonly JsonObject[] | undefined): readonly JsonObject[] | undefined {
    if (next === undefined || !isJsonArray(present) || !jsonEqual(present, next)) return next;
    return present.filter(isJsonObject).length === present.length ? (present as readonly JsonObject[]) : next;
  }

  /** All that an object has belongs to those who wrote it before anybody was noted. */
  #firstEntries(object: JsonObject, write: FieldWrite): readonly ManagedEntry[] {
    const changes = this.#changes(write, this.#fieldsOf(write.kind).empty, object);
    const writer = { ...identityOfWrite(write, 'Update'), manager: beforeFirstApply };
    return updateEntries({ entries: [], changes, writer, unowned, time: write.time });
  }

  #checkConfig(schema: FieldSchema, config: Json, { kind }: FieldWrite): JsonObject {
    if (!isJsonObject(config)) throw badRequest('error decoding patch: what is applied must be an object');
    const { apiVersion, kind: name } = config;
    if (apiVersion !== apiVersionOf(kind) || name !== kind.kind) {
      throw badRequest(`invalid object type: ${formatGroupVersion(apiVersion)}, Kind=${formatName(name)}`);
    }
    if ((getPath(config, ['metadata', 'managedFields']) ?? null) !== null) {
      throw badRequest('metadata.managedFields must be nil');
    }
    const problems = checkApplied(schema, config);
    if (problems.length > 0) {
      const [only = ''] = problems;
      const list = problems.length === 1 ? only : ['errors:', ...problems.map((problem) => `  ${problem}`)].join('\n');
      const { namespace, name: objectName } = isJsonObject(config.metadata) ? config.metadata : {};
      const place = `${formatName(namespace)}/${formatName(objectName)}; ${apiVersion}, Kind=${kind.kind}`;
      throw badRequest(`failed to create typed patch object (${place}): ${list}`);
    }
    return config;
  }
}

function formatName(value: Json | undefined): string {
  return typeof value === 'string' ? value.slice(0, 253) : '';
}

function formatGroupVersion(value: Json | undefined): string {
  const text = formatName(value);
  return text.includes('/') ? text : `/${text}`;
}

function identityOfWrite({ kind, manager, subresource }: FieldWrite, operation: 'Apply' | 'Update'): ManagerIdentity {
  return { manager, operation, apiVersion: apiVersionOf(kind), subresource: subresource ?? '' };
}

function conflictsOf(others: readonly ManagedEntry[], { added, modified }: Changes): readonly Conflict[] {
  const changed = union(modified, added);
  return others.flatMap((manager) => {
    const fields = intersection(manager.fields, changed);
    return isEmpty(fields) ? [] : [{ manager, fields }];
  });
}

function withoutAllowed(conflicts: readonly Conflict[], allowed: FieldSet): readonly Conflict[] {
  return conflicts.flatMap(({ manager, fields }) => {
    const left = difference(fields, allowed);
    return isEmpty(left) ? [] : [{ manager, fields: left }];
  });
}
