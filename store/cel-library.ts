/**
 * CEL as Kubernetes has it: one environment, made when the first rule needs it, which others are cloned from. The library
 * is loaded then, for most stores have no rules.
 */
import { createRequire } from 'node:module';
import type { Environment } from '@marcbachmann/cel-js/evaluator';
import type { Budget } from './cel-budget.ts';
import type * as Functions from './cel-functions.ts';
import type { Optionals } from './cel-own-types.ts';
import type * as Types from './cel-types.ts';

export interface CelLibrary {
  /** With Kubernetes' functions; clone it. */
  readonly environment: Environment;
  readonly optionals: Optionals;
  readonly createDeclarer: (environment: Environment) => Types.TypeDeclarer;
}

/** Parts of one expression. cel-go bounds the length of an expression at 100,000 characters. */
const limits = { maxAstNodes: 20_000, maxDepth: 100, maxListElements: 1_000, maxMapEntries: 1_000 };

export function createCelLibrary(budget: Budget): () => CelLibrary {
  let library: CelLibrary | undefined;
  return () => {
    library ??= load(budget);
    return library;
  };
}

function load(budget: Budget): CelLibrary {
  // Synchronous, for rules are compiled while a write is decided. The types are those of the modules named.
  const require = createRequire(import.meta.url);
  const { Environment: Base } = require('@marcbachmann/cel-js/evaluator') as { Environment: typeof Environment };
  const { addFunctions } = require('./cel-functions.ts') as typeof Functions;
  const { TypeDeclarer } = require('./cel-types.ts') as typeof Types;
  const options = { enableOptionalTypes: true, homogeneousAggregateLiterals: false, limits };
  const none: unknown = new Base(options).evaluate('optional.none()');
  // The library does not export its class of optionals, only what makes them.
  const { of } = (none as { readonly constructor: { readonly of: (value: unknown) => unknown } }).constructor;
  const optionals: Optionals = { none, of };
  const environment = new Base(options);
  addFunctions(environment, optionals, budget);
  return { environment, optionals, createDeclarer: (target) => new TypeDeclarer(target) };
}
