/** JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Pure: the document given is not changed. */
import { getOwn, isJsonArray, isJsonObject, type Json, jsonEqual } from './json.ts';
import { badRequest, patchFailed, tooLarge } from './status-error.ts';

/** Operations in one JSON Patch, as kube-apiserver limits them. */
const maxOperations = 10_000;

/** What all `copy` operations of one patch may add, in bytes: copies of copies grow without bound. */
const maxCopiedBytes = 3 * 1024 * 1024;

interface Operation {
  readonly op: string;
  readonly path: readonly string[];
  readonly from: readonly string[];
  readonly value: Json | undefined;
}

/** Throws StatusError 400 (not a patch), 413 (too large) or 422 (cannot be applied). */
export function applyJsonPatch(document: Json, patch: Json): Json {
  if (!isJsonArray(patch)) throw badRequest('a JSON Patch must be a list of operations');
  if (patch.length > maxOperations) throw tooLarge(`a JSON Patch may have at most ${maxOperations} operations`);
  const draft = new Draft(document);
  let copiedBytes = 0;
  for (const { op, path, from, value } of patch.map(parseOperation)) {
    switch (op) {
      case 'add':
        draft.add(path, required(value, op, path));
        break;
      case 'remove':
        draft.remove(path);
        break;
      case 'replace':
        draft.replace(path, required(value, op, path));
        break;
      case 'move': {
        if (from.length < path.length && from.every((step, index) => step === path[index])) {
          throw patchFailed(`move: ${formatPointer(from)} cannot move into itself`);
        }
        const moved = read(draft.root, from);
        draft.remove(from);
        draft.add(path, moved);
        break;
      }
      case 'copy': {
        const copied = JSON.stringify(read(draft.root, from));
        copiedBytes += copied.length;
        if (copiedBytes > maxCopiedBytes) throw tooLarge(`copy operations add more than ${maxCopiedBytes} bytes`);
        draft.add(path, JSON.parse(copied)); // nothing may stand in two places of what is changed in place
        break;
      }
      case 'test':
        if (!jsonEqual(read(draft.root, path), required(value, op, path))) {
          throw patchFailed(`testing value ${formatPointer(path)} failed: it is not what the patch expects`);
        }
        break;
      default:
        throw patchFailed(`unexpected op ${JSON.stringify(op)}; use add, remove, replace, move, copy or test`);
    }
  }
  return draft.root;
}

function required(value: Json | undefined, op: string, path: readonly string[]): Json {
  if (value === undefined) throw badRequest(`the operation ${op} ${formatPointer(path)} needs a value`);
  return value;
}

function parseOperation(operation: Json): Operation {
  if (!isJsonObject(operation) || typeof operation.op !== 'string') {
    throw badRequest('each operation of a JSON Patch must be an object with op and path');
  }
  const { op, value } = operation;
  const from = op === 'move' || op === 'copy' ? parsePointer(operation.from, 'from') : [];
  return { op, path: parsePointer(operation.path, 'path'), from, value };
}

function parsePointer(pointer: Json | undefined, field: string): readonly string[] {
  if (typeof pointer !== 'string' || (pointer !== '' && !pointer.startsWith('/'))) {
    throw badRequest(`${field} of a JSON Patch operation must be a JSON pointer like /spec/image`);
  }
  const steps = pointer.split('/').slice(1);
  const unescaped = steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (unescaped.includes('__proto__')) throw badRequest('the key "__proto__" is not accepted');
  return unescaped;
}

function formatPointer(path: readonly string[]): string {
  return path.map((step) => `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

function read(document: Json, path: readonly string[]): Json {
  let at: Json | undefined = document;
  for (const step of path) {
    if (isJsonArray(at)) at = at[indexOf(step, at.length - 1, path)];
    else at = isJsonObject(at) ? getOwn(at, step) : undefined;
    if (at === undefined) throw patchFailed(`path ${formatPointer(path)} does not exist`);
  }
  return at;
}

function indexOf(step: string, max: number, path: readonly string[]): number {
  if (!/^(0|[1-9]\d*)$/u.test(step)) {
    throw patchFailed(`${JSON.stringify(step)} in ${formatPointer(path)} is not an index of a list`);
  }
  const index = Number(step);
  if (index > max) throw patchFailed(`index ${step} in ${formatPointer(path)} is out of bounds`);
  return index;
}

type Holder = Json[] | Record<string, Json | undefined>;

/**
 * A document under change. What an operation goes through is copied the first time only, and then changed in place: a
 * copy for each operation would let one patch of a large object hold up everyone for minutes.
 */
class Draft {
  root: Json;
  readonly #copies = new Set<Json>();

  constructor(document: Json) {
    this.root = document;
  }

  add(path: readonly string[], value: Json): void {
    const last = path.at(-1);
    if (last === undefined) {
      this.root = value;
      return;
    }
    const holder = this.#holderOf(path);
    if (!Array.isArray(holder)) holder[last] = value;
    else holder.splice(last === '-' ? holder.length : indexOf(last, holder.length, path), 0, value);
  }

  remove(path: readonly string[]): void {
    read(this.root, path);
    const last = path.at(-1);
    if (last === undefined) throw patchFailed('the whole document cannot be removed');
    const holder = this.#holderOf(path);
    if (Array.isArray(holder)) holder.splice(indexOf(last, holder.length - 1, path), 1);
    else delete holder[last];
  }

  /** Of an object also what is not there: so does the library that kube-apiserver patches with. */
  replace(path: readonly string[], value: Json): void {
    const last = path.at(-1);
    if (last === undefined) {
      this.root = value;
      return;
    }
    const holder = this.#holderOf(path);
    if (Array.isArray(holder)) holder[indexOf(last, holder.length - 1, path)] = value;
    else holder[last] = value;
  }

  /** What holds the path's last step, as a copy that may be changed. */
  #holderOf(path: readonly string[]): Holder {
    const root = this.#copyOf(this.root, path);
    this.root = root;
    let holder: Holder = root;
    for (const step of path.slice(0, -1)) {
      if (Array.isArray(holder)) {
        const index = indexOf(step, holder.length - 1, path);
        const next = this.#copyOf(holder[index], path);
        holder[index] = next;
        holder = next;
      } else {
        const next = this.#copyOf(getOwn(holder, step), path);
        holder[step] = next;
        holder = next;
      }
    }
    return holder;
  }

  #copyOf(value: Json | undefined, path: readonly string[]): Holder {
    if (!isJsonArray(value) && !isJsonObject(value)) throw patchFailed(`path ${formatPointer(path)} does not exist`);
    if (this.#copies.has(value)) return value as Holder; // made below
    const copy = isJsonArray(value) ? [...value] : { ...value };
    this.#copies.add(copy);
    return copy;
  }
}

/** RFC 7386: objects are merged, null removes, anything else replaces. */
export function applyMergePatch(document: Json | undefined, patch: Json): Json {
  if (!isJsonObject(patch)) return patch;
  const next: Record<string, Json | undefined> = isJsonObject(document) ? { ...document } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) delete next[key];
    else next[key] = applyMergePatch(next[key], value);
  }
  return next;
}
