/** Server-side apply: who owns which field, conflicts, force, and what an apply takes away. */
import { type Case, configMap, configMaps, docs, get, patch, post, put, type Want, widget, widgets } from '../case.ts';
import { aTime, type Expected, exactly, excluding, including } from '../expect.ts';

const ownership = docs.apply('field-management');
const conflicts = docs.apply('conflicts');
const merging = docs.apply('merge-strategy');
const removing = docs.apply('clearing-managedfields');
const handler = docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/handlers/patch.go');
const managing = docs.source('staging/src/k8s.io/apimachinery/pkg/util/managedfields/internal/structuredmerge.go');
const options = docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go');

type Data = Parameters<typeof configMap>[1];
const one = `${configMaps}/{n}`;
const oneWidget = `${widgets}/{n}`;
/** Applies a ConfigMap of this data. */
const apply = (manager: string, data: Data, want: Want | number = 200, query = '') =>
  patch('apply', `${one}?fieldManager=${manager}${query}`, configMap('{n}', data), want);
const applyWidget = (manager: string, spec: Data, want: Want | number = 200, query = '') =>
  patch('apply', `${oneWidget}?fieldManager=${manager}${query}`, widget('{n}', spec), want);
const applyBody = (body: Parameters<typeof post>[1], want: Want | number, query = 'fieldManager=one') =>
  patch('apply', `${one}?${query}`, body, want);

const applyScale = (manager: string, replicas: number, want: Want, query = '') =>
  patch(
    'apply',
    `${oneWidget}/scale?fieldManager=${manager}${query}`,
    { apiVersion: 'autoscaling/v1', kind: 'Scale', metadata: { name: '{n}' }, spec: { replicas } },
    want,
  );

const caseLabel = { 'f:labels': { 'f:case': {} } };
/** The fields of an applied ConfigMap with these keys. */
const dataFields = (...keys: readonly string[]): Expected =>
  exactly({ 'f:data': Object.fromEntries(keys.map((key) => [`f:${key}`, {}])), 'f:metadata': caseLabel });
const applied = (manager: string, fieldsV1: Expected, more: object = {}): Expected => ({
  manager,
  operation: 'Apply',
  apiVersion: 'v1',
  fieldsType: 'FieldsV1',
  time: aTime,
  fieldsV1,
  ...more,
});
const owners = (...entries: readonly Expected[]) => ({ metadata: { managedFields: including(...entries) } });
const conflict = (field: string, more: Partial<Want> = {}) =>
  ({ code: 409, reason: 'Conflict', causes: [[field, 'FieldManagerConflict']], ...more }) as const;
const holds = (data: Expected) => get(one, { code: 200, body: { data } });

