/** All cases, by subject. */
import type { Case } from './case.ts';
import { applyCases } from './cases/apply.ts';
import { coreCases } from './cases/core.ts';
import { createCases } from './cases/create.ts';
import { customCases } from './cases/custom.ts';
import { definitionCases } from './cases/definitions.ts';
import { deleteCases } from './cases/delete.ts';
import { discoveryCases } from './cases/discovery.ts';
import { expiredCases } from './cases/expired.ts';
import { listCases } from './cases/list.ts';
import { namespaceCases } from './cases/namespaces.ts';
import { negotiationCases } from './cases/negotiation.ts';
import { patchCases } from './cases/patch.ts';
import { pathCases } from './cases/paths.ts';
import { updateCases } from './cases/update.ts';
import { watchCases } from './cases/watch.ts';

export const subjects: ReadonlyMap<string, readonly Case[]> = new Map([
  ['discovery', discoveryCases],
  ['negotiation', negotiationCases],
  ['creating', createCases],
  ['updating', updateCases],
  ['patching', patchCases],
  ['applying', applyCases],
  ['deleting', deleteCases],
  ['listing', listCases],
  ['watching', watchCases],
  ['versions that are gone', expiredCases],
  ['custom resources', customCases],
  ['changed definitions', definitionCases],
  ['namespaces', namespaceCases],
  ['Secrets and Events', coreCases],
  ['paths and errors', pathCases],
]);
