/**
 * Whether a CustomResourceDefinition may be stored. Pure. The rules, their order and their words are those of
 * apiextensions-apiserver (pkg/apis/apiextensions/validation), whose users search for them.
 */

import { cleanupFinalizer, isConditionTrue } from './crd-status.ts';
import { type CrdRules, validateVersionParts } from './crd-validate-version.ts';
import type { FieldError } from './field-errors.ts';
import {
  getOwn,
  getPath,
  getString,
  isJsonArray,
  isJsonObject,
  type Json,
  type JsonObject,
  jsonEqual,
  objectsOf,
} from './json.ts';
import { checkDns1035Label, checkName } from './object-meta.ts';
import type { KubeObject, ResourceKind } from './resources.ts';
import { validateSchema } from './schema-validate.ts';

const approvalAnnotation = 'api-approved.kubernetes.io';
const approvalLink = 'https://github.com/kubernetes/enhancements/pull/1111';

export function validateDefinition(
  kind: ResourceKind,
  object: KubeObject,
  previous: KubeObject | undefined,
  rules: CrdRules,
): readonly FieldError[] {
  // The checks below rely on the shape, whose errors are told by themselves.
  if (validateSchema(kind.schema, object).length > 0) return [];
  const spec = isJsonObject(object.spec) ? object.spec : {};
  const errors: FieldError[] = [];
  const name = `${getString(spec, 'names', 'plural') ?? ''}.${getString(spec, 'group') ?? ''}`;
  if (object.metadata.name !== name) {
    const detail = 'must be spec.names.plural+"."+spec.group';
    errors.push({ kind: 'invalid', field: 'metadata.name', value: object.metadata.name, detail });
  }
  const before = isJsonObject(previous?.spec) ? previous.spec : undefined;
  // A definition that is going needs nothing but to go.
  if (before !== undefined && isRemoving(object) && jsonEqual(before, spec)) return [];
  errors.push(...validateSpec(spec, before, rules));
  if (before !== undefined && previous !== undefined) errors.push(...validateChange(spec, before, previous));
  errors.push(...validateStoredVersions(object, spec), ...validateApproval(object, previous));
  return errors;
}

