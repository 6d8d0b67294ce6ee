import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { getPath, getString, isJsonArray, type Json, type JsonObject } from '../../store/json.ts';
import { type Client, type Fixture, makeDir, metaOf, namesOf, startStore } from './fixture.ts';

const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const merge = { 'content-type': 'application/merge-patch+json' };

const widgetSchema: JsonObject = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        size: { type: 'integer', minimum: 1, default: 3 },
        color: { type: 'string', enum: ['red', 'blue'] },
        note: { type: 'string', nullable: true },
      },
    },
    status: { type: 'object', properties: { ready: { type: 'boolean' } } },
  },
};

interface Definition {
  readonly plural: string;
  readonly kind: string;
  readonly names?: JsonObject;
  readonly scope?: string;
  readonly group?: string;
  readonly versions?: readonly JsonObject[];
}

function version(name: string, extra: JsonObject = {}): JsonObject {
  return { name, served: true, storage: name === 'v1', schema: { openAPIV3Schema: widgetSchema }, ...extra };
}

function definition({ plural, kind, names, scope = 'Namespaced', group = 'example.com', versions }: Definition) {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: { group, scope, names: { plural, kind, ...names }, versions: versions ?? [version('v1')] },
  } satisfies JsonObject;
}

function conditionOf(object: JsonObject, type: string): JsonObject {
  const conditions = getPath(object, ['status', 'conditions']);
  const found = (isJsonArray(conditions) ? conditions : []).find((one) => getString(one, 'type') === type);
  return (found ?? {}) as JsonObject; // conditions are objects
}

function pathOf(plural: string, apiVersion = 'example.com/v1'): string {
  return `/apis/${apiVersion}/namespaces/default/${plural}`;
}

function instance(kind: string, name: string, spec: JsonObject = {}, apiVersion = 'example.com/v1'): JsonObject {
  return { apiVersion, kind, metadata: { name }, spec };
}

/** Waits until a path answers with a code. */
async function until(client: Client, code: number, path: string): Promise<void> {
  const endMs = Date.now() + 60_000;
  for (;;) {
    const answer = await client.call('GET', path);
    if (answer.code === code) return;
    assert.ok(Date.now() < endMs, `GET ${path} still answers ${answer.code}`);
  }
}

