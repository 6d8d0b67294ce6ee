/**
 * The verbs on stored objects, apart from HTTP: each decides by the pure rules inside one write, so that what it read
 * is still true when it is stored. Throws StatusError.
 */
import type { DeleteOptions } from './delete-options.ts';
import type { Entry } from './entry-object.ts';
import { formatTime } from './format-time.ts';
import type { Json } from './json.ts';
import { applyJsonPatch, applyMergePatch } from './json-patch.ts';
import type { Kinds } from './kinds.ts';
import { type ApplyOptions, type FieldManagers, type FieldWrite, withManagedFields } from './managed-fields/index.ts';
import { keyOf } from './memory.ts';
import { objectMetaSchema } from './object-meta.ts';
import {
  type Circumstances,
  createObject,
  deleteObject,
  type Outcome,
  type ParsedObject,
  parseObject,
  type Subresource,
  updateObject,
} from './object-rules.ts';
import type { KubeObject, ResourceKind } from './resources.ts';
import type { OpenApiSchema } from './schema.ts';
import {
  alreadyExists,
  badRequest,
  conflict,
  damagedObject,
  forbidden,
  kindTerminating,
  notFound,
  objectModified,
  StatusError,
  unknownPath,
} from './status-error.ts';
import { applyStrategicPatch } from './strategic-patch.ts';
import type { Transaction, Writer } from './writer.ts';

export interface OperationsDeps {
  readonly writer: Writer;
  readonly kinds: Kinds;
  readonly namespaces: ResourceKind;
  readonly circumstances: () => Circumstances;
  readonly fieldManagers: FieldManagers;
  readonly now: () => number;
}

/** Where an object is. */
export interface ObjectPlace {
  readonly kind: ResourceKind;
  readonly namespace: string | undefined;
  readonly name: string;
}

export interface Patch {
  readonly kind: 'json' | 'merge' | 'strategic';
  readonly value: Json;
}

/** What a write left behind. `isRemoved`: the object is gone, and this is its last state. */
export interface Written {
  readonly entry: Entry;
  readonly isRemoved: boolean;
  readonly isCreated?: boolean;
  readonly unknownFields: readonly string[];
}

/** `checkUnknown` throws where unknown fields are not to be tolerated. */
export interface WriteMode {
  readonly isDryRun: boolean;
  readonly checkUnknown: (unknownFields: readonly string[]) => void;
  /** Throws where who asks may not store this; `previous` undefined: it is new. */
  readonly admit?: ((kind: ResourceKind, object: KubeObject, previous: KubeObject | undefined) => void) | undefined;
  /** In whose name the fields are written; the store's own if it is not given. */
  readonly fieldManager?: string | undefined;
}

export interface ApplyMode extends WriteMode, ApplyOptions {}

/** `admit` is asked of what is there when it is removed, which need not be what was there when the request came. */
export type RemoveMode = Pick<DeleteOptions, 'isDryRun' | 'propagation' | 'preconditions'> & Pick<WriteMode, 'admit'>;

interface Creation {
  readonly kind: ResourceKind;
  readonly namespace: string | undefined;
  readonly parsed: ParsedObject;
  readonly mode: WriteMode;
}

/** Tries at a name that is generated, before the client is told that it is taken. */
const maxNameTries = 8;

export class Operations {
  readonly #deps: OperationsDeps;

  constructor(deps: OperationsDeps) {
    this.#deps = deps;
  }