const cases: readonly Case[] = [
  {
    it: 'an apply of what is not there creates it, and notes the applier for the fields that it sent',
    source: ownership,
    steps: [
      apply(
        'one',
        { a: '1', b: '2' },
        {
          code: 201,
          body: {
            data: exactly({ a: '1', b: '2' }),
            metadata: { managedFields: [applied('one', dataFields('a', 'b'), { subresource: undefined })] },
          },
        },
      ),
      holds(exactly({ a: '1', b: '2' })),
    ],
  },
  {
    it: 'an apply of the same again writes nothing',
    source: ownership,
    steps: [
      patch('apply', `${one}?fieldManager=one`, configMap('{n}'), 201, { save: { rv: 'metadata.resourceVersion' } }),
      apply('one', { a: '1' }, { code: 200, body: { metadata: { resourceVersion: '{rv}' } } }),
    ],
  },
  {
    it: 'takes YAML, comments and all',
    source: docs.concepts('patch-and-apply'),
    steps: [
      applyBody('# mine\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {n}\ndata:\n  a: "yes" # a word\n', {
        code: 201,
        body: { data: { a: 'yes' } },
      }),
    ],
  },
  {
    it: 'the applier changes what it owns',
    source: ownership,
    steps: [apply('one', { a: '1' }, 201), apply('one', { a: '2' }, { code: 200, body: { data: { a: '2' } } })],
  },
  {
    it: 'another applier adds fields of its own, and each is noted for its own',
    source: ownership,
    steps: [
      apply('one', { a: '1' }, 201),
      apply(
        'two',
        { b: '2' },
        {
          code: 200,
          body: {
            data: exactly({ a: '1', b: '2' }),
            ...owners(applied('one', dataFields('a')), applied('two', dataFields('b'))),
          },
        },
      ),
    ],
  },
  {
    it: 'refuses to change what another applier owns with 409 that names the field and its owner',
    source: conflicts,
    steps: [
      apply('one', { a: '1' }, 201),
      apply(
        'two',
        { a: '2' },
        {
          ...conflict('.data.a'),
          message: /^Apply failed with 1 conflict: conflict with "one": \.data\.a$/u,
          body: { details: { causes: [{ field: '.data.a', message: 'conflict with "one"' }] } },
        },
      ),
      holds({ a: '1' }),
    ],
  },
  {
    it: 'names every field of a conflict',
    source: conflicts,
    steps: [
      apply('one', { a: '1', b: '1', c: '1' }, 201),
      apply(
        'two',
        { a: '2', b: '2', c: '1' },
        {
          ...conflict('.data.a'),
          causes: [
            ['.data.a', 'FieldManagerConflict'],
            ['.data.b', 'FieldManagerConflict'],
          ],
          message: /^Apply failed with 2 conflicts: conflicts with "one":\n- \.data\.a\n- \.data\.b$/u,
          body: { details: { causes: [{}, {}] } },
        },
      ),
      holds({ a: '1', b: '1', c: '1' }),
    ],
  },
  {
    it: 'an apply with force takes the field from its owner',
    source: conflicts,
    steps: [
      apply('one', { a: '1', b: '1' }, 201),
      apply(
        'two',
        { a: '2' },
        {
          code: 200,
          body: {
            data: exactly({ a: '2', b: '1' }),
            ...owners(applied('one', dataFields('b')), applied('two', dataFields('a'))),
          },
        },
        '&force=true',
      ),
    ],
  },
  {
    it: 'two appliers of one value share the field',
    source: conflicts,
    steps: [
      apply('one', { a: '1' }, 201),
      apply(
        'two',
        { a: '1' },
        {
          code: 200,
          body: owners(applied('one', dataFields('a')), applied('two', dataFields('a'))),
        },
      ),
    ],
  },
  {
    it: 'a field that its applier no longer sends goes',
    source: merging,
    steps: [
      apply('one', { a: '1', b: '2' }, 201),
      apply(
        'one',
        { a: '1' },
        {
          code: 200,
          body: { data: exactly({ a: '1' }), metadata: { managedFields: [applied('one', dataFields('a'))] } },
        },
      ),
      holds(exactly({ a: '1' })),
    ],
  },
  {
    it: 'a field that two share stays until both have let it go',
    source: merging,
    steps: [
      apply('one', { a: '1', b: '2' }, 201),
      apply('two', { b: '2', c: '3' }),
      apply('one', { a: '1' }, { code: 200, body: { data: exactly({ a: '1', b: '2', c: '3' }) } }),
      apply('two', { c: '3' }, { code: 200, body: { data: exactly({ a: '1', c: '3' }) } }),
    ],
  },
  {
    it: 'an apply leaves alone what others wrote',
    source: merging,
    steps: [
      post(`${configMaps}?fieldManager=maker`, configMap('{n}', { a: '1', b: '2' })),
      apply('one', { c: '3' }, { code: 200, body: { data: exactly({ a: '1', b: '2', c: '3' }) } }),
      apply('one', { d: '4' }, { code: 200, body: { data: exactly({ a: '1', b: '2', d: '4' }) } }),
    ],
  },
  {
    it: 'whoever creates an object by POST is noted for its fields, with the operation Update',
    source: ownership,
    steps: [
      post(`${configMaps}?fieldManager=maker`, configMap('{n}'), {
        code: 201,
        body: {
          metadata: {
            managedFields: [
              applied(
                'maker',
                exactly({ 'f:data': { '.': {}, 'f:a': {} }, 'f:metadata': { 'f:labels': { '.': {}, 'f:case': {} } } }),
                { operation: 'Update' },
              ),
            ],
          },
        },
      }),
    ],
  },
  {
    it: 'a writer without a fieldManager is noted by the beginning of its User-Agent',
    source: ownership,
    steps: [
      post(
        configMaps,
        configMap('{n}'),
        { code: 201, body: { metadata: { managedFields: [{ manager: 'tool', operation: 'Update' }] } } },
        { headers: { 'user-agent': 'tool/v1.2 (linux/amd64)' } },
      ),
    ],
  },
  {
    it: 'a field that is changed by an update goes over to its writer, without a conflict',
    source: ownership,
    steps: [
      apply('one', { a: '1', b: '1' }, 201),
      patch(
        'merge',
        `${one}?fieldManager=editor`,
        { data: { a: '2' } },
        {
          code: 200,
          body: owners(
            applied('one', dataFields('b')),
            applied('editor', exactly({ 'f:data': { 'f:a': {} } }), { operation: 'Update' }),
          ),
        },
      ),
      apply(
        'one',
        { a: '1', b: '1' },
        {
          ...conflict('.data.a'),
          message: /^Apply failed with 1 conflict: conflict with "editor" using v1(?: at \S+)?: \.data\.a$/u,
        },
      ),
      holds({ a: '2' }),
    ],
  },
  {
    it: 'an update without managedFields keeps what is noted',
    source: ownership,
    steps: [
      apply('one', { a: '1' }, 201),
      put(`${one}?fieldManager=editor`, configMap('{n}', { a: '1', b: '2' }), {
        code: 200,
        body: owners(
          applied('one', dataFields('a')),
          applied('editor', exactly({ 'f:data': { 'f:b': {} } }), { operation: 'Update' }),
        ),
      }),
    ],
  },
  {
    it: 'managedFields of one empty entry forget who owns what',
    source: removing,
    steps: [
      apply('one', { a: '1' }, 201),
      patch(
        'merge',
        one,
        { metadata: { managedFields: [{}] } },
        {
          code: 200,
          body: { data: { a: '1' }, metadata: { managedFields: undefined } },
        },
      ),
    ],
  },
  {
    it: 'what nobody is noted for belongs to those before the first apply',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/util/managedfields/internal/skipnonapplied.go'),
    steps: [
      post(configMaps, configMap('{n}')),
      patch('merge', one, { metadata: { managedFields: [{}] } }),
      apply('one', { a: '2' }, { ...conflict('.data.a'), message: /conflict with "before-first-apply" using v1/u }),
      apply(
        'one',
        { a: '1' },
        {
          code: 200,
          body: owners(applied('one', dataFields('a')), { manager: 'before-first-apply', operation: 'Update' }),
        },
      ),
    ],
  },
  {
    it: 'refuses an apply without a fieldManager with 422',
    source: options,
    steps: [
      applyBody(
        configMap('{n}'),
        { code: 422, reason: 'Invalid', causes: [['fieldManager', 'FieldValueRequired']] },
        '',
      ),
      get(one, 404),
    ],
  },
  {
    it: 'refuses a fieldManager of more than 128 characters, or with characters that cannot be printed, with 422',
    source: options,
    steps: [
      applyBody(
        configMap('{n}'),
        { code: 422, reason: 'Invalid', causes: [['fieldManager', 'FieldValueTooLong']] },
        `fieldManager=${'x'.repeat(129)}`,
      ),
      applyBody(
        configMap('{n}'),
        { code: 422, reason: 'Invalid', causes: [['fieldManager', 'FieldValueInvalid']] },
        'fieldManager=a%00b',
      ),
      get(one, 404),
    ],
  },
  {
    it: 'refuses an apply of what is neither YAML nor JSON with 400',
    source: handler,
    steps: [applyBody('{a: [', { code: 400, reason: 'BadRequest' }), get(one, 404)],
  },
  {
    it: 'refuses an apply under another name than its own with 400',
    source: handler,
    steps: [
      apply('one', { a: '1' }, 201),
      applyBody(configMap('{n}-other', { a: '2' }), { code: 400, reason: 'BadRequest' }),
      holds({ a: '1' }),
      get(`${configMaps}/{n}-other`, 404),
    ],
  },
  {
    it: 'refuses an apply of another kind or version than that of the path with 400',
    source: managing,
    steps: [
      apply('one', { a: '1' }, 201),
      applyBody({ ...configMap('{n}'), kind: 'Secret' }, { code: 400, reason: 'BadRequest' }),
      applyBody({ ...configMap('{n}'), apiVersion: 'v2' }, { code: 400, reason: 'BadRequest' }),
    ],
  },
  {
    it: 'refuses managedFields in what is applied with 400',
    source: managing,
    steps: [
      applyBody(configMap('{n}', {}, { managedFields: [{ manager: 'one' }] }), {
        code: 400,
        reason: 'BadRequest',
        message: /metadata\.managedFields must be nil/u,
      }),
    ],
  },
  {
    it: 'refuses a field that no schema has, whatever fieldValidation says',
    source: managing,
    steps: [
      applyBody(
        { ...configMap('{n}'), dta: { a: '1' } },
        // kube-apiserver calls this mistake of the client's 500
        { code: [400, 500], message: /failed to create typed patch object .*\.dta: field not declared in schema/u },
        'fieldManager=one&fieldValidation=Ignore',
      ),
      get(one, 404),
    ],
  },
  {
    it: 'refuses an apply to another version than the one that it names with 409',
    source: docs.conventions('concurrency-control-and-consistency'),
    steps: [
      patch('apply', `${one}?fieldManager=one`, configMap('{n}'), 201, { save: { rv: 'metadata.resourceVersion' } }),
      apply('one', { a: '2' }),
      applyBody(configMap('{n}', { a: '3' }, { resourceVersion: '{rv}' }), { code: 409, reason: 'Conflict' }),
      holds({ a: '2' }),
    ],
  },
  {
    it: 'an apply in a dry run creates and changes nothing, and finds conflicts',
    source: docs.concepts('dry-run'),
    steps: [
      apply('one', { a: '1' }, { code: 201, body: { data: { a: '1' } } }, '&dryRun=All'),
      get(one, 404),
      apply('one', { a: '1' }, 201),
      apply('one', { a: '2' }, { code: 200, body: { data: { a: '2' } } }, '&dryRun=All'),
      apply('two', { a: '2' }, conflict('.data.a'), '&dryRun=All'),
      get(one, { code: 200, body: { data: { a: '1' }, metadata: { managedFields: [{ manager: 'one' }] } } }),
    ],
  },
  {
    it: 'items of a list that is a map are merged by their keys, each item with its own owner',
    source: merging,
    needs: 'widgets',
    steps: [
      applyWidget('one', { size: 1, ports: [{ name: 'a', number: 1 }] }, 201),
      applyWidget(
        'two',
        { ports: [{ name: 'b', number: 2 }] },
        {
          code: 200,
          body: {
            spec: {
              ports: [
                { name: 'a', number: 1 },
                { name: 'b', number: 2 },
              ],
            },
            ...owners(
              applied(
                'two',
                exactly({
                  'f:metadata': caseLabel,
                  'f:spec': { 'f:ports': { 'k:{"name":"b"}': { '.': {}, 'f:name': {}, 'f:number': {} } } },
                }),
                { apiVersion: '{group}/v1' },
              ),
            ),
          },
        },
      ),
      applyWidget('two', { ports: [{ name: 'a', number: 3 }] }, conflict('.spec.ports[name="a"].number')),
      applyWidget('one', { size: 1, ports: [] }, { code: 200, body: { spec: { ports: [{ name: 'b', number: 2 }] } } }),
    ],
  },
  {
    it: 'items of a list that is a set are owned one by one',
    source: merging,
    needs: 'widgets',
    steps: [
      applyWidget('one', { size: 1, tags: ['a', 'b'] }, 201),
      applyWidget(
        'two',
        { tags: ['b', 'c'] },
        {
          code: 200,
          body: {
            spec: { tags: including('a', 'b', 'c') },
            ...owners({ manager: 'two', fieldsV1: { 'f:spec': { 'f:tags': exactly({ 'v:"b"': {}, 'v:"c"': {} }) } } }),
          },
        },
      ),
      applyWidget('one', { size: 1 }, { code: 200, body: { spec: { tags: excluding('a') } } }),
    ],
  },
  {
    it: 'a list that is atomic is owned and replaced as a whole',
    source: merging,
    needs: 'widgets',
    steps: [
      applyWidget(
        'one',
        { size: 1, parts: [{ id: 'a' }] },
        {
          code: 201,
          body: owners({ manager: 'one', fieldsV1: { 'f:spec': exactly({ 'f:parts': {}, 'f:size': {} }) } }),
        },
      ),
      applyWidget('two', { parts: [{ id: 'b' }] }, conflict('.spec.parts')),
      applyWidget(
        'two',
        { parts: [{ id: 'b' }] },
        { code: 200, body: { spec: { parts: [{ id: 'b' }] } } },
        '&force=true',
      ),
    ],
  },
  {
    it: 'an apply to status changes the status alone, and its owner is noted with the subresource',
    source: docs.apply('custom-resources-and-server-side-apply'),
    needs: 'widgets',
    steps: [
      applyWidget('one', { size: 1 }, 201),
      patch('apply', `${oneWidget}/status?fieldManager=two`, widget('{n}', { size: 9 }, {}, { status: { seen: 1 } }), {
        code: 200,
        body: {
          spec: { size: 1 },
          status: { seen: 1 },
          ...owners(
            applied('two', exactly({ 'f:status': { 'f:seen': {} } }), {
              apiVersion: '{group}/v1',
              subresource: 'status',
            }),
          ),
        },
      }),
      patch('apply', `${oneWidget}/status?fieldManager=one`, widget('{n}', {}, {}, { status: { seen: 2 } }), {
        ...conflict('.status.seen'),
        message: /conflict with "two" with subresource "status": \.status\.seen$/u,
      }),
    ],
  },
  {
    it: 'an apply to the object leaves its status alone, and owns nothing of it',
    source: docs.apply('custom-resources-and-server-side-apply'),
    needs: 'widgets',
    steps: [
      patch('apply', `${oneWidget}?fieldManager=one`, widget('{n}', { size: 1 }, {}, { status: { seen: 1 } }), {
        code: 201,
        body: {
          status: undefined,
          metadata: { managedFields: [{ manager: 'one', fieldsV1: { 'f:status': undefined } }] },
        },
      }),
    ],
  },
  {
    it: 'an update of the status is noted with the subresource',
    source: ownership,
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}')),
      patch(
        'merge',
        `${oneWidget}/status?fieldManager=two`,
        { status: { seen: 1 } },
        {
          code: 200,
          body: owners({
            manager: 'two',
            operation: 'Update',
            subresource: 'status',
            fieldsV1: exactly({ 'f:status': { '.': {}, 'f:seen': {} } }),
          }),
        },
      ),
    ],
  },
  {
    it: 'an apply to the status of what is not there is answered with 404',
    source: handler,
    needs: 'widgets',
    steps: [
      patch('apply', `${oneWidget}/status?fieldManager=one`, widget('{n}', {}, {}, { status: { seen: 1 } }), {
        code: 404,
        reason: 'NotFound',
      }),
    ],
  },
  {
    it: 'a write of the scale is noted for its writer, with the subresource, and takes the number from its applier',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go'),
    needs: 'widgets',
    steps: [
      applyWidget('one', { size: 1, replicas: 1 }, 201),
      patch(
        'merge',
        `${oneWidget}/scale?fieldManager=scaler`,
        { spec: { replicas: 2 } },
        {
          code: 200,
          body: { kind: 'Scale', apiVersion: 'autoscaling/v1', spec: { replicas: 2 } },
        },
      ),
      get(oneWidget, {
        code: 200,
        body: {
          spec: { size: 1, replicas: 2 },
          ...owners(
            { manager: 'one', fieldsV1: { 'f:spec': exactly({ 'f:size': {} }) } },
            {
              manager: 'scaler',
              operation: 'Update',
              apiVersion: '{group}/v1',
              subresource: 'scale',
              fieldsV1: exactly({ 'f:spec': { 'f:replicas': {} } }),
            },
          ),
        },
      }),
      applyWidget(
        'one',
        { size: 1, replicas: 1 },
        {
          ...conflict('.spec.replicas'),
          message: /conflict with "scaler" with subresource "scale" using \S+: \.spec\.replicas$/u,
        },
      ),
    ],
  },
  {
    it: 'a Scale is applied',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go'),
    needs: 'widgets',
    steps: [
      applyWidget('one', { size: 1, replicas: 1 }, 201),
      applyScale('two', 2, conflict('.spec.replicas')),
      applyScale('two', 2, { code: 200, body: { kind: 'Scale', spec: { replicas: 2 } } }, '&force=true'),
      get(oneWidget, {
        code: 200,
        body: {
          spec: { size: 1, replicas: 2 },
          ...owners({
            manager: 'two',
            operation: 'Apply',
            subresource: 'scale',
            fieldsV1: exactly({ 'f:spec': { 'f:replicas': {} } }),
          }),
        },
      }),
    ],
  },
  {
    it: 'refuses an apply to the scale of what is no Scale with 400, and of what is not there with 404',
    source: managing,
    needs: 'widgets',
    steps: [
      applyScale('one', 1, { code: 404, reason: 'NotFound' }),
      applyWidget('one', { size: 1 }, 201),
      patch('apply', `${oneWidget}/scale?fieldManager=one`, widget('{n}', { size: 2 }), {
        code: 400,
        reason: 'BadRequest',
      }),
    ],
  },
  {
    it: 'checks what an apply makes as on creation',
    source: handler,
    needs: 'widgets',
    steps: [
      applyWidget('one', { size: 101 }, { code: 422, reason: 'Invalid', causes: [['spec.size', 'FieldValueInvalid']] }),
      applyWidget('one', { size: 1 }, 201),
      applyWidget(
        'one',
        { color: 'red' },
        {
          code: 422,
          reason: 'Invalid',
          causes: [['spec.size', 'FieldValueRequired']],
        },
      ),
      get(oneWidget, { code: 200, body: { spec: { size: 1 } } }),
    ],
  },
];

/** As it was when it became stable, in 1.22. */
export const applyCases: readonly Case[] = cases.map((given) => ({ since: 22, ...given }));