describe('store: definitions of resources', () => {
  let fixture: Fixture;
  let client: Client;
  before(async () => {
    fixture = await startStore();
    client = fixture.client;
  });
  after(() => fixture.close());

  it('serves a kind as soon as its definition is there', async () => {
    const names = { shortNames: ['wg'], categories: ['all'] };
    const created = await client.expect(201, 'POST', crds, {
      body: definition({ plural: 'widgets', kind: 'Widget', names }),
    });
    assert.equal(conditionOf(created, 'Established').status, 'True');
    assert.equal(conditionOf(created, 'NamesAccepted').reason, 'NoConflicts');
    assert.deepEqual(getPath(created, ['status', 'storedVersions']), ['v1']);
    assert.deepEqual(getPath(created, ['status', 'acceptedNames']), {
      plural: 'widgets',
      singular: 'widget',
      kind: 'Widget',
      listKind: 'WidgetList',
      ...names,
    });
    const one = await client.expect(201, 'POST', pathOf('widgets'), {
      body: instance('Widget', 'one', { color: 'red', lost: 1 }),
    });
    assert.deepEqual(one.spec, { color: 'red', size: 3 });
    const bad = await client.expect(422, 'POST', pathOf('widgets'), {
      body: instance('Widget', 'two', { color: 'green' }),
    });
    assert.match(String(bad.message), /^Widget.example.com "two" is invalid: spec.color: Unsupported value: "green"/u);
    const resources = await client.expect(200, 'GET', '/apis/example.com/v1');
    assert.equal(getString((resources.resources as JsonObject[])[0], 'name'), 'widgets');
    const document = await client.expect(200, 'GET', '/openapi/v3/apis/example.com/v1');
    assert.ok(getPath(document, ['components', 'schemas', 'com.example.v1.Widget']) !== undefined);
  });

  it('shows what the server brings along as a definition, which only the server changes', async () => {
    const own = `${crds}/containers.holdfast.dev`;
    assert.equal(conditionOf(await client.expect(200, 'GET', own), 'Established').status, 'True');
    const refused = await client.expect(403, 'PATCH', own, {
      headers: merge,
      body: { spec: { names: { shortNames: ['x'] } } },
    });
    assert.match(String(refused.message), /belongs to this server/u);
    await client.expect(403, 'DELETE', own);
    await client.expect(200, 'PATCH', own, { headers: merge, body: { metadata: { labels: { mine: 'yes' } } } });
  });

  it('changes a kind while it is served: new defaults show, and watches begin again', async () => {
    const body = definition({ plural: 'gears', kind: 'Gear' });
    await client.expect(201, 'POST', crds, { body });
    await client.expect(201, 'POST', pathOf('gears'), { body: instance('Gear', 'old', { note: 'kept' }) });
    const watching = await client.watch(`${pathOf('gears')}?watch=1`);
    assert.equal((await watching.next()).type, 'ADDED');
    const schema = structuredClone(widgetSchema) as { properties: { spec: { properties: Record<string, Json> } } };
    schema.properties.spec.properties.teeth = { type: 'integer', default: 12 };
    delete schema.properties.spec.properties.note;
    const versions = [version('v1', { schema: { openAPIV3Schema: schema as unknown as JsonObject } })];
    await client.expect(200, 'PATCH', `${crds}/gears.example.com`, { headers: merge, body: { spec: { versions } } });
    await assert.rejects(watching.next(), /ended/u);
    const seen = await client.expect(200, 'GET', `${pathOf('gears')}/old`);
    assert.deepEqual(seen.spec, { size: 3, teeth: 12 });
    // Nothing of it was written: what the schema knows again is seen again.
    await client.expect(200, 'PATCH', `${crds}/gears.example.com`, {
      headers: merge,
      body: { spec: { versions: [version('v1')] } },
    });
    assert.deepEqual((await client.expect(200, 'GET', `${pathOf('gears')}/old`)).spec, { size: 3, note: 'kept' });
  });

  it('does not accept names that another definition has, until that one is gone', async () => {
    await client.expect(201, 'POST', crds, {
      body: definition({ plural: 'firsts', kind: 'First', names: { shortNames: ['nm'] } }),
    });
    const second = await client.expect(201, 'POST', crds, {
      body: definition({ plural: 'seconds', kind: 'Second', names: { shortNames: ['nm'] } }),
    });
    assert.deepEqual(
      [conditionOf(second, 'NamesAccepted').reason, conditionOf(second, 'NamesAccepted').message],
      ['ShortNamesConflict', '"nm" is already in use'],
    );
    assert.equal(conditionOf(second, 'Established').reason, 'NotAccepted');
    await client.expect(404, 'GET', pathOf('seconds'));
    await client.expect(200, 'DELETE', `${crds}/firsts.example.com`);
    await until(client, 200, pathOf('seconds'));
  });

  it('removes the objects of a kind with its definition, and honours their finalizers', async () => {
    await client.expect(201, 'POST', crds, { body: definition({ plural: 'gones', kind: 'Gone' }) });
    const held = { ...instance('Gone', 'held'), metadata: { name: 'held', finalizers: ['example.com/hold'] } };
    await client.expect(201, 'POST', pathOf('gones'), { body: held });
    await client.expect(201, 'POST', pathOf('gones'), { body: instance('Gone', 'free') });
    const watching = await client.watch(`${pathOf('gones')}?watch=1`);
    for (let count = 0; count < 2; count++) assert.equal((await watching.next()).type, 'ADDED');
    const deleted = await client.expect(200, 'DELETE', `${crds}/gones.example.com`);
    assert.deepEqual(metaOf(deleted).finalizers, ['customresourcecleanup.apiextensions.k8s.io']);
    assert.equal(conditionOf(deleted, 'Terminating').reason, 'InstanceDeletionPending');
    await until(client, 404, `${pathOf('gones')}/free`);
    const refused = await client.expect(405, 'POST', pathOf('gones'), { body: instance('Gone', 'late') });
    assert.equal(refused.message, 'create not allowed while custom resource definition is terminating');
    await client.expect(200, 'PATCH', `${pathOf('gones')}/held`, {
      headers: merge,
      body: { metadata: { finalizers: null } },
    });
    await until(client, 404, `${crds}/gones.example.com`);
    await client.expect(404, 'GET', pathOf('gones'));
    const seen: string[] = [];
    for await (const { type } of watching) seen.push(type);
    assert.equal(seen.at(-1), 'DELETED');
    assert.equal(seen.filter((type) => type === 'DELETED').length, 2);
  });

  it('serves several versions of one object', async () => {
    const old: JsonObject = {
      ...widgetSchema,
      properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } },
    };
    const versions = [
      version('v1beta1', { storage: false, schema: { openAPIV3Schema: old }, deprecated: true }),
      version('v1', { additionalPrinterColumns: [{ name: 'Size', type: 'integer', jsonPath: '.spec.size' }] }),
    ];
    await client.expect(201, 'POST', crds, {
      body: definition({ plural: 'multis', kind: 'Multi', group: 'multi.example.com', versions }),
    });
    const [v1, beta] = [pathOf('multis', 'multi.example.com/v1'), pathOf('multis', 'multi.example.com/v1beta1')];
    const group = await client.expect(200, 'GET', '/apis/multi.example.com');
    assert.equal(getString(group, 'preferredVersion', 'version'), 'v1');
    const watching = await client.watch(`${beta}?watch=1`);
    const made = await client.expect(201, 'POST', v1, {
      body: instance('Multi', 'one', { color: 'red' }, 'multi.example.com/v1'),
    });
    assert.deepEqual(made.spec, { color: 'red', size: 3 });
    const event = await watching.next();
    assert.deepEqual([event.object.apiVersion, event.object.spec], ['multi.example.com/v1beta1', { size: 3 }]);
    watching.close();
    const patched = await client.expect(200, 'PATCH', `${beta}/one`, { headers: merge, body: { spec: { size: 5 } } });
    assert.deepEqual([patched.apiVersion, patched.spec], ['multi.example.com/v1beta1', { size: 5 }]);
    const read = await client.expect(200, 'GET', `${v1}/one`);
    assert.deepEqual([read.apiVersion, read.spec], ['multi.example.com/v1', { size: 5 }]);
    assert.equal(metaOf(read).generation, 2);
    const list = await client.expect(200, 'GET', beta);
    assert.deepEqual(namesOf(list), ['one']);
    assert.equal(list.apiVersion, 'multi.example.com/v1beta1');
    await client.expect(200, 'DELETE', `${beta}/one`);
    await client.expect(404, 'GET', `${v1}/one`);
  });

  it('scales what declares where its numbers are', async () => {
    const scale = {
      specReplicasPath: '.spec.size',
      statusReplicasPath: '.status.size',
      labelSelectorPath: '.status.selector',
    };
    const status = { type: 'object', properties: { size: { type: 'integer' }, selector: { type: 'string' } } };
    const schema: JsonObject = { ...widgetSchema, properties: { ...(widgetSchema.properties as JsonObject), status } };
    const versions = [version('v1', { subresources: { status: {}, scale }, schema: { openAPIV3Schema: schema } })];
    await client.expect(201, 'POST', crds, { body: definition({ plural: 'scaleds', kind: 'Scaled', versions }) });
    const path = `${pathOf('scaleds')}/one`;
    await client.expect(201, 'POST', pathOf('scaleds'), { body: instance('Scaled', 'one', { size: 2 }) });
    const counted = { status: { size: 1, selector: 'app=one' } };
    await client.expect(200, 'PATCH', `${path}/status`, { headers: merge, body: counted });
    const read = await client.expect(200, 'GET', `${path}/scale`);
    assert.deepEqual(
      [read.kind, read.apiVersion, read.spec, read.status],
      ['Scale', 'autoscaling/v1', { replicas: 2 }, { replicas: 1, selector: 'app=one' }],
    );
    const put = await client.expect(200, 'PUT', `${path}/scale`, { body: { ...read, spec: { replicas: 4 } } });
    assert.deepEqual(put.spec, { replicas: 4 });
    await client.expect(409, 'PUT', `${path}/scale`, { body: { ...read, spec: { replicas: 5 } } });
    await client.expect(200, 'PATCH', `${path}/scale`, { headers: merge, body: { spec: { replicas: 6 } } });
    const negative = await client.expect(422, 'PATCH', `${path}/scale`, {
      headers: merge,
      body: { spec: { replicas: -1 } },
    });
    assert.match(String(negative.message), /spec.replicas: Invalid value: -1: must be greater than or equal to 0/u);
    // The number is checked by the object's own schema too.
    await client.expect(422, 'PATCH', `${path}/scale`, { headers: merge, body: { spec: { replicas: 0 } } });
    assert.deepEqual((await client.expect(200, 'GET', path)).spec, { size: 6 });
    await client.expect(404, 'GET', `${pathOf('widgets')}/one/scale`);
  });

  it('warns clients of a deprecated version', async () => {
    const answer = await client.call('GET', pathOf('multis', 'multi.example.com/v1beta1'));
    assert.equal(answer.headers.warning, '299 - "multi.example.com/v1beta1 Multi is deprecated"');
    assert.equal((await client.call('GET', pathOf('multis', 'multi.example.com/v1'))).headers.warning, undefined);
  });

  it('checks rules in CEL on every write, and objects within objects', async () => {
    const template = {
      type: 'object',
      'x-kubernetes-embedded-resource': true,
      'x-kubernetes-preserve-unknown-fields': true,
    };
    const fixed = {
      type: 'string',
      'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'is immutable' }],
    };
    const schema = { type: 'object', properties: { spec: { type: 'object', properties: { template, fixed } } } };
    const bad: JsonObject = structuredClone(schema);
    const rules = [{ rule: 'self.spec.nope == 1' }];
    const post = (body: JsonObject) => client.call('POST', crds, { body });
    const make = (openAPIV3Schema: JsonObject) =>
      definition({ plural: 'ruleds', kind: 'Ruled', versions: [version('v1', { schema: { openAPIV3Schema } })] });
    const refused = await post(make({ ...bad, 'x-kubernetes-validations': rules }));
    assert.equal(refused.code, 422);
    assert.match(String(refused.body.message), /compilation failed: ERROR: <input>:1:\d+: undefined field 'nope'/u);
    assert.equal((await post(make(schema))).code, 201);
    const one = { fixed: 'a', template: { apiVersion: 'v1', kind: 'Any', metadata: { name: 'x' }, more: [1] } };
    const made = await client.expect(201, 'POST', pathOf('ruleds'), { body: instance('Ruled', 'one', one) });
    assert.deepEqual(made.spec, one);
    const changed = await client.expect(422, 'PATCH', `${pathOf('ruleds')}/one`, {
      headers: merge,
      body: { spec: { fixed: 'b' } },
    });
    assert.equal(
      changed.message,
      'Ruled.example.com "one" is invalid: spec.fixed: Invalid value: "string": is immutable',
    );
    const headless = { template: { kind: 'Any' } };
    const second = await client.expect(422, 'POST', pathOf('ruleds'), { body: instance('Ruled', 'two', headless) });
    assert.match(String(second.message), /spec.template.apiVersion: Required value: must not be empty/u);
  });

  it('answers hostile definitions with 4xx, and changes nothing', async () => {
    const good = definition({ plural: 'evils', kind: 'Evil' });
    const bodies: readonly Json[] = [
      { ...good, spec: null },
      { ...good, spec: [] },
      { ...good, spec: { ...good.spec, versions: {} } },
      { ...good, spec: { ...good.spec, versions: [null, 7, 'v1'] } },
      { ...good, spec: { ...good.spec, names: { plural: 7, kind: {} } } },
      { ...good, spec: { ...good.spec, versions: [version('v1', { schema: { openAPIV3Schema: 'x' } })] } },
      ...[
        { type: 'object', properties: [] },
        { type: 'object', properties: { a: 1 } },
        { type: 'object', properties: { a: { type: 'string', pattern: '(a{1000}){1000}' } } },
        { type: 'object', properties: { a: { type: 'array', items: [{ type: 'string' }] } } },
        { type: 'object', properties: { a: { type: 'string', enum: 'x' } } },
        { type: 'object', properties: { a: { type: 'integer', minimum: 'x' } } },
        { type: 'object', required: [1], properties: { a: { type: 'object', additionalProperties: 'x' } } },
        {
          type: 'object',
          properties: { a: { type: 'string', 'x-kubernetes-validations': [{ rule: '('.repeat(5_000) }] } },
        },
        { type: 'object', properties: { a: { type: 'string', 'x-kubernetes-validations': ['x', { rule: 7 }] } } },
      ].map((schema) => ({
        ...good,
        spec: {
          ...good.spec,
          versions: [version('v1', { schema: { openAPIV3Schema: schema as unknown as JsonObject } })],
        },
      })),
    ];
    for (const body of bodies) {
      const { code, text } = await client.call('POST', crds, { body });
      assert.ok(code >= 400 && code < 500, `${JSON.stringify(body).slice(0, 300)}: ${code} ${text.slice(0, 300)}`);
    }
    await client.expect(404, 'GET', `${crds}/evils.example.com`);
    // Names of JavaScript are names of properties like any other.
    const properties = JSON.parse(
      '{"constructor":{"type":"string"},"toString":{"type":"integer","default":4}}',
    ) as JsonObject;
    const versions = [
      version('v1', {
        schema: { openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties } } } },
      }),
    ];
    await client.expect(201, 'POST', crds, { body: definition({ plural: 'evils', kind: 'Evil', versions }) });
    const made = await client.expect(201, 'POST', pathOf('evils'), {
      body: instance('Evil', 'one', { constructor: 'c' }),
    });
    assert.equal(JSON.stringify(made.spec), '{"constructor":"c","toString":4}');
  });

  it('empties a namespace of the objects of such kinds, and counts them', async () => {
    await client.expect(201, 'POST', '/api/v1/namespaces', { body: { metadata: { name: 'away' } } });
    const path = '/apis/example.com/v1/namespaces/away/widgets';
    await client.expect(201, 'POST', path, { body: instance('Widget', 'inside') });
    assert.match(await fixture.metrics.metrics(), /holdfast_store_objects\{resource="widgets"\} 2/u);
    await client.expect(200, 'DELETE', '/api/v1/namespaces/away');
    await until(client, 404, '/api/v1/namespaces/away');
    assert.deepEqual(namesOf(await client.expect(200, 'GET', '/apis/example.com/v1/widgets')), ['one']);
  });
});

