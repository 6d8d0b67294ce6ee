/** JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Pure: the document given is not changed. */
import { getOwn, isJsonArray, isJsonObject, type Json, type JsonObject, jsonEqual } from './json.ts';
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
  let copiedBytes = 0;
  return patch.map(parseOperation).reduce((current, { op, path, from, value }) => {
    switch (op) {
      case 'add':
        return add(current, path, required(value, op, path));
      case 'remove':
        return remove(current, path);
      case 'replace':
        return replace(current, path, required(value, op, path));
      case 'move': {
        if (from.length < path.length && from.every((step, index) => step === path[index])) {
          throw patchFailed(`move: ${formatPointer(from)} cannot move into itself`);
        }
        const moved = read(current, from);
        return add(remove(current, from), path, moved);
      }
      case 'copy': {
        const copied = read(current, from);
        copiedBytes += JSON.stringify(copied).length;
        if (copiedBytes > maxCopiedBytes) throw tooLarge(`copy operations add more than ${maxCopiedBytes} bytes`);
        return add(current, path, copied);
      }
      case 'test':
        if (!jsonEqual(read(current, path), required(value, op, path))) {
          throw patchFailed(`testing value ${formatPointer(path)} failed: it is not what the patch expects`);
        }
        return current;
      default:
        throw badRequest(`unexpected op ${JSON.stringify(op)}; use add, remove, replace, move, copy or test`);
    }
  }, document);
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

/** Replaces the container that holds the path's last step. */
function edit(document: Json, path: readonly string[], at: number, change: (holder: Json, last: string) => Json): Json {
  const step = path[at];
  if (step === undefined) throw patchFailed('the whole document cannot be removed');
  if (at === path.length - 1) return change(document, step);
  if (isJsonArray(document)) {
    const index = indexOf(step, document.length - 1, path);
    return document.map((item, position) => (position === index ? edit(item, path, at + 1, change) : item));
  }
  const child = isJsonObject(document) ? getOwn(document, step) : undefined;
  if (!isJsonObject(document) || child === undefined) throw patchFailed(`path ${formatPointer(path)} does not exist`);
  return { ...document, [step]: edit(child, path, at + 1, change) };
}

function add(document: Json, path: readonly string[], value: Json): Json {
  if (path.length === 0) return value;
  return edit(document, path, 0, (holder, last) => {
    if (isJsonArray(holder)) {
      return holder.toSpliced(last === '-' ? holder.length : indexOf(last, holder.length, path), 0, value);
    }
    if (isJsonObject(holder)) return { ...holder, [last]: value };
    throw patchFailed(`path ${formatPointer(path)} does not exist`);
  });
}

function remove(document: Json, path: readonly string[]): Json {
  read(document, path);
  return edit(document, path, 0, (holder, last) => {
    if (isJsonArray(holder)) return holder.toSpliced(indexOf(last, holder.length - 1, path), 1);
    // read has found the path, so what holds its last step is an object here
    const { [last]: _removed, ...rest } = holder as JsonObject;
    return rest;
  });
}

function replace(document: Json, path: readonly string[], value: Json): Json {
  if (path.length === 0) return value;
  read(document, path);
  return edit(document, path, 0, (holder, last) => {
    if (isJsonArray(holder)) return holder.with(indexOf(last, holder.length - 1, path), value);
    return { ...(holder as JsonObject), [last]: value }; // an object, as read has found the path
  });
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
