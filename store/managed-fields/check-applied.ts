/**
 * Whether what a client applies is of the schema: fields that are not in it, wrong types, items of lists that cannot be
 * told apart. Pure. Wording: structured-merge-diff, typed/validate.go, as kube-apiserver answers it.
 */
import { isJsonArray, isJsonObject, type Json, type JsonObject, jsonTypeOf } from '../json.ts';
import { childOf, type FieldSchema, kindOf, type ListSchema, type MapSchema, type Scalar } from './field-schema.ts';
import { elementOfItem, ListItemError } from './list-items.ts';
import { formatElement } from './path-element.ts';

/** No more problems than this are told of one object. */
const maxProblems = 20;

/** What is wrong, each with its path in front. */
export function checkApplied(schema: FieldSchema, value: Json): readonly string[] {
  const problems: string[] = [];
  check(schema, value, '', problems);
  return problems.slice(0, maxProblems);
}

function check(schema: FieldSchema, value: Json, path: string, problems: string[]): void {
  if (value === null || problems.length >= maxProblems) return;
  const tell = (problem: string): void => {
    problems.push(path === '' ? problem : `${path}: ${problem}`);
  };
  const { map, list, scalar } = schema;
  switch (kindOf(schema, value)) {
    case 'map':
      if (isJsonObject(value)) checkMap(map, value, path, problems);
      else tell(`expected map, got ${describe(value)}`);
      return;
    case 'list':
      if (isJsonArray(value)) checkList(list, value, path, problems);
      else tell(`expected list, got ${describe(value)}`);
      return;
    default:
      if (!isScalar(scalar, value)) tell(`${expectations[scalar ?? 'untyped']}, got ${describe(value)}`);
  }
}

const expectations: Readonly<Record<Scalar, string>> = {
  numeric: 'expected numeric (int or float)',
  string: 'expected string',
  boolean: 'expected boolean',
  untyped: 'expected any scalar',
};

function isScalar(scalar: Scalar | undefined, value: Json): boolean {
  switch (scalar) {
    case 'numeric':
      return typeof value === 'number';
    case 'string':
      return typeof value === 'string';
    case 'boolean':
      return typeof value === 'boolean';
    default:
      return typeof value !== 'object';
  }
}

function describe(value: Json): string {
  return typeof value === 'object' ? jsonTypeOf(value) : JSON.stringify(value).slice(0, 100);
}

function checkMap(schema: MapSchema | undefined, value: JsonObject, path: string, problems: string[]): void {
  if (schema === undefined) return;
  for (const [name, item] of Object.entries(value)) {
    const child = childOf(schema, name);
    if (child === undefined) problems.push(`${path}.${name.slice(0, 200)}: field not declared in schema`);
    else if (item !== undefined) check(child, item, `${path}.${name}`, problems);
  }
}

function checkList(schema: ListSchema | undefined, value: readonly Json[], path: string, problems: string[]): void {
  if (schema === undefined) return;
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    if (schema.relation === 'atomic') {
      check(schema.items, item, `${path}[${index}]`, problems);
      continue;
    }
    try {
      const element = elementOfItem(schema, item);
      const name = formatElement(element);
      if (seen.has(element)) problems.push(`${path}: duplicate entries for key ${name}`);
      seen.add(element);
      check(schema.items, item, `${path}${name}`, problems);
    } catch (error) {
      if (!(error instanceof ListItemError)) throw error;
      problems.push(`${path}: element ${index}: ${error.message}`);
      return;
    }
  }
}
