/**
 * Events of the group events.k8s.io: the same objects as the core group's, in other words. Pure.
 * Source: pkg/apis/core conversions for events.k8s.io/v1, and ValidateEventCreate.
 */
import * as containers from '../crds/index.ts';
import { core, eventKind, root, text } from './core-kinds.ts';
import type { FieldError } from './field-errors.ts';
import { getString, type Json, type JsonObject } from './json.ts';
import type { KubeObject, ResourceKind } from './resources.ts';
import type { OpenApiSchema } from './schema.ts';

/** Words of the core group → those of events.k8s.io, where they differ. */
const renamed: readonly (readonly [string, string])[] = [
  ['message', 'note'],
  ['involvedObject', 'regarding'],
  ['reportingComponent', 'reportingController'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
];

function rename(object: KubeObject, apiVersion: string, names: ReadonlyMap<string, string>): KubeObject {
  const entries = Object.entries(object).map(([key, value]) => [names.get(key) ?? key, value] as const);
  return { ...Object.fromEntries(entries), apiVersion, kind: object.kind, metadata: object.metadata };
}

const toNew = new Map(renamed);
const toCore = new Map(renamed.map(([old, name]) => [name, old]));

const fromStorage = (object: KubeObject): KubeObject => rename(object, 'events.k8s.io/v1', toNew);
const toStorage = (object: KubeObject): KubeObject => rename(object, 'v1', toCore);

function schemaOf(): OpenApiSchema {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...fields } = eventKind.openApi.properties ?? {};
  const properties = Object.fromEntries(Object.entries(fields).map(([key, schema]) => [toNew.get(key) ?? key, schema]));
  return root('Event reports what happened to an object. It is kept for an hour.', {
    ...properties,
    note: text('Details for people.'),
  });
}

/** Asked of new ones only: those that were written as core Events may lack it. */
const required = ['reportingController', 'reportingInstance', 'action', 'reason'];

function validate(event: KubeObject, previous: KubeObject | undefined): readonly FieldError[] {
  const missing = previous !== undefined ? [] : required.filter((field) => (getString(event, field) ?? '') === '');
  const hasTime = previous !== undefined || getString(event, 'eventTime') !== undefined;
  const type = getString(event, 'type');
  const isKnownType = previous !== undefined || type === 'Normal' || type === 'Warning';
  return [
    ...(hasTime ? [] : [{ kind: 'required', field: 'eventTime', detail: '' } as const]),
    ...missing.map((field): FieldError => ({ kind: 'required', field, detail: '' })),
    ...(isKnownType
      ? []
      : [
          {
            kind: 'invalid',
            field: 'type',
            value: type ?? '',
            detail: 'has invalid value: must be Normal or Warning',
          } as const,
        ]),
    ...eventKind
      .validate(toStorage(event), previous === undefined ? undefined : toStorage(previous))
      .map((error) => ({ ...error, field: error.field.replace('involvedObject', 'regarding') })),
  ];
}

const regarding = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];

export const newEventKind: ResourceKind = core({
  kind: 'Event',
  group: 'events.k8s.io',
  plural: 'events',
  shortNames: ['ev'],
  isNamespaced: true,
  openApi: schemaOf(),
  definitionName: 'io.k8s.api.events.v1.Event',
  storageKey: eventKind.storageKey,
  conversion: { fromStorage, toStorage },
  columns: eventKind.columns.map((column) => ({
    ...column,
    value: (event: JsonObject, nowMs: number): Json | undefined => column.value(toStorage(event as KubeObject), nowMs),
  })),
  selectableFields: new Map<string, readonly string[]>([
    ...regarding.map((field) => [`regarding.${field}`, ['regarding', field]] as const),
    ['reason', ['reason']],
    ['reportingController', ['reportingController']],
    ['type', ['type']],
  ]),
  selectorAliases: new Map([
    ['regarding.kind', { Pod: 'Container' }],
    ['regarding.apiVersion', { v1: containers.apiVersion }],
  ]),
  validate,
});
