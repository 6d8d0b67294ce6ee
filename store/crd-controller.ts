/**
 * Makes the kinds of CustomResourceDefinitions come, change and go. Effects. What a committed definition says is served
 * before its client has the answer; a definition that is deleted takes its objects along, whose finalizers count.
 */
import type { Logger } from 'pino';
import { parseCustomResourceDefinition } from './crd-parse.ts';
import { cleanupFinalizer, isConditionTrue, namesInUse, setCondition, type TakenNames } from './crd-status.ts';
import { formatTime } from './format-time.ts';
import { getPath, getString, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import type { CustomKinds, Kinds } from './kinds.ts';
import type { Change } from './memory.ts';
import { deleteObject } from './object-rules.ts';
import { store } from './operations.ts';
import type { KubeObject, ResourceKind } from './resources.ts';
import { Stepwise } from './stepwise.ts';
import { refreshEntry } from './stored-entry.ts';
import type { Transaction, Writer } from './writer.ts';

export interface CrdControllerDeps {
  readonly writer: Writer;
  readonly kinds: Kinds;
  /** The kind CustomResourceDefinition. */
  readonly definitions: ResourceKind;
  /** What validates objects of a version beyond its schema. */
  readonly rules: (version: Json) => ResourceKind['validate'];
  /** Called when objects of a kind that was not served can be read from disk again. */
  readonly load: (kind: ResourceKind) => void;
  readonly now: () => number;
  readonly log: Logger;
}

/** Objects that one write touches at most. */
const maxPerWrite = 250;

/** What is served for a definition, and how it is ended. */
interface Serving {
  readonly spec: Json | undefined;
  readonly names: Json | undefined;
  readonly ended: AbortController;
}

export class CrdController {
  readonly #deps: CrdControllerDeps;
  readonly #serving = new Map<string, Serving>();
  /** Names of definitions that are being removed. */
  readonly #terminating = new Set<string>();
  readonly #removal: Stepwise;
  #unsubscribe: (() => void) | undefined;

  constructor(deps: CrdControllerDeps) {
    this.#deps = deps;
    this.#removal = new Stepwise({
      writer: deps.writer,
      step: (transaction, name) => this.#removeSome(transaction, name),
      failed: (error, name) =>
        deps.log.warn({ err: error, definition: name }, 'a definition could not be removed; trying again'),
    });
  }

  /** Serves what the definitions say that are there, and all that come. The definitions' objects are not loaded yet. */
  start(): void {
    const { writer, definitions } = this.#deps;
    for (const { object } of writer.collection(definitions).list(undefined)) this.#serve(object);
    this.#unsubscribe = writer.subscribe((storageKey, change) => this.#receive(storageKey, change));
  }

  /** Goes on with removals that a stop interrupted; once all objects are loaded. */
  resume(): void {
    for (const { object } of this.#deps.writer.collection(this.#deps.definitions).list(undefined)) this.#follow(object);
  }

  close(): void {
    this.#unsubscribe?.();
    this.#removal.close();
  }

  /** The names in a group that are in use by others than one definition. */
  taken(group: string, definition: string): TakenNames {
    const { kinds, writer, definitions } = this.#deps;
    const resources: string[] = [];
    const kindNames: string[] = [];
    for (const kind of kinds.fixed) {
      if (kind.group !== group) continue;
      resources.push(kind.plural, kind.singular, ...kind.shortNames);
      kindNames.push(kind.kind, kind.listKind);
    }
    for (const { object } of writer.collection(definitions).list(undefined)) {
      if (object.metadata.name === definition || getString(object, 'spec', 'group') !== group) continue;
      const names = namesInUse(getPath(object, ['status', 'acceptedNames']));
      resources.push(...names.resources);
      kindNames.push(...names.kinds);
    }
    return { resources: new Set(resources), kinds: new Set(kindNames) };
  }

  #receive(storageKey: string, { kind, entry, previous }: Change): void {
    const { name } = entry.object.metadata;
    if (storageKey !== this.#deps.definitions.storageKey) {
      if (kind === 'DELETED' && this.#terminating.has(storageKey)) this.#removal.begin(storageKey);
      return;
    }
    if (kind === 'DELETED') {
      this.#terminating.delete(name);
      this.#end(name);
    } else {
      this.#serve(entry.object);
      this.#follow(entry.object);
    }
    const names = (object: JsonObject | undefined) => getPath(object, ['status', 'acceptedNames']);
    if (kind === 'DELETED' || !jsonEqual(names(previous?.object), names(entry.object))) this.#retryNames(entry.object);
  }

  #follow(definition: KubeObject): void {
    const { name, deletionTimestamp } = definition.metadata;
    if (deletionTimestamp === undefined) return;
    this.#terminating.add(name);
    this.#removal.begin(name);
  }

  #end(name: string): void {
    this.#serving.get(name)?.ended.abort();
    this.#serving.delete(name);
    this.#deps.kinds.setCustom(name, undefined);
  }

  /** Whoever watches a kind that changed begins again, and sees it as it is now. */
  #serve(definition: KubeObject): void {
    const { kinds, rules, load, writer, log } = this.#deps;
    const { name } = definition.metadata;
    if (!isConditionTrue(definition, 'Established')) return;
    const { spec } = definition;
    const names = getPath(definition, ['status', 'acceptedNames']);
    const before = this.#serving.get(name);
    const isSame = before !== undefined && jsonEqual(before.spec, spec) && jsonEqual(before.names, names);
    if (isSame && (kinds.custom(name)?.stored.isTerminating === true) === isDeleted(definition)) return;
    const ended = isSame ? before.ended : new AbortController();
    let custom: CustomKinds;
    try {
      const accepted = { ...definition, spec: { ...(isJsonObject(spec) ? spec : {}), names } };
      custom = parseCustomResourceDefinition(accepted, rules, ended.signal);
      const { stored } = custom;
      if (before === undefined && kinds.custom(name) === undefined) load(stored);
      else if (!isSame) writer.collection(stored).refresh((entry) => refreshEntry(stored, entry));
    } catch (error) {
      // Stored by an earlier version with other rules, or its objects cannot be read: they stay on disk, and it is not served.
      log.error({ err: error, definition: name }, 'a stored CustomResourceDefinition cannot be served');
      return;
    }
    this.#serving.set(name, { spec, names, ended });
    kinds.setCustom(name, custom);
    if (!isSame) before?.ended.abort();
  }

  /** Definitions of the group whose names were taken may have them now. */
  #retryNames(changed: KubeObject): void {
    const { writer, definitions, log } = this.#deps;
    const group = getString(changed, 'spec', 'group');
    for (const { object } of writer.collection(definitions).list(undefined)) {
      const { name } = object.metadata;
      if (getString(object, 'spec', 'group') !== group || isConditionTrue(object, 'NamesAccepted')) continue;
      const decide = (transaction: Transaction): void => {
        const current = transaction.get(definitions, undefined, name);
        if (current === undefined) return;
        const next = definitions.prepare(current.object, current.object);
        if (!jsonEqual(next, current.object)) transaction.put(definitions, next);
      };
      writer.write(decide).catch((error: unknown) => {
        log.warn({ err: error, definition: name }, 'names of a definition could not be looked at again');
      });
    }
  }

  /** One step; true: there is more to do at once. Objects held by finalizers come back here when they are gone. */
  #removeSome(transaction: Transaction, name: string): boolean {
    const { definitions, kinds, now } = this.#deps;
    const current = transaction.get(definitions, undefined, name);
    const { deletionTimestamp, finalizers = [] } = current?.object.metadata ?? {};
    if (current === undefined || deletionTimestamp === undefined || !finalizers.includes(cleanupFinalizer))
      return false;
    const kind = kinds.custom(name)?.stored;
    // It was served once: what it holds is on disk, and is not known. Served again, it is removed with that.
    if (kind === undefined && isConditionTrue(current.object, 'Established')) return false;
    const held = kind === undefined ? [] : transaction.list(kind, undefined);
    const unasked = held.filter(({ object }) => object.metadata.deletionTimestamp === undefined);
    const nothing = { uid: undefined, resourceVersion: undefined };
    const steps = unasked.slice(0, maxPerWrite);
    let removed = 0;
    for (const entry of steps) {
      if (kind === undefined) break;
      if (store(transaction, kind, entry, deleteObject(kind, entry, nothing, now())).isRemoved) removed++;
    }
    if (unasked.length > steps.length) return true;
    const isDone = held.length === removed;
    const left = finalizers.filter((finalizer) => finalizer !== cleanupFinalizer);
    const next = withTerminating(current.object, isDone, formatTime(now()));
    if (!isDone) {
      if (!jsonEqual(next, current.object)) transaction.put(definitions, next);
      return false;
    }
    const { finalizers: _all, ...metadata } = next.metadata;
    const freed: KubeObject = { ...next, metadata: left.length > 0 ? { ...metadata, finalizers: left } : metadata };
    if (left.length > 0) transaction.put(definitions, freed);
    else transaction.remove(definitions, { key: current.key, object: freed });
    return false;
  }
}

function isDeleted({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

function withTerminating(definition: KubeObject, isDone: boolean, now: string): KubeObject {
  const status = isJsonObject(definition.status) ? definition.status : {};
  const condition = isDone
    ? ({ status: 'False', reason: 'InstanceDeletionCompleted', message: 'removed all instances' } as const)
    : ({
        status: 'True',
        reason: 'InstanceDeletionInProgress',
        message: 'CustomResource deletion is in progress',
      } as const);
  const conditions = setCondition(status.conditions, { type: 'Terminating', ...condition }, now);
  return { ...definition, status: { ...status, conditions } };
}
