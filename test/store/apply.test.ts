/** Server-side apply and metadata.managedFields, over HTTP. Wording and effects are those of kube-apiserver. */
import assert from 'node:assert/strict';
import type { Json, JsonObject } from '../../store/json.ts';
import {
  type Answer,
  type Client,
  configMap,
  container,
  containers,
  type Fixture,
  metaOf,
  startStore,
} from './fixture.ts';

const maps = '/api/v1/namespaces/default/configmaps';
const merge = { 'content-type': 'application/merge-patch+json' };

/** managedFields without times. */
function ownersOf(object: JsonObject): readonly Json[] {
  return ((metaOf(object).managedFields ?? []) as readonly JsonObject[]).map(
    ({ manager, operation, apiVersion, subresource, fieldsV1 }) => [
      `${manager} ${operation} ${apiVersion}${subresource === undefined ? '' : ` ${subresource}`}`,
      fieldsV1 ?? {},
    ],
  );
}

describe('store: server-side apply', () => {
  let fixture: Fixture;
  let client: Client;
  let nowMs = Date.parse('2026-01-01T00:00:00Z');
  before(async () => {
    fixture = await startStore({ now: () => nowMs });
    client = fixture.client;
  });
  after(() => fixture.close());

  const apply = (path: string, body: Json | string, query = 'fieldManager=me'): Promise<Answer> =>
    client.call('PATCH', `${path}?${query}`, {
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
  const applied = async (code: number, ...call: Parameters<typeof apply>): Promise<JsonObject> => {
    const answer = await apply(...call);
    assert.equal(answer.code, code, answer.text);
    return answer.body;
  };
  const as = (userAgent: string, headers = {}) => ({ headers: { 'user-agent': userAgent, ...headers } });

  it('notes who created and who changed what', async () => {
    const body = configMap('owned', { a: '1', b: '2' }, { labels: { l: 'm' } });
    const made = await client.expect(201, 'POST', maps, { body, ...as('kubectl/v1.32 (linux)') });
    const creator = {
      'f:data': { '.': {}, 'f:a': {}, 'f:b': {} },
      'f:metadata': { 'f:labels': { '.': {}, 'f:l': {} } },
    };
    assert.deepEqual(ownersOf(made), [['kubectl Update v1', creator]]);
    nowMs += 5_000;
    const patch = { data: { a: '9', b: null } };
    const changed = await client.expect(200, 'PATCH', `${maps}/owned?fieldManager=editor`, {
      body: patch,
      headers: merge,
    });
    assert.deepEqual(ownersOf(changed), [
      ['kubectl Update v1', { 'f:data': {}, 'f:metadata': { 'f:labels': { '.': {}, 'f:l': {} } } }],
      ['editor Update v1', { 'f:data': { 'f:a': {} } }],
    ]);
    const times = (metaOf(changed).managedFields as readonly JsonObject[]).map(({ time }) => time);
    assert.deepEqual(times, ['2026-01-01T00:00:00Z', '2026-01-01T00:00:05Z']);
  });

  it('changes nothing, not even the time, where nothing changes', async () => {
    const config = { ...configMap('same', { a: '1' }), metadata: { name: 'same', creationTimestamp: null } };
    const first = await applied(201, `${maps}/same`, config);
    assert.deepEqual(ownersOf(first), [['me Apply v1', { 'f:data': { 'f:a': {} } }]]);
    nowMs += 5_000;
    assert.deepEqual(await applied(200, `${maps}/same`, config), first);
    const put = await client.expect(200, 'PUT', `${maps}/same`, { body: first, ...as('other') });
    assert.deepEqual(put, first);
    const withFractions = JSON.stringify(first).replaceAll(/("time":"[^"]*)Z"/g, '$1.000Z"');
    assert.deepEqual(await client.expect(200, 'PUT', `${maps}/same`, { body: withFractions }), first);
  });

  it('removes what its applier alone owned and no longer sends', async () => {
    await applied(201, `${maps}/pruned`, configMap('pruned', { a: '1', b: '2', c: '3' }));
    await client.expect(200, 'PATCH', `${maps}/pruned`, { body: { data: { d: '4' } }, headers: merge });
    await applied(200, `${maps}/pruned`, configMap('pruned', { b: '2' }), 'fieldManager=you');
    const left = await applied(200, `${maps}/pruned`, configMap('pruned', { a: '1' }));
    assert.deepEqual(left.data, { a: '1', d: '4', b: '2' });
    assert.deepEqual((await applied(200, `${maps}/pruned`, configMap('pruned'))).data, { d: '4', b: '2' });
  });

  it('refuses what others own, names them, and takes it by force', async () => {
    const made = as('kubectl-client-side-apply');
    await client.expect(201, 'POST', maps, { body: configMap('fought', { a: '1', b: '2' }), ...made });
    const one = await applied(409, `${maps}/fought`, configMap('fought', { a: '9' }));
    assert.deepEqual(
      [one.reason, one.message, one.details],
      [
        'Conflict',
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.a',
        {
          causes: [
            {
              reason: 'FieldManagerConflict',
              message: 'conflict with "kubectl-client-side-apply" using v1',
              field: '.data.a',
            },
          ],
        },
      ],
    );
    const two = await applied(409, `${maps}/fought`, configMap('fought', { a: '9', b: '9' }));
    assert.equal(
      two.message,
      'Apply failed with 2 conflicts: conflicts with "kubectl-client-side-apply" using v1:\n- .data.a\n- .data.b',
    );
    const forced = await applied(200, `${maps}/fought`, configMap('fought', { a: '9' }), 'fieldManager=me&force=true');
    assert.deepEqual(ownersOf(forced), [
      ['me Apply v1', { 'f:data': { 'f:a': {} } }],
      ['kubectl-client-side-apply Update v1', { 'f:data': { '.': {}, 'f:b': {} } }],
    ]);
    const again = await applied(409, `${maps}/fought`, configMap('fought', { a: '5' }), 'fieldManager=you');
    assert.match(String(again.message), /conflict with "me": \.data\.a$/);
  });

  it('merges lists by their keys, and replaces those that are atomic', async () => {
    const env = (...names: readonly string[]) => names.map((name) => ({ name, value: name }));
    const config = (spec: JsonObject) => container('lists', spec);
    await applied(201, `${containers}/lists`, config({ env: env('a', 'b'), args: ['x'] }));
    const both = await applied(200, `${containers}/lists`, config({ env: env('c') }), 'fieldManager=you');
    assert.deepEqual((both.spec as JsonObject).env, env('a', 'b', 'c'));
    assert.deepEqual((ownersOf(both)[1] as readonly Json[])[1], {
      'f:spec': { 'f:env': { 'k:{"name":"c"}': { '.': {}, 'f:name': {}, 'f:value': {} } }, 'f:image': {} },
    });
    const left = await applied(200, `${containers}/lists`, config({ env: env('b'), args: ['y', 'z'] }));
    const { env: kept, args, image } = left.spec as JsonObject;
    assert.deepEqual([kept, args, image], [env('b', 'c'), ['y', 'z'], 'nginx']);
    const doubled = await applied(400, `${containers}/lists`, config({ env: env('q', 'q') }));
    assert.match(String(doubled.message), /\.spec\.env: duplicate entries for key \[name="q"\]$/);
  });

  it('applies the status apart, and neither touches the fields of the other', async () => {
    await applied(201, `${containers}/parts`, { ...container('parts'), status: { state: 'Running' } });
    const { metadata: _metadata, ...config } = container('parts', { image: 'other' });
    const status = { ...config, metadata: { name: 'parts', labels: { a: 'b' } }, status: { state: 'Exited' } };
    const after = await applied(200, `${containers}/parts/status`, status, 'fieldManager=host');
    assert.deepEqual((after.spec as JsonObject).image, 'nginx');
    assert.deepEqual(ownersOf(after), [
      ['host Apply holdfast.dev/v1 status', { 'f:status': { 'f:state': {} } }],
      ['me Apply holdfast.dev/v1', { 'f:spec': { 'f:image': {} } }],
    ]);
    const refused = await applied(409, `${containers}/parts/status`, { ...status, status: { state: 'Running' } });
    assert.match(String(refused.message), /conflict with "host" with subresource "status": \.status\.state$/);
    await applied(404, `${containers}/absent/status`, { ...status, metadata: { name: 'absent' } });
  });

  it('gives what nobody is noted for to those before the first apply', async () => {
    await client.expect(201, 'POST', maps, { body: configMap('old', { a: '1', b: '2' }) });
    const reset = { metadata: { managedFields: [{}] } };
    const bare = await client.expect(200, 'PATCH', `${maps}/old`, { body: reset, headers: merge });
    assert.equal(metaOf(bare).managedFields, undefined);
    const patched = await client.expect(200, 'PATCH', `${maps}/old`, { body: { data: { b: '3' } }, headers: merge });
    assert.equal(metaOf(patched).managedFields, undefined);
    assert.deepEqual(ownersOf(await applied(200, `${maps}/old`, configMap('old', { a: '1' }))), [
      ['me Apply v1', { 'f:data': { 'f:a': {} } }],
      ['before-first-apply Update v1', { 'f:data': { '.': {}, 'f:a': {}, 'f:b': {} } }],
    ]);
  });

  it('takes entries that a client writes, but none that it cannot read', async () => {
    const made = await client.expect(201, 'POST', maps, { body: configMap('written', { a: '1' }), ...as('one') });
    const entry = (metaOf(made).managedFields as readonly JsonObject[])[0] ?? {};
    const write = (managedFields: Json, code = 200) =>
      client.expect(code, 'PATCH', `${maps}/written`, { body: { metadata: { managedFields } }, headers: merge });
    const renamed = await write([{ ...entry, manager: 'two', operation: 'Apply' }]);
    assert.deepEqual(ownersOf(renamed), [['two Apply v1', { 'f:data': { '.': {}, 'f:a': {} } }]]);
    assert.deepEqual(await write([{ manager: 'x' }]), renamed);
    assert.deepEqual(await write([{ ...entry, fieldsV1: { 'x:y': {}, nonsense: {} } }]), renamed);
    const long = await write([{ ...entry, manager: 'x'.repeat(129) }], 422);
    assert.match(String(long.message), /metadata\.managedFields\[0\]\.manager: Too long/);
    assert.deepEqual(await client.expect(200, 'GET', `${maps}/written`), renamed);
  });

  it('puts the oldest of more than ten updaters together', async () => {
    await client.expect(201, 'POST', maps, { body: configMap('many', { a0: '' }), ...as('m0') });
    let object: JsonObject = {};
    for (let n = 1; n <= 12; n++) {
      nowMs += 1_000;
      const body = { data: { [`a${n}`]: '' } };
      object = await client.expect(200, 'PATCH', `${maps}/many?fieldManager=m${n}`, { body, headers: merge });
    }
    const owners = ownersOf(object) as readonly (readonly [string, Json])[];
    assert.equal(owners.length, 10);
    assert.deepEqual(owners[0], [
      'ancient-changes Update v1',
      { 'f:data': { '.': {}, 'f:a0': {}, 'f:a1': {}, 'f:a2': {}, 'f:a3': {} } },
    ]);
  });

  const refusals: { it: string; path?: string; query?: string; body: Json | string; code: number; message: RegExp }[] =
    [
      {
        it: 'asks for a field manager',
        query: '',
        body: configMap('no'),
        code: 422,
        message:
          /^PatchOptions\.meta\.k8s\.io "" is invalid: fieldManager: Required value: is required for apply patch$/,
      },
      {
        it: 'refuses a field manager of more than 128 characters',
        query: `fieldManager=${'x'.repeat(129)}`,
        body: configMap('no'),
        code: 422,
        message: /fieldManager: Too long/,
      },
      {
        it: 'refuses a field manager that cannot be printed',
        query: 'fieldManager=a%00',
        body: configMap('no'),
        code: 422,
        message: /fieldManager: Invalid value: .*invalid character U\+0000 \(at position 1\)/,
      },
      {
        it: 'refuses managedFields in what is applied',
        body: configMap('no', {}, { managedFields: [] }),
        code: 400,
        message: /^metadata\.managedFields must be nil$/,
      },
      {
        it: 'refuses an object of no kind',
        body: { metadata: { name: 'no' } },
        code: 400,
        message: /^invalid object type: \/, Kind=$/,
      },
      {
        it: 'refuses fields that are not in the schema',
        body: { ...configMap('no'), dta: {} },
        code: 400,
        message:
          /^failed to create typed patch object \(\/no; v1, Kind=ConfigMap\): \.dta: field not declared in schema$/,
      },
      {
        it: 'refuses a wrong type',
        body: { ...configMap('no'), data: [] },
        code: 400,
        message: /\.data: expected map/,
      },
      { it: 'refuses what is no object', body: '[1]', code: 400, message: /must be an object/ },
      { it: 'refuses another name', body: configMap('yes'), code: 400, message: /does not match the name on the URL/ },
      { it: 'wants a name', body: { ...configMap('x'), metadata: {} }, code: 400, message: /name must be provided$/ },
      {
        it: 'does not create what is said to have a uid',
        body: configMap('no', {}, { uid: 'u' }),
        code: 409,
        message: /uid mismatch: the provided object specified uid u, and no existing object was found$/,
      },
      {
        it: 'does not create what is said to have a revision',
        body: configMap('no', {}, { resourceVersion: '1' }),
        code: 409,
        message: /the object has been modified/,
      },
      {
        it: 'does not change another object than the one meant',
        path: 'present',
        body: configMap('present', {}, { uid: 'u' }),
        code: 409,
        message: /UID in precondition: u/,
      },
      {
        it: 'does not change an object that has changed',
        path: 'present',
        body: configMap('present', { a: '2' }, { resourceVersion: '1' }),
        code: 409,
        message: /the object has been modified/,
      },
    ];
  it('refuses, with a word for it, and changes nothing', async () => {
    await applied(201, `${maps}/present`, configMap('present', { a: '1' }));
    const revision = async () => metaOf(await client.expect(200, 'GET', maps)).resourceVersion;
    const before = await revision();
    for (const { it: title, path = 'no', query, body, code, message } of refusals) {
      const answer = await apply(`${maps}/${path}`, body, query);
      assert.equal(answer.code, code, `${title}: ${answer.text}`);
      assert.match(String(answer.body.message), message, title);
    }
    assert.equal(await revision(), before);
  });

  it('stores nothing in a dry run', async () => {
    await applied(201, `${maps}/dry`, configMap('dry', { a: '1' }), 'fieldManager=me&dryRun=All');
    await client.expect(404, 'GET', `${maps}/dry`);
    await applied(422, `${maps}/dry`, configMap('dry'), 'fieldManager=me&dryRun=Some');
  });

  it('warns of keys that stand twice, and refuses them under Strict', async () => {
    const text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: twice}\ndata:\n  a: "1"\n  a: "2"\n';
    const warned = await apply(`${maps}/twice`, text);
    assert.equal(warned.code, 201, warned.text);
    assert.deepEqual(warned.body.data, { a: '2' });
    assert.match(String(warned.headers.warning), /line 6: key \\"a\\" already set in map/);
    const strict = await applied(400, `${maps}/twice`, text, 'fieldManager=me&fieldValidation=Strict');
    assert.match(String(strict.message), /^error strict decoding patch: .*line 6: key "a" already set in map/);
    const ignored = await apply(`${maps}/twice`, text, 'fieldManager=me&fieldValidation=Ignore');
    assert.equal(ignored.headers.warning, undefined);
    const created = await client.call('POST', `${maps}?dryRun=All`, {
      body: text.replace('twice', 'thrice'),
      headers: { 'content-type': 'application/yaml' },
    });
    assert.equal(created.code, 201, created.text);
    assert.match(String(created.headers.warning), /line 6: key \\"a\\" already set in map/);
  });

  it('takes prototype keys for keys', async () => {
    const made = await applied(201, `${maps}/keys`, configMap('keys', { constructor: '1', toString: '2' }));
    assert.deepEqual(ownersOf(made), [['me Apply v1', { 'f:data': { 'f:constructor': {}, 'f:toString': {} } }]]);
    assert.deepEqual((await applied(200, `${maps}/keys`, configMap('keys', { toString: '2' }))).data, {
      toString: '2',
    });
  });
});
