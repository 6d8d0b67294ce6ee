/** Secrets and Events. */
import { type Case, configMap, docs, events, get, patch, post, put, secret, secrets } from '../case.ts';
import { aTime } from '../expect.ts';

const pages = docs.page('concepts/configuration/secret/');
const types = `${pages}#secret-types`;
const rules = docs.source('pkg/apis/core/validation/validation.go');
const eventApi = docs.page('reference/kubernetes-api/cluster-resources/event-v1/');
const eventRules = docs.source('pkg/apis/core/validation/events.go');
const one = `${secrets}/{n}`;

const lacks = (type: string, fields: readonly string[], content: Parameters<typeof secret>[1] = {}): Case => ({
  it: `refuses a Secret of type ${type} without ${fields.length === 0 ? 'what it needs' : fields.join(' and ')}`,
  source: types,
  steps: [
    post(secrets, secret('{n}', { type, ...content }), {
      code: 422,
      reason: 'Invalid',
      causes: fields.map((field) => [field, 'FieldValueRequired'] as const),
    }),
  ],
});

export const coreCases: readonly Case[] = [
  {
    it: 'a Secret is Opaque unless it says otherwise',
    source: types,
    steps: [post(secrets, secret('{n}'), { code: 201, body: { type: 'Opaque' } })],
  },
  {
    it: 'stringData is put into data in base64, and is not kept',
    source: `${pages}#restriction-names-data`,
    steps: [
      post(secrets, secret('{n}', { stringData: { a: 'hé' }, data: { b: 'Yg==' } }), {
        code: 201,
        body: { stringData: undefined, data: { a: 'aMOp', b: 'Yg==' } },
      }),
      get(one, { code: 200, body: { stringData: undefined, data: { a: 'aMOp', b: 'Yg==' } } }),
    ],
  },
  {
    it: 'stringData wins over data of the same key',
    source: `${pages}#restriction-names-data`,
    steps: [
      post(secrets, secret('{n}', { stringData: { a: 'new' }, data: { a: 'b2xk' } }), {
        code: 201,
        body: { data: { a: 'bmV3' } },
      }),
    ],
  },
  {
    it: 'stringData can be patched in',
    source: `${pages}#restriction-names-data`,
    steps: [
      post(secrets, secret('{n}', { data: { b: 'Yg==' } })),
      patch(
        'merge',
        one,
        { stringData: { a: 'new' } },
        { code: 200, body: { data: { a: 'bmV3', b: 'Yg==' }, stringData: undefined } },
      ),
    ],
  },
  {
    it: 'refuses data of a Secret that is not in base64 with 400',
    source: docs.conventions('http-status-codes'),
    steps: [post(secrets, secret('{n}', { data: { a: '***' } }), { code: 400, reason: 'BadRequest' }), get(one, 404)],
  },
  {
    it: 'refuses keys of a Secret that are no file names',
    source: `${pages}#restriction-names-data`,
    steps: [
      post(secrets, secret('{n}', { data: { 'a b': '' } }), {
        code: 422,
        reason: 'Invalid',
        causes: [['data[a b]', 'FieldValueInvalid']],
      }),
    ],
  },
  {
    it: 'does not change an immutable Secret',
    source: `${pages}#secret-immutable`,
    since: 19,
    steps: [
      post(secrets, secret('{n}', { immutable: true, data: { a: 'YQ==' } })),
      put(one, secret('{n}', { immutable: true, data: { a: 'Yg==' } }), {
        code: 422,
        reason: 'Invalid',
        causes: [['data', 'FieldValueForbidden']],
      }),
    ],
  },
  lacks('kubernetes.io/tls', ['data[tls.crt]', 'data[tls.key]']),
  lacks('kubernetes.io/dockerconfigjson', ['data[.dockerconfigjson]']),
  lacks('kubernetes.io/dockercfg', ['data[.dockercfg]']),
  lacks('kubernetes.io/ssh-auth', [], { data: { other: '' } }),
  lacks('kubernetes.io/basic-auth', [], { data: { other: '' } }),
  lacks('kubernetes.io/service-account-token', ['metadata.annotations[kubernetes.io/service-account.name]']),
  {
    it: 'takes a Secret of type kubernetes.io/basic-auth that has only a password',
    source: types,
    steps: [post(secrets, secret('{n}', { type: 'kubernetes.io/basic-auth', stringData: { password: 'x' } }))],
  },
  {
    it: 'refuses a .dockerconfigjson that is no JSON, without telling what it is',
    source: types,
    steps: [
      post(
        secrets,
        secret('{n}', { type: 'kubernetes.io/dockerconfigjson', stringData: { '.dockerconfigjson': 'x-hidden-x' } }),
        {
          code: 422,
          reason: 'Invalid',
          causes: [['data[.dockerconfigjson]', 'FieldValueInvalid']],
          text: /^(?!.*x-hidden-x)/su,
        },
      ),
    ],
  },
  {
    it: 'refuses data of more than 1 MiB in a Secret',
    source: rules,
    steps: [
      post(secrets, secret('{n}', { stringData: { a: 'x'.repeat(1024 * 1024 + 1) } }), {
        code: 422,
        reason: 'Invalid',
        causes: [['data', 'FieldValueTooLong']],
      }),
    ],
  },
  {
    it: 'a ConfigMap keeps text of any script, and an empty value',
    source: docs.page('concepts/configuration/configmap/#configmap-object'),
    steps: [
      post('/api/v1/namespaces/{ns}/configmaps', configMap('{n}', { text: 'ä\n漢\u{1f600}"\\\u2028', empty: '' }), {
        code: 201,
        body: { data: { text: 'ä\n漢\u{1f600}"\\\u2028', empty: '' } },
      }),
    ],
  },
  {
    it: 'an Event keeps what it is told of an object',
    source: eventApi,
    steps: [
      post(
        events,
        {
          metadata: { name: '{n}' },
          involvedObject: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', namespace: '{ns}', uid: 'u' },
          reason: 'Made',
          message: 'it was made',
          type: 'Normal',
          count: 3,
          source: { component: 'suite', host: 'here' },
          firstTimestamp: '2024-01-02T03:04:05Z',
          lastTimestamp: '2024-01-02T03:04:06Z',
        },
        {
          code: 201,
          body: {
            reason: 'Made',
            message: 'it was made',
            count: 3,
            involvedObject: { kind: 'ConfigMap', uid: 'u' },
            source: { component: 'suite', host: 'here' },
            lastTimestamp: aTime,
          },
        },
      ),
    ],
  },
  {
    it: 'refuses an Event in another namespace than that of its object',
    source: eventRules,
    steps: [
      post(
        events,
        {
          metadata: { name: '{n}' },
          involvedObject: { kind: 'ConfigMap', name: 'x', namespace: 'default' },
          reason: 'R',
        },
        {
          code: 422,
          reason: 'Invalid',
          causes: [['involvedObject.namespace', 'FieldValueInvalid']],
        },
      ),
    ],
  },
  {
    it: 'an Event can be counted up by a patch',
    source: eventApi,
    steps: [
      post(events, {
        metadata: { name: '{n}' },
        involvedObject: { kind: 'ConfigMap', name: 'x', namespace: '{ns}' },
        reason: 'R',
        count: 1,
      }),
      patch('strategic', `${events}/{n}`, { count: 2 }, { code: 200, body: { count: 2, reason: 'R' } }),
    ],
  },
  {
    it: 'an Event can be made by PUT',
    source: docs.source('pkg/registry/core/event/strategy.go'),
    steps: [
      put(
        `${events}/{n}`,
        {
          metadata: { name: '{n}', namespace: '{ns}' },
          involvedObject: { kind: 'ConfigMap', name: 'x', namespace: '{ns}' },
          reason: 'R',
        },
        {
          code: 201,
          body: { metadata: { name: '{n}', uid: /./u } },
        },
      ),
      get(`${events}/{n}`),
    ],
  },
];