  /** Also in the place of one that is damaged. */
  create(kind: ResourceKind, namespace: string | undefined, body: Json, mode: WriteMode): Promise<Written> {
    const { fieldManagers } = this.#deps;
    const parsed = parseObject(kind, body, { namespace, name: undefined });
    mode.checkUnknown(parsed.unknownFields);
    return this.#write(mode, (transaction) => {
      const object = this.#admitNew(transaction, { kind, namespace, parsed, mode });
      const owned = fieldManagers.create(object, parsed.managedFields, this.#fieldWrite(kind, undefined, mode));
      const entry = transaction.put(kind, owned);
      return { entry, isRemoved: false, unknownFields: parsed.unknownFields };
    });
  }

  /** As `replace`; of some kinds, what is not there is created. */
  async replaceOrCreate(place: ObjectPlace, subresource: Subresource, body: Json, mode: WriteMode): Promise<Written> {
    const { kind, namespace } = place;
    try {
      return await this.replace(place, subresource, body, mode);
    } catch (error) {
      const isMissing = error instanceof StatusError && error.code === 404;
      if (!isMissing || subresource !== undefined || kind.isCreatedByUpdate !== true) throw error;
      return { ...(await this.create(kind, namespace, body, mode)), isCreated: true };
    }
  }

  replace(place: ObjectPlace, subresource: Subresource, body: Json, mode: WriteMode): Promise<Written> {
    const { kind } = place;
    const parsed = parseObject(kind, body, place);
    mode.checkUnknown(parsed.unknownFields);
    const resourceVersion = kind.isCustom ? 'required' : 'optional';
    return this.#write(mode, (transaction) => {
      const current = find(transaction, place);
      const updated = updateObject(kind, current, parsed, { subresource, resourceVersion });
      const outcome = this.#own(current, updated, parsed, this.#fieldWrite(kind, subresource, mode));
      admitOutcome(mode, kind, current, outcome);
      return { ...store(transaction, kind, current, outcome), unknownFields: parsed.unknownFields };
    });
  }

  patch(place: ObjectPlace, subresource: Subresource, patch: Patch, mode: WriteMode): Promise<Written> {
    const { kind } = place;
    return this.#write(mode, (transaction) => {
      const current = find(transaction, place);
      const parsed = parseObject(kind, applyPatch(kind, current.object, patch), place);
      mode.checkUnknown(parsed.unknownFields);
      const rules = { subresource, resourceVersion: 'optional', uid: 'immutable' } as const;
      const updated = updateObject(kind, current, parsed, rules);
      const outcome = this.#own(current, updated, parsed, this.#fieldWrite(kind, subresource, mode));
      admitOutcome(mode, kind, current, outcome);
      return { ...store(transaction, kind, current, outcome), unknownFields: parsed.unknownFields };
    });
  }

  /** Server-side apply. Creates the object if there is none. */
  apply(
    place: ObjectPlace,
    subresource: Subresource,
    body: Json,
    mode: ApplyMode,
  ): Promise<Written & { readonly isCreated: boolean }> {
    const { kind } = place;
    const { fieldManagers } = this.#deps;
    const write = this.#fieldWrite(kind, subresource, mode);
    return this.#write(mode, (transaction) => {
      const current = transaction.get(kind, place.namespace, place.name);
      if (current === undefined) {
        const damage = transaction.damageOf(kind, keyOf(place.namespace, place.name));
        if (subresource !== undefined || damage !== undefined) throw missing(place, () => damage);
        return { ...this.#createApplied(transaction, place, body, mode, write), isCreated: true };
      }
      const applied = fieldManagers.apply(current.object, body, write, mode);
      const parsed = parseObject(kind, applied.object, place);
      mode.checkUnknown(parsed.unknownFields);
      const updated = updateObject(kind, current, parsed, { subresource, resourceVersion: 'optional' });
      const outcome = withOwners(current, updated, (object) =>
        withManagedFields(object, applied.managedFields(updated.kind === 'store')),
      );
      admitOutcome(mode, kind, current, outcome);
      const stored = store(transaction, kind, current, outcome);
      return { ...stored, unknownFields: parsed.unknownFields, isCreated: false };
    });
  }

  #createApplied(
    transaction: Transaction,
    place: ObjectPlace,
    body: Json,
    mode: ApplyMode,
    write: FieldWrite,
  ): Written {
    const { kind, namespace, name } = place;
    const applied = this.#deps.fieldManagers.apply(undefined, body, write, mode);
    const parsed = parseObject(kind, body, place);
    mode.checkUnknown(parsed.unknownFields);
    const { uid, resourceVersion, name: named } = parsed.meta;
    if (named === undefined) {
      throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
    }
    if (uid !== undefined) {
      const because = `uid mismatch: the provided object specified uid ${String(uid).slice(0, 200)}, and no existing object was found`;
      throw conflict(kind, name, because);
    }
    if (resourceVersion !== undefined) throw conflict(kind, name, objectModified);
    const object = this.#admitNew(transaction, { kind, namespace, parsed, mode });
    const owned = withManagedFields(object, applied.managedFields(true));
    return { entry: transaction.put(kind, owned), isRemoved: false, unknownFields: parsed.unknownFields };
  }

  /** The object that a write is to create: made, and let in. */
  #admitNew(transaction: Transaction, { kind, namespace, parsed, mode }: Creation): KubeObject {
    this.#checkServed(kind);
    const object = this.#newObject(transaction, kind, namespace, parsed);
    const { name } = object.metadata;
    if (namespace !== undefined) this.#checkNamespace(transaction, kind, namespace, name);
    if (transaction.get(kind, namespace, name) !== undefined) throw alreadyExists(kind, name);
    mode.admit?.(kind, object, undefined);
    return object;
  }

  #fieldWrite(kind: ResourceKind, subresource: Subresource, { fieldManager }: WriteMode): FieldWrite {
    const time = formatTime(this.#deps.now());
    return {
      kind,
      subresource: subresource === 'finalize' ? undefined : subresource,
      manager: fieldManager ?? ownManager,
      time,
    };
  }

  /** An outcome with who owns the fields of the object after it. */
  #own(current: Entry, outcome: Outcome, { managedFields }: ParsedObject, write: FieldWrite): Outcome {
    return withOwners(current, outcome, (object) =>
      this.#deps.fieldManagers.update(current.object, object, managedFields, write),
    );
  }

  remove(place: ObjectPlace, options: RemoveMode): Promise<Written> {
    const { kind } = place;
    const { preconditions, propagation, admit } = options;
    return this.#write(options, (transaction) => {
      const current = find(transaction, place);
      admit?.(kind, current.object, current.object);
      const outcome = deleteObject(kind, current, preconditions, this.#deps.now(), propagation);
      return { ...store(transaction, kind, current, outcome), unknownFields: [] };
    });
  }

  /** Removes what the filter picks; the entries returned are those picked, as they were. */
  removeCollection(
    kind: ResourceKind,
    namespace: string | undefined,
    picks: (object: KubeObject) => boolean,
    options: RemoveMode,
  ): Promise<readonly Entry[]> {
    const { preconditions, propagation, admit } = options;
    return this.#write(options, (transaction) => {
      const picked = transaction.list(kind, namespace).filter(({ object }) => picks(object));
      const nowMs = this.#deps.now();
      for (const entry of picked) {
        admit?.(kind, entry.object, entry.object);
        store(transaction, kind, entry, deleteObject(kind, entry, preconditions, nowMs, propagation));
      }
      return picked;
    });
  }

  #write<T>({ isDryRun }: Pick<WriteMode, 'isDryRun'>, decide: (transaction: Transaction) => T): Promise<T> {
    return isDryRun ? this.#deps.writer.preview(decide) : this.#deps.writer.write(decide);
  }

  #newObject(
    transaction: Transaction,
    kind: ResourceKind,
    namespace: string | undefined,
    parsed: ParsedObject,
  ): KubeObject {
    const isGenerated = parsed.meta.name === undefined && parsed.meta.generateName !== undefined;
    for (let tries = 1; ; tries++) {
      const object = createObject(kind, parsed, namespace, this.#deps.circumstances());
      if (!isGenerated || tries >= maxNameTries) return object;
      if (transaction.get(kind, namespace, object.metadata.name) === undefined) return object;
    }
  }

  /** A kind may have gone since the request came. */
  #checkServed(kind: ResourceKind): void {
    const present = this.#deps.kinds.at(kind);
    if (present === undefined) throw unknownPath();
    if (present.isTerminating === true) throw kindTerminating();
  }

  #checkNamespace(transaction: Transaction, kind: ResourceKind, namespace: string, name: string): void {
    const { namespaces } = this.#deps;
    const found = transaction.get(namespaces, undefined, namespace);
    if (found === undefined) {
      const place = { kind: namespaces, namespace: undefined, name: namespace };
      throw missing(place, (key) => transaction.damageOf(namespaces, key));
    }
    if (found.object.metadata.deletionTimestamp !== undefined) throw namespaceTerminating(kind, namespace, name);
  }
}

