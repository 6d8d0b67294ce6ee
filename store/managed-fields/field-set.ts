/**
 * Sets of fields in the very form of fieldsV1: a tree of path elements, in which an empty node is a member of the set and
 * a node with children is one only if it has a child `.` too. Pure: sets are never changed after they are made, and an
 * operation that changes nothing returns the set that it was given. Source: structured-merge-diff, fieldpath.Set.
 */
import { isJsonObject, type Json } from '../json.ts';
import { compareElements, formatElement, parseElement } from './path-element.ts';

export interface FieldSet {
  /** Every key but `.` is a path element; none can be one that objects inherit. */
  readonly [element: string]: FieldSet;
}

/** The set without members; below an element: nothing but the element itself. */
export const nothing: FieldSet = Object.freeze({});

/** The key that makes a node with children a member itself. */
const self = '.';

type Draft = Record<string, FieldSet>;

export function isEmpty(set: FieldSet): boolean {
  for (const _ in set) return false;
  return true;
}

/** Whether a node is a member of the set that it stands in. */
export function isMember(node: FieldSet | undefined): boolean {
  return node !== undefined && (node[self] !== undefined || isEmpty(node));
}

/** A node that is a member, with what is below it. */
export function asMember(node: FieldSet): FieldSet {
  return isMember(node) ? node : { [self]: nothing, ...node };
}

/** The set below an element, without the element itself. */
export function below(node: FieldSet | undefined): FieldSet {
  if (node === undefined) return nothing;
  if (node[self] === undefined) return node;
  const { [self]: _self, ...rest } = node;
  return isEmpty(rest) ? nothing : rest;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b || isEmpty(b)) return a;
  if (isEmpty(a)) return b;
  let draft: Draft | undefined;
  for (const element in b) {
    const other = b[element] ?? nothing;
    const mine = a[element];
    const merged = mine === undefined ? other : unionNodes(mine, other);
    if (merged === mine) continue;
    draft ??= { ...a };
    draft[element] = merged;
  }
  return draft ?? a;
}

function unionNodes(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b) return a;
  if (isEmpty(a)) return isEmpty(b) ? a : asMember(b);
  return isEmpty(b) ? asMember(a) : union(a, b);
}

/** The union of all; its cost is that of reading them once. */
export function unionAll(sets: readonly FieldSet[]): FieldSet {
  const filled = sets.filter((set) => !isEmpty(set));
  const [first = nothing] = filled;
  if (filled.length <= 1) return first;
  const byElement = new Map<string, FieldSet[]>();
  for (const set of filled) {
    for (const element in set) {
      const node = set[element] ?? nothing;
      const same = byElement.get(element);
      if (same === undefined) byElement.set(element, [node]);
      else same.push(node);
    }
  }
  const draft: Draft = {};
  for (const [element, nodes] of byElement) {
    const merged = unionAll(nodes);
    draft[element] = !isEmpty(merged) && nodes.some(isMember) ? asMember(merged) : merged;
  }
  return draft;
}

/** What a holds and b does not. A member of a stays even if b holds what is below it, and the other way round. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return subtract(a, b, 'members');
}

/** What a holds and b does not, where a member of b stands for all that is below it too. */
export function recursiveDifference(a: FieldSet, b: FieldSet): FieldSet {
  return subtract(a, b, 'trees');
}

function subtract(a: FieldSet, b: FieldSet, mode: 'members' | 'trees'): FieldSet {
  if (isEmpty(a) || isEmpty(b)) return a;
  let draft: Draft | undefined;
  // Through a: managers own less than what a write may bring.
  for (const element in a) {
    const [mine, other] = [a[element], b[element]];
    if (mine === undefined || other === undefined || element === self) continue;
    const left = subtractNode(mine, other, mode);
    if (left === mine) continue;
    draft ??= { ...a };
    if (left === undefined) delete draft[element];
    else draft[element] = left;
  }
  return draft ?? a;
}

/** undefined: nothing is left of the node. */
function subtractNode(a: FieldSet, b: FieldSet, mode: 'members' | 'trees'): FieldSet | undefined {
  const isTaken = isMember(b);
  if (isTaken && mode === 'trees') return undefined;
  if (isEmpty(a)) return isTaken ? undefined : a;
  const left = subtract(a, b, mode); // with the mark of a itself, if it has one
  const hasSelf = a[self] !== undefined;
  if (Object.keys(left).length === (hasSelf ? 1 : 0)) return hasSelf && !isTaken ? nothing : undefined;
  return hasSelf && isTaken ? below(left) : left;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  if (a === b) return a;
  const draft: Draft = {};
  for (const element in a) {
    const [mine, other] = [a[element], b[element]];
    if (mine === undefined || other === undefined || element === self) continue;
    const children = intersection(below(mine), below(other));
    const isShared = isMember(mine) && isMember(other);
    if (isEmpty(children)) {
      if (isShared) draft[element] = nothing;
    } else draft[element] = isShared ? asMember(children) : children;
  }
  return isEmpty(draft) ? nothing : draft;
}

export function equals(a: FieldSet, b: FieldSet): boolean {
  if (a === b) return true;
  let count = 0;
  for (const element in a) {
    const other = b[element];
    if (other === undefined || !equals(a[element] ?? nothing, other)) return false;
    count++;
  }
  return count === Object.keys(b).length;
}

/** The paths of all members, as errors name them; a member comes before what is below it. */
export function* formatPaths(set: FieldSet, prefix = ''): Generator<string, void> {
  for (const element of Object.keys(set).sort(compareElements)) {
    if (element === self) continue;
    const node = set[element] ?? nothing;
    const path = `${prefix}${formatElement(element)}`;
    if (isMember(node)) yield path;
    yield* formatPaths(node, path);
  }
}

/** The set in the order of fieldsV1, so that equal sets are equal text. */
export function sortSet(set: FieldSet): FieldSet {
  const elements = Object.keys(set);
  if (elements.length === 0) return nothing;
  // By code unit is the order for names of fields, and quick.
  if (elements.some((element) => element[0] !== 'f' && element !== self)) elements.sort(compareElements);
  else elements.sort();
  const sorted: Draft = {};
  for (const element of elements) sorted[element] = sortSet(set[element] ?? nothing);
  return sorted;
}

/** Reads fieldsV1 as a client sent it. Throws SyntaxError. Elements of a kind that is not known are left out. */
export function parseFieldSet(value: Json | undefined): FieldSet {
  if (value === undefined || value === null) return nothing;
  if (!isJsonObject(value)) throw new SyntaxError('fieldsV1 must be an object');
  return parseNode(value);
}

function parseNode(value: Json | undefined): FieldSet {
  if (!isJsonObject(value)) return nothing;
  const draft: Draft = {};
  for (const [text, child] of Object.entries(value)) {
    const element = text === self ? self : parseElement(text);
    if (element === undefined) continue;
    const node = element === self ? nothing : parseNode(child);
    const present = draft[element];
    draft[element] = present === undefined ? node : unionNodes(present, node);
  }
  const elements = Object.keys(draft);
  return elements.length === 0 || (elements.length === 1 && elements[0] === self) ? nothing : draft;
}