function isRemoving({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined && metadata.finalizers?.includes(cleanupFinalizer) === true;
}

function validateSpec(spec: JsonObject, before: JsonObject | undefined, rules: CrdRules): readonly FieldError[] {
  const errors: FieldError[] = [];
  const group = getString(spec, 'group') ?? '';
  const groupError = checkName(group, 'subdomain');
  if (group === '') errors.push({ kind: 'required', field: 'spec.group', detail: '' });
  else if (groupError !== undefined) {
    errors.push({ kind: 'invalid', field: 'spec.group', value: group, detail: groupError });
  } else if (!group.includes('.')) {
    const detail = 'should be a domain with at least one dot';
    errors.push({ kind: 'invalid', field: 'spec.group', value: group, detail });
  }
  const scope = getString(spec, 'scope') ?? '';
  if (scope === '') errors.push({ kind: 'required', field: 'spec.scope', detail: '' });
  else if (scope !== 'Cluster' && scope !== 'Namespaced') {
    errors.push({ kind: 'unsupported', field: 'spec.scope', value: scope, supported: ['Cluster', 'Namespaced'] });
  }
  if (spec.preserveUnknownFields === true) {
    const detail = 'must be false';
    errors.push({ kind: 'invalid', field: 'spec.preserveUnknownFields', value: true, detail });
  }
  errors.push(...validateVersions(spec, before, rules));
  errors.push(...validateNames(spec.names, 'spec.names'));
  errors.push(...validateConversion(spec.conversion));
  return errors;
}

/** Of a version, those that `field` below is asked for. */
const parts = ['schema', 'subresources', 'additionalPrinterColumns', 'selectableFields', 'deprecationWarning'];

function validateVersions(spec: JsonObject, before: JsonObject | undefined, rules: CrdRules): readonly FieldError[] {
  const errors: FieldError[] = [];
  const versions = objectsOf(spec.versions);
  const earlier = new Map(objectsOf(before?.versions).map((version) => [version.name, version]));
  for (const [index, version] of versions.entries()) {
    if (!isJsonObject(getPath(version, ['schema', 'openAPIV3Schema']))) {
      const field = `spec.versions[${index}].schema.openAPIV3Schema`;
      errors.push({ kind: 'required', field, detail: 'schemas are required' });
    }
  }
  // What all versions share is told of as kube-apiserver keeps it: once, without the version.
  const shared = new Set(parts.filter((part) => versions.every((one) => jsonEqual(one[part], versions[0]?.[part]))));
  for (const [index, version] of versions.entries()) {
    const name = getString(version, 'name') ?? '';
    const detail = checkDns1035Label(name);
    if (detail !== undefined) {
      errors.push({ kind: 'invalid', field: `spec.versions[${index}].name`, value: name, detail });
    }
    const field = (part: string): string =>
      shared.has(part) ? `spec.${part === 'schema' ? 'validation' : part}` : `spec.versions[${index}].${part}`;
    if (index > 0 && jsonEqual(without(version), without(versions[0] ?? {}))) continue;
    if (jsonEqual(earlier.get(name), version)) continue; // it was found right when it was stored
    errors.push(...validateVersionParts(version, field, rules));
  }
  const names = versions.map((version) => version.name);
  const about = (detail: string): void => {
    errors.push({ kind: 'invalid', field: 'spec.versions', value: versions, detail });
  };
  if (new Set(names).size !== names.length) about('must contain unique version names');
  if (versions.filter((version) => version.storage === true).length !== 1) {
    about('must have exactly one version marked as storage version');
  }
  return errors;
}

/** What of a version is looked at once for all versions that have it alike. */
function without({ name: _name, served: _served, storage: _storage, ...parts }: JsonObject): JsonObject {
  return parts;
}

const requiredNames = ['plural', 'singular', 'kind', 'listKind'] as const;

function validateNames(value: Json | undefined, field: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const names = isJsonObject(value) ? value : {};
  const invalid = (part: string, name: string, detail: string | undefined): void => {
    if (detail !== undefined) errors.push({ kind: 'invalid', field: `${field}.${part}`, value: name, detail });
  };
  for (const part of requiredNames) {
    const name = getString(names, part) ?? '';
    if (name === '') errors.push({ kind: 'required', field: `${field}.${part}`, detail: '' });
    else if (part === 'kind' || part === 'listKind') {
      const wrong = checkDns1035Label(name.toLowerCase());
      const detail = wrong === undefined ? undefined : `may have mixed case, but should otherwise match: ${wrong}`;
      invalid(part, name, detail);
    } else invalid(part, name, checkDns1035Label(name));
  }
  for (const part of ['shortNames', 'categories'] as const) {
    for (const [index, name] of (isJsonArray(names[part]) ? names[part] : []).entries()) {
      invalid(`${part}[${index}]`, String(name), checkDns1035Label(String(name)));
    }
  }
  const { kind, listKind } = names;
  if (typeof kind === 'string' && kind !== '' && kind === listKind) {
    invalid('listKind', kind, 'kind and listKind may not be the same');
  }
  return errors;
}

function validateConversion(value: Json | undefined): readonly FieldError[] {
  const strategy = getString(value, 'strategy') ?? '';
  const field = 'spec.conversion.strategy';
  if (strategy === 'None') {
    const hasWebhook = getPath(value, ['webhook']) !== undefined;
    const detail = 'should not be set when strategy is not set to Webhook';
    return hasWebhook ? [{ kind: 'forbidden', field: 'spec.conversion.webhook', detail }] : [];
  }
  if (strategy === '') return [{ kind: 'required', field, detail: '' }];
  if (strategy !== 'Webhook') return [{ kind: 'unsupported', field, value: strategy, supported: ['None', 'Webhook'] }];
  const detail = 'this server calls no conversion webhooks; use None, where versions differ in apiVersion only';
  return [{ kind: 'invalid', field, value: strategy, detail }];
}

function validateChange(spec: JsonObject, before: JsonObject, previous: KubeObject): readonly FieldError[] {
  const always = [['group'], ['names', 'plural']];
  const onceServed = [['scope'], ['names', 'kind']];
  const paths = isConditionTrue(previous, 'Established') ? [...onceServed, ...always] : always;
  return paths.flatMap((path): readonly FieldError[] => {
    const value = getPath(spec, path);
    if (jsonEqual(value, getPath(before, path))) return [];
    const field = `spec.${path.join('.')}`;
    return [{ kind: 'invalid', field, value: value ?? null, detail: 'field is immutable' }];
  });
}

function validateStoredVersions(object: KubeObject, spec: JsonObject): readonly FieldError[] {
  const stored = getPath(object, ['status', 'storedVersions']);
  const names = new Set(objectsOf(spec.versions).map(({ name }) => name));
  const field = 'status.storedVersions';
  if (!isJsonArray(stored) || stored.length === 0) {
    // Without a storage version there is none to be stored, and that is told already.
    const hasStorage = objectsOf(spec.versions).some((version) => version.storage === true);
    const detail = 'must have at least one stored version';
    return hasStorage ? [{ kind: 'invalid', field, value: stored ?? null, detail }] : [];
  }
  return stored.flatMap((version, index): readonly FieldError[] => {
    if (names.has(version)) return [];
    const detail =
      `missing from spec.versions; ${String(version)} was previously a storage version, and must remain in ` +
      `spec.versions until a storage migration ensures no data remains persisted in ${String(version)} and removes ` +
      `${String(version)} from status.storedVersions`;
    return [{ kind: 'invalid', field: `${field}[${index}]`, value: version, detail }];
  });
}

/** Groups of the Kubernetes community need a link to the review that approved of them. */
function validateApproval(object: KubeObject, previous: KubeObject | undefined): readonly FieldError[] {
  const group = getString(object, 'spec', 'group') ?? '';
  const isProtected = ['k8s.io', 'kubernetes.io'].some((top) => group === top || group.endsWith(`.${top}`));
  if (!isProtected) return [];
  const linkOf = (from: KubeObject | undefined): string =>
    String(getOwn(from?.metadata.annotations, approvalAnnotation) ?? '');
  const value = linkOf(object);
  // What was accepted without a link before may stay so.
  if (previous !== undefined && linkOf(previous) === value) return [];
  const field = `metadata.annotations[${approvalAnnotation}]`;
  if (value === '') {
    const detail = `protected groups must have approval annotation "${approvalAnnotation}", see ${approvalLink}`;
    return [{ kind: 'required', field, detail }];
  }
  if (value.startsWith('unapproved') || URL.canParse(value)) return [];
  const detail = `protected groups must have approval annotation "${approvalAnnotation}" with either a URL or a reason starting with "unapproved", see ${approvalLink}`;
  return [{ kind: 'invalid', field, value, detail }];
}