/** Manager of the fields that the store itself writes. */
const ownManager = 'holdfast-store';

/** An outcome in which what stays of the object has other owners; only they may differ, and that is a change too. */
function withOwners(current: Entry, outcome: Outcome, own: (object: KubeObject) => KubeObject): Outcome {
  if (outcome.kind === 'remove') return outcome;
  const { object: before } = current;
  const object = own(outcome.kind === 'store' ? outcome.object : before);
  return object === before ? { kind: 'unchanged' } : { kind: 'store', object };
}

function namespaceTerminating(kind: ResourceKind, namespace: string, name: string): StatusError {
  const because = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const message = `namespace ${namespace} is being terminated`;
  return forbidden(kind, name, because, [{ reason: 'NamespaceTerminating', message, field: 'metadata.namespace' }]);
}

/** Before what a write came to is carried out; also one that changes nothing is answered with the whole object. */
function admitOutcome({ admit }: WriteMode, kind: ResourceKind, current: Entry, outcome: Outcome): void {
  admit?.(kind, outcome.kind === 'unchanged' ? current.object : outcome.object, current.object);
}

function find(transaction: Transaction, place: ObjectPlace): Entry {
  const { kind, namespace, name } = place;
  const entry = transaction.get(kind, namespace, name);
  if (entry === undefined) throw missing(place, (key) => transaction.damageOf(kind, key));
  return entry;
}

