/** Custom resources: validation by their schema, status, generation, and how they differ from core kinds. */
import { type Case, docs, get, patch, post, put, watch, widget, widgets } from '../case.ts';

const definitions = docs.page('tasks/extend-kubernetes/custom-resources/custom-resource-definitions/');
const status = docs.conventions('spec-and-status');
const validation = `${definitions}#validation`;
const one = `${widgets}/{n}`;
const make = post(widgets, widget('{n}'), 201, { save: { rv: 'metadata.resourceVersion' } });
const current = get(one, 200, { save: { rv: 'metadata.resourceVersion' } });
const invalid = (field: string, reason?: string) =>
  ({ code: 422, reason: 'Invalid', ...(reason === undefined ? {} : { causes: [[field, reason] as const] }) }) as const;

const refuses = (what: string, spec: Parameters<typeof widget>[1], field: string, reason?: string): Case => ({
  it: `refuses a custom resource with ${what}`,
  source: validation,
  needs: 'widgets',
  steps: [post(widgets, widget('{n}', spec), invalid(field, reason)), get(one, 404)],
});

export const customCases: readonly Case[] = [
  {
    it: 'fills in the defaults of the schema, and the generation',
    source: `${definitions}#defaulting`,
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}'), {
        code: 201,
        body: { metadata: { generation: 1 }, spec: { size: 1, color: 'red' } },
      }),
    ],
  },
  {
    it: 'prunes fields that the schema does not have, and keeps those below x-kubernetes-preserve-unknown-fields',
    source: `${definitions}#field-pruning`,
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}', { size: 1, other: 1, free: { any: { thing: [1] } } }), {
        code: 201,
        body: { spec: { other: undefined, free: { any: { thing: [1] } } } },
      }),
    ],
  },
  refuses('a number above the maximum', { size: 101 }, 'spec.size', 'FieldValueInvalid'),
  refuses('a number below the minimum', { size: -1 }, 'spec.size', 'FieldValueInvalid'),
  refuses('a value that the enum does not have', { size: 1, color: 'green' }, 'spec.color', 'FieldValueNotSupported'),
  refuses('text that does not match the pattern', { size: 1, code: 'A1' }, 'spec.code', 'FieldValueInvalid'),
  refuses('text that is too long', { size: 1, code: 'abcdefghi' }, 'spec.code'),
  refuses('no value for a required field', { color: 'red' }, 'spec.size', 'FieldValueRequired'),
  refuses('too many items', { size: 1, parts: Array.from({ length: 4 }, () => ({ id: 'x' })) }, 'spec.parts'),
  refuses('an item without a required field', { size: 1, parts: [{}] }, 'spec.parts[0].id'),
  refuses('text for a number', { size: 'large' }, 'spec.size'),
  refuses('a fraction for an integer', { size: 1.5 }, 'spec.size'),
  refuses('null for a number', { size: null }, 'spec.size'),
  {
    it: 'refuses metadata of the wrong type in a custom resource with 400',
    source: docs.source('staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta/coerce.go'),
    needs: 'widgets',
    steps: [post(widgets, widget('{n}', { size: 1 }, { annotations: { a: 7 } }), { code: 400, reason: 'BadRequest' })],
  },
  {
    it: 'wants a resourceVersion to update a custom resource',
    source: docs.source('staging/src/k8s.io/apiextensions-apiserver/pkg/registry/customresource/strategy.go'),
    needs: 'widgets',
    steps: [
      make,
      put(one, widget('{n}', { size: 2 }), invalid('metadata.resourceVersion', 'FieldValueInvalid')),
      put(one, widget('{n}', { size: 2 }, { resourceVersion: '{rv}' }), { code: 200, body: { spec: { size: 2 } } }),
    ],
  },
  {
    it: 'counts changes of the spec in the generation, and no others',
    source: docs.conventions('metadata'),
    needs: 'widgets',
    steps: [
      make,
      patch('merge', one, { metadata: { labels: { x: 'y' } } }, { code: 200, body: { metadata: { generation: 1 } } }),
      patch('merge', one, { spec: { size: 2 } }, { code: 200, body: { metadata: { generation: 2 } } }),
      patch('merge', one, { spec: { size: 2 } }, { code: 200, body: { metadata: { generation: 2 } } }),
      patch(
        'merge',
        `${one}/status`,
        { status: { phase: 'Up' } },
        { code: 200, body: { metadata: { generation: 2 } } },
      ),
    ],
  },
  {
    it: 'drops the status on creation',
    source: `${definitions}#status-subresource`,
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}', { size: 1 }, {}, { status: { phase: 'Up' } }), {
        code: 201,
        body: { status: undefined },
      }),
    ],
  },
  {
    it: 'ignores the status on an update of the whole',
    source: `${definitions}#status-subresource`,
    needs: 'widgets',
    steps: [
      make,
      put(one, widget('{n}', { size: 2 }, { resourceVersion: '{rv}' }, { status: { phase: 'Up' } }), {
        code: 200,
        body: { spec: { size: 2 }, status: undefined },
      }),
      patch('merge', one, { status: { phase: 'Up' } }, { code: 200, body: { status: undefined } }),
    ],
  },
  {
    it: 'changes only the status by the status subresource',
    source: status,
    needs: 'widgets',
    steps: [
      make,
      put(
        `${one}/status`,
        widget('{n}', { size: 9 }, { resourceVersion: '{rv}', labels: { x: 'y' } }, { status: { phase: 'Up' } }),
        {
          code: 200,
          body: { spec: { size: 1 }, metadata: { labels: { x: undefined } }, status: { phase: 'Up' } },
        },
      ),
      get(one, { code: 200, body: { spec: { size: 1 }, status: { phase: 'Up' } } }),
    ],
  },
  {
    it: 'keeps the status when the whole is updated without one',
    source: status,
    needs: 'widgets',
    steps: [
      make,
      patch('merge', `${one}/status`, { status: { phase: 'Up' } }),
      current,
      put(one, widget('{n}', { size: 2 }, { resourceVersion: '{rv}' }), {
        code: 200,
        body: { spec: { size: 2 }, status: { phase: 'Up' } },
      }),
    ],
  },
  {
    it: 'gets the whole object by its status subresource',
    source: status,
    needs: 'widgets',
    steps: [make, get(`${one}/status`, { code: 200, body: { kind: 'Widget', spec: { size: 1 } } })],
  },
  {
    it: 'checks the status by its schema',
    source: validation,
    needs: 'widgets',
    steps: [make, patch('merge', `${one}/status`, { status: { seen: 'often' } }, invalid('status.seen'))],
  },
  {
    it: 'patches the status by JSON Patch',
    source: status,
    needs: 'widgets',
    steps: [
      make,
      patch('json', `${one}/status`, [{ op: 'add', path: '/status', value: { phase: 'Up' } }], {
        code: 200,
        body: { status: { phase: 'Up' } },
      }),
    ],
  },
  {
    it: 'refuses an update of the status of another version with 409',
    source: docs.conventions('concurrency-control-and-consistency'),
    needs: 'widgets',
    steps: [
      make,
      patch('merge', one, { spec: { size: 2 } }),
      put(`${one}/status`, widget('{n}', { size: 1 }, { resourceVersion: '{rv}' }, { status: { phase: 'Up' } }), {
        code: 409,
        reason: 'Conflict',
      }),
    ],
  },
  {
    it: 'answers for the status of what is not there with 404',
    source: docs.conventions('http-status-codes'),
    needs: 'widgets',
    steps: [get(`${one}/status`, { code: 404, reason: 'NotFound' }), patch('merge', `${one}/status`, {}, 404)],
  },
  {
    it: 'watches show changes of the status',
    source: docs.concepts('efficient-detection-of-changes'),
    needs: 'widgets',
    steps: [
      make,
      watch(
        `${widgets}?watch=true&labelSelector=case%3D{n}&resourceVersion={rv}`,
        [{ type: 'MODIFIED', object: { kind: 'Widget', apiVersion: '{group}/v1', status: { phase: 'Up' } } }],
        { during: [patch('merge', `${one}/status`, { status: { phase: 'Up' } })] },
      ),
    ],
  },
  {
    it: 'warns of unknown fields of a custom resource, and refuses them under Strict',
    source: docs.concepts('field-validation'),
    needs: 'widgets',
    since: 25,
    steps: [
      post(widgets, widget('{n}', { size: 1, other: 1 }), {
        code: 201,
        headers: { warning: /^299 - "unknown field \\"spec\.other\\""$/u },
      }),
      post(`${widgets}?fieldValidation=Strict`, widget('{n}-2', { size: 1, other: 1 }), {
        code: 400,
        reason: 'BadRequest',
        message: /strict decoding error: unknown field "spec\.other"/u,
      }),
      patch('merge', `${one}?fieldValidation=Strict`, { spec: { other: 1 } }, { code: [400, 422] }),
    ],
  },
  {
    it: 'a definition tells by its conditions that it is served',
    source: definitions,
    needs: 'widgets',
    steps: [
      get('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}', {
        code: 200,
        body: {
          kind: 'CustomResourceDefinition',
          status: { acceptedNames: { kind: 'Widget' }, storedVersions: ['v1'] },
        },
        text: /"Established"/u,
      }),
    ],
  },
];