describe('store: definitions of resources after a restart', () => {
  it('brings kinds and their objects back, and goes on with what was being removed', async () => {
    const dataDir = await makeDir();
    try {
      const first = await startStore({ dataDir });
      await first.client.expect(201, 'POST', crds, { body: definition({ plural: 'stays', kind: 'Stay' }) });
      await first.client.expect(201, 'POST', crds, { body: definition({ plural: 'goes', kind: 'Go' }) });
      await first.client.expect(201, 'POST', pathOf('stays'), { body: instance('Stay', 'one', { size: 7 }) });
      const held = { ...instance('Go', 'held'), metadata: { name: 'held', finalizers: ['example.com/hold'] } };
      await first.client.expect(201, 'POST', pathOf('goes'), { body: held });
      await first.client.expect(200, 'DELETE', `${crds}/goes.example.com`);
      await first.close();
      const second = await startStore({ dataDir });
      const one = await second.client.expect(200, 'GET', `${pathOf('stays')}/one`);
      assert.equal(getPath(one, ['spec', 'size']), 7);
      await second.client.expect(200, 'PATCH', `${pathOf('goes')}/held`, {
        headers: merge,
        body: { metadata: { finalizers: [] } },
      });
      await until(second.client, 404, `${crds}/goes.example.com`);
      await second.close();
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});