/** What to answer about an object that cannot be had. `damageOf`: why what the store has of it cannot be read. */
export function missing(
  { kind, namespace, name }: ObjectPlace,
  damageOf: (key: string) => string | undefined,
): StatusError {
  const problem = damageOf(keyOf(namespace, name));
  return problem === undefined ? notFound(kind, name) : damagedObject(kind, name, problem);
}

/** Carries out what the rules decided. */
export function store(
  transaction: Transaction,
  kind: ResourceKind,
  current: Entry,
  outcome: Outcome,
): Pick<Written, 'entry' | 'isRemoved'> {
  switch (outcome.kind) {
    case 'unchanged':
      return { entry: current, isRemoved: false };
    case 'store':
      return { entry: transaction.put(kind, outcome.object), isRemoved: false };
    case 'remove':
      return { entry: transaction.remove(kind, { key: current.key, object: outcome.object }), isRemoved: true };
    default:
      throw new TypeError(`unknown outcome: ${JSON.stringify(outcome satisfies never)}`);
  }
}

function applyPatch(kind: ResourceKind, object: KubeObject, patch: Patch): Json {
  switch (patch.kind) {
    case 'json':
      return applyJsonPatch(object, patch.value);
    case 'merge':
      return applyMergePatch(object, requireObject(patch.value));
    case 'strategic':
      return applyStrategicPatch(object, requireObject(patch.value), wholeSchema(kind));
    default:
      throw new TypeError(`unknown patch: ${JSON.stringify(patch.kind satisfies never)}`);
  }
}

function requireObject(value: Json): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw badRequest('a merge patch must be an object');
}

/** The schema of a kind with that of its metadata, which says how finalizers and owners are merged. */
function wholeSchema({ openApi }: ResourceKind): OpenApiSchema {
  return { ...openApi, properties: { ...openApi.properties, metadata: objectMetaSchema } };
}
