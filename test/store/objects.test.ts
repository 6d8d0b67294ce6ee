/** Objects over HTTPS: create, read, change, remove, and what each mistake is answered with. */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { formatContinueToken } from '../../store/continue-token.ts';
import type { JsonObject } from '../../store/json.ts';
import { type Client, configMap, container, containers, type Fixture, metaOf, namesOf, startStore } from './fixture.ts';

describe('store: objects', () => {
  let fixture: Fixture;
  let client: Client;

  before(async () => {
    fixture = await startStore();
    client = fixture.client;
  });
  after(() => fixture.close());

  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  const causesOf = (status: JsonObject) =>
    ((status.details as JsonObject).causes as readonly JsonObject[]).map(({ field, reason }) => [field, reason]);

  describe('creating', () => {
    it('fills in what the server decides and the schema defaults', async () => {
      const made = await client.expect(201, 'POST', containers, {
        body: container('made', {}, { labels: { a: 'b' } }),
      });
      const { uid, creationTimestamp, resourceVersion, managedFields: _managedFields, ...rest } = metaOf(made);
      assert.match(String(uid), /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
      assert.match(String(creationTimestamp), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.match(String(resourceVersion), /^\d+$/);
      assert.deepEqual(rest, { name: 'made', namespace: 'default', generation: 1, labels: { a: 'b' } });
      assert.deepEqual((made.spec as JsonObject).backoff, {
        initial: '1s',
        factor: 2,
        max: '60s',
        jitter: 0.1,
        resetAfter: '60s',
      });
      assert.deepEqual(await client.expect(200, 'GET', `${containers}/made`), made);
    });

    it('leaves out what is not for clients to set', async () => {
      const meta = {
        uid: 'mine',
        creationTimestamp: null,
        generation: 7,
        deletionTimestamp: '2020-01-01T00:00:00Z',
        managedFields: [{ manager: 'x' }],
        selfLink: '/x',
      };
      const body = { ...container('clean', {}, meta), status: { state: 'Running' } };
      const made = await client.expect(201, 'POST', containers, { body });
      assert.notEqual(metaOf(made).uid, 'mine');
      assert.deepEqual(Object.keys(metaOf(made)).sort(), [
        'creationTimestamp',
        'generation',
        'managedFields',
        'name',
        'namespace',
        'resourceVersion',
        'uid',
      ]);
      assert.equal(metaOf(made).generation, 1);
      assert.equal(made.status, undefined);
    });

    it('makes names from generateName', async () => {
      const body = { ...container('x'), metadata: { generateName: 'gen-' } };
      const names = await Promise.all(
        Array.from({ length: 20 }, async () =>
          String(metaOf(await client.expect(201, 'POST', containers, { body })).name),
        ),
      );
      for (const name of names) assert.match(name, /^gen-[bcdfghjklmnpqrstvwxz2-9]{5}$/);
      assert.equal(new Set(names).size, names.length);
    });

    it('takes YAML', async () => {
      const body = 'apiVersion: holdfast.dev/v1\nkind: Container\nmetadata: {name: from-yaml}\nspec:\n  image: nginx\n';
      const headers = { 'content-type': 'application/yaml' };
      assert.equal(metaOf(await client.expect(201, 'POST', containers, { body, headers })).name, 'from-yaml');
    });

    it('answers in YAML if asked', async () => {
      const answer = await client.call('GET', `${containers}/made`, { headers: { accept: 'application/yaml' } });
      assert.equal(answer.headers['content-type'], 'application/yaml');
      assert.match(answer.text, /^ {2}image: nginx$/m);
    });

    it('takes a compressed body, but no more of it than any other', async () => {
      const headers = { 'content-encoding': 'gzip' };
      const body = gzipSync(JSON.stringify(container('zipped')));
      await client.expect(201, 'POST', containers, { body, headers });
      const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20));
      await client.expect(413, 'POST', containers, { body: bomb, headers });
    });

    it('stores nothing in a dry run', async () => {
      const made = await client.expect(201, 'POST', `${containers}?dryRun=All`, { body: container('dry') });
      assert.equal(metaOf(made).resourceVersion, undefined);
      assert.equal((made.spec as JsonObject).restartPolicy, 'Always');
      await client.expect(404, 'GET', `${containers}/dry`);
      await client.expect(422, 'POST', `${containers}?dryRun=Some`, { body: container('dry') });
    });

    it('warns of unknown and doubled fields, refuses them under Strict, and is silent under Ignore', async () => {
      const body = container('unknown', { foo: 1, ports: [{ containerPort: 80, hostPrt: 1 }] });
      const warned = await client.call('POST', `${containers}?dryRun=All`, { body });
      assert.equal(warned.code, 201);
      assert.deepEqual([warned.headers.warning].flat(), [
        '299 - "unknown field \\"spec.foo\\""',
        '299 - "unknown field \\"spec.ports[0].hostPrt\\""',
      ]);
      const strict = await client.expect(400, 'POST', `${containers}?fieldValidation=Strict`, { body });
      assert.equal(
        strict.message,
        'Container in version "v1" cannot be handled as a Container: strict decoding error: unknown field "spec.foo", unknown field "spec.ports[0].hostPrt"',
      );
      const ignored = await client.call('POST', `${containers}?dryRun=All&fieldValidation=Ignore`, { body });
      assert.equal(ignored.headers.warning, undefined);
      await client.expect(422, 'POST', `${containers}?fieldValidation=Maybe`, { body });
      const doubled = JSON.stringify(container('doubled')).replace('"image"', '"image":"a","image"');
      const answer = await client.expect(400, 'POST', `${containers}?fieldValidation=Strict`, { body: doubled });
      assert.match(String(answer.message), /duplicate field "spec.image"/);
    });

    it('names every field that is wrong, and why', async () => {
      const body = container('Bad_Name', {
        backoff: { factor: 0.5 },
        restartPolicy: 'Sometimes',
        ports: [{}],
        env: [{ name: 'A' }, { name: 'A' }],
      });
      const status = await client.expect(422, 'POST', containers, { body });
      assert.equal(status.reason, 'Invalid');
      assert.match(
        String(status.message),
        /^Container\.holdfast\.dev "Bad_Name" is invalid: \[.*spec\.backoff\.factor: Invalid value: 0\.5: spec\.backoff\.factor in body should be greater than or equal to 1/,
      );
      const causes = causesOf(status);
      for (const expected of [
        ['metadata.name', 'FieldValueInvalid'],
        ['spec.backoff.factor', 'FieldValueInvalid'],
        ['spec.restartPolicy', 'FieldValueNotSupported'],
        ['spec.ports[0].containerPort', 'FieldValueRequired'],
        ['spec.env[1]', 'FieldValueDuplicate'],
      ]) {
        assert.ok(
          causes.some((cause) => cause.join() === expected.join()),
          `${expected} in ${JSON.stringify(causes)}`,
        );
      }
    });

    const refused: { it: string; body: JsonObject; code: number; message: RegExp }[] = [
      {
        it: 'no name',
        body: { ...container('x'), metadata: {} },
        code: 422,
        message: /metadata\.name: Required value: name or generateName/,
      },
      { it: 'no image', body: { ...container('x'), spec: {} }, code: 422, message: /spec\.image: Required value$/ },
      {
        it: 'no spec',
        body: { kind: 'Container', metadata: { name: 'x' } },
        code: 422,
        message: /spec: Required value$/,
      },
      {
        it: 'a name that is taken',
        body: container('made'),
        code: 409,
        message: /^containers\.holdfast\.dev "made" already exists$/,
      },
      {
        it: 'another kind',
        body: { ...container('x'), kind: 'Pod' },
        code: 400,
        message: /the kind in the data \(Pod\)/,
      },
      {
        it: 'another version',
        body: { ...container('x'), apiVersion: 'v1' },
        code: 400,
        message: /API version in the data \(v1\) does not match the expected API version \(holdfast\.dev\/v1\)/,
      },
      {
        it: 'another namespace',
        body: container('x', {}, { namespace: 'kube-system' }),
        code: 400,
        message: /the namespace of the provided object does not match/,
      },
      {
        it: 'a resourceVersion',
        body: container('x', {}, { resourceVersion: '1' }),
        code: 400,
        message: /resourceVersion should not be set/,
      },
      {
        it: 'a bad label',
        body: container('x', {}, { labels: { 'a b': 'c' } }),
        code: 422,
        message: /metadata\.labels: Invalid value: "a b": name part must/,
      },
      {
        it: 'a label that is no text',
        body: container('x', {}, { labels: { a: 1 } }),
        code: 400,
        message: /metadata\.labels\.a in body must be of type string, and is of type integer/,
      },
      {
        it: 'metadata that is no object',
        body: { ...container('x'), metadata: 'x' },
        code: 400,
        message: /metadata in body must be of type object/,
      },
      {
        it: 'annotations that are too large',
        body: container('x', {}, { annotations: { a: 'x'.repeat(262_145) } }),
        code: 422,
        message: /metadata\.annotations: Too long/,
      },
      {
        it: 'two controllers',
        body: container(
          'x',
          {},
          {
            ownerReferences: ['1', '2'].map((uid) => ({
              apiVersion: 'v1',
              kind: 'K',
              name: 'n',
              uid,
              controller: true,
            })),
          },
        ),
        code: 422,
        message: /Only one reference can have Controller set to true/,
      },
    ];
    for (const { it: title, body, code, message } of refused) {
      it(`refuses ${title}`, async () => {
        const status = await client.expect(code, 'POST', containers, { body });
        assert.equal(status.kind, 'Status');
        assert.equal(status.status, 'Failure');
        assert.equal(status.code, code);
        assert.match(String(status.message), message);
      });
    }

    it('refuses bodies over 3 MiB, and objects over 1.5 MiB', async () => {
      const status = await client.expect(413, 'POST', containers, { body: ' '.repeat(3 * 1024 * 1024 + 1) });
      assert.equal(status.reason, 'RequestEntityTooLarge');
      const body = container('big', { args: new Array(100).fill('x'.repeat(17_000)) });
      const tooBig = await client.expect(413, 'POST', containers, { body });
      assert.match(String(tooBig.message), /the object has \d+ bytes, and the limit is 1572864/);
      await client.expect(404, 'GET', `${containers}/big`);
    });
  });

  describe('changing', () => {
    const put = (object: JsonObject, path = '') =>
      client.call('PUT', `${containers}/${String(metaOf(object).name)}${path}`, { body: object });

    it('counts a generation for the spec, not for metadata or status', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('counted') });
      const labelled = (await put({ ...made, metadata: { ...metaOf(made), labels: { a: 'b' } } })).body;
      assert.equal(metaOf(labelled).generation, 1);
      const running = (await put({ ...labelled, status: { state: 'Running' } }, '/status')).body;
      assert.equal(metaOf(running).generation, 1);
      assert.deepEqual(running.status, { state: 'Running' });
      const changed = (await put({ ...running, spec: { image: 'other' } })).body;
      assert.equal(metaOf(changed).generation, 2);
      assert.deepEqual(changed.status, { state: 'Running' });
      assert.equal(metaOf(changed).uid, metaOf(made).uid);
      assert.equal(metaOf(changed).creationTimestamp, metaOf(made).creationTimestamp);
    });

    it('takes only the status on /status, and all but the status elsewhere', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('split') });
      const both = {
        ...made,
        spec: { image: 'other' },
        metadata: { ...metaOf(made), labels: { a: 'b' } },
        status: { state: 'Exited' },
      };
      const status = (await put(both, '/status')).body;
      assert.equal((status.spec as JsonObject).image, 'nginx');
      assert.equal(metaOf(status).labels, undefined);
      assert.deepEqual(status.status, { state: 'Exited' });
      const main = (await put({ ...status, spec: { image: 'other' }, status: { state: 'Running' } })).body;
      assert.deepEqual(main.status, { state: 'Exited' });
      assert.deepEqual(await client.expect(200, 'GET', `${containers}/split/status`), main);
      const wrong = await put({ ...main, status: { state: 'Dancing' } }, '/status');
      assert.equal(wrong.code, 422);
      await client.expect(405, 'DELETE', `${containers}/split/status`);
    });

    it('does not count a revision when nothing changes', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('same') });
      assert.deepEqual((await put(made)).body, made);
      const patched = await client.expect(200, 'PATCH', `${containers}/same`, {
        body: { spec: { image: 'nginx' } },
        ...merge,
      });
      assert.deepEqual(patched, made);
    });

    it('answers a conflict to the slower of two', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('raced') });
      const [first, second] = await Promise.all([
        put({ ...made, spec: { image: 'one' } }),
        put({ ...made, spec: { image: 'two' } }),
      ]);
      assert.deepEqual([first.code, second.code].sort(), [200, 409]);
      const status = (first.code === 409 ? first : second).body;
      assert.equal(
        status.message,
        'Operation cannot be fulfilled on containers.holdfast.dev "raced": the object has been modified; please apply your changes to the latest version and try again',
      );
      assert.deepEqual(status.details, { name: 'raced', group: 'holdfast.dev', kind: 'containers' });
    });

    it('does not lose one of many patches at once', async () => {
      await client.expect(201, 'POST', containers, { body: container('busy') });
      await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          client.expect(200, 'PATCH', `${containers}/busy`, {
            body: { metadata: { labels: { [`l${index}`]: 'x' } } },
            ...merge,
          }),
        ),
      );
      const labels = metaOf(await client.expect(200, 'GET', `${containers}/busy`)).labels as JsonObject;
      assert.equal(Object.keys(labels).length, 50);
    });

    it('wants a resourceVersion for a PUT of a custom resource, and none for a core kind', async () => {
      await client.expect(201, 'POST', containers, { body: container('blind') });
      const status = await client.expect(422, 'PUT', `${containers}/blind`, { body: container('blind') });
      assert.match(
        String(status.message),
        /metadata\.resourceVersion: Invalid value: 0: must be specified for an update/,
      );
      const path = '/api/v1/namespaces/default/configmaps';
      await client.expect(201, 'POST', path, { body: configMap('blind', { a: '1' }) });
      const put = await client.expect(200, 'PUT', `${path}/blind`, { body: configMap('blind', { a: '2' }) });
      assert.deepEqual(put.data, { a: '2' });
    });

    it('refuses another name, another uid, and what is not there', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('fixed') });
      const renamed = { ...made, metadata: { ...metaOf(made), name: 'other' } };
      const status = await client.expect(400, 'PUT', `${containers}/fixed`, { body: renamed });
      assert.match(
        String(status.message),
        /the name of the object \(other\) does not match the name on the URL \(fixed\)/,
      );
      assert.equal((await put({ ...made, metadata: { ...metaOf(made), uid: 'x' } })).code, 409);
      const gone = await client.expect(404, 'PUT', `${containers}/nothing`, { body: container('nothing') });
      assert.deepEqual(gone.details, { name: 'nothing', group: 'holdfast.dev', kind: 'containers' });
      assert.equal(gone.message, 'containers.holdfast.dev "nothing" not found');
    });

    const patches: { it: string; type: string; body: string; code: number; message?: RegExp }[] = [
      {
        it: 'takes a JSON patch',
        type: 'application/json-patch+json',
        body: '[{"op":"replace","path":"/spec/image","value":"p1"}]',
        code: 200,
      },
      { it: 'takes a merge patch', type: 'application/merge-patch+json', body: '{"spec":{"image":"p2"}}', code: 200 },
      {
        it: 'answers 415 to a strategic patch of a custom resource',
        type: 'application/strategic-merge-patch+json',
        body: '{}',
        code: 415,
        message: /merge-patch\+json/,
      },
      {
        it: 'answers 415 to server-side apply in CBOR',
        type: 'application/apply-patch+cbor',
        body: '{}',
        code: 415,
        message: /accepted media types include: .*application\/apply-patch\+yaml/,
      },
      { it: 'answers 415 to what is no patch', type: 'application/json', body: '{}', code: 415 },
      {
        it: 'refuses a patch that is no JSON',
        type: 'application/merge-patch+json',
        body: '{',
        code: 400,
        message: /not valid JSON/,
      },
      {
        it: 'refuses a merge patch that is no object',
        type: 'application/merge-patch+json',
        body: '[]',
        code: 400,
        message: /must be an object/,
      },
      {
        it: 'refuses a patch whose result breaks the schema',
        type: 'application/merge-patch+json',
        body: '{"spec":{"image":null}}',
        code: 422,
        message: /spec\.image: Required value/,
      },
      {
        it: 'refuses a patch whose result is no object',
        type: 'application/json-patch+json',
        body: '[{"op":"replace","path":"","value":3}]',
        code: 400,
        message: /must be an object of kind/,
      },
      {
        it: 'refuses a patch that does not apply',
        type: 'application/json-patch+json',
        body: '[{"op":"test","path":"/spec/image","value":"x"}]',
        code: 422,
        message: /testing value \/spec\/image failed/,
      },
      {
        it: 'refuses a patch of an older revision',
        type: 'application/merge-patch+json',
        body: '{"metadata":{"resourceVersion":"1"}}',
        code: 409,
        message: /has been modified/,
      },
      {
        it: 'refuses a patch of the kind',
        type: 'application/merge-patch+json',
        body: '{"kind":"Pod"}',
        code: 400,
        message: /kind in the data/,
      },
    ];
    for (const { it: title, type, body, code, message } of patches) {
      it(title, async () => {
        if ((await client.call('GET', `${containers}/patched`)).code === 404) {
          await client.expect(201, 'POST', containers, { body: container('patched') });
        }
        const answer = await client.expect(code, 'PATCH', `${containers}/patched`, {
          body,
          headers: { 'content-type': type },
        });
        if (message !== undefined) assert.match(String(answer.message), message);
      });
    }

    it('takes a strategic patch of a core kind', async () => {
      const path = '/api/v1/namespaces/default/configmaps';
      await client.expect(201, 'POST', path, {
        body: configMap('strategic', { a: '1', b: '2' }, { finalizers: ['x.y/a'] }),
      });
      const patched = await client.expect(200, 'PATCH', `${path}/strategic`, {
        body: { data: { a: null, c: '3' }, metadata: { finalizers: ['x.y/b'] } },
        headers: { 'content-type': 'application/strategic-merge-patch+json' },
      });
      assert.deepEqual(patched.data, { b: '2', c: '3' });
      assert.deepEqual(metaOf(patched).finalizers, ['x.y/b', 'x.y/a']);
    });

    it('warns of unknown fields in a patch as well', async () => {
      await client.expect(201, 'POST', containers, { body: container('warned') });
      const answer = await client.call('PATCH', `${containers}/warned`, { body: { spec: { foo: 1 } }, ...merge });
      assert.equal(answer.code, 200);
      assert.equal(answer.headers.warning, '299 - "unknown field \\"spec.foo\\""');
      await client.expect(422, 'PATCH', `${containers}/warned?fieldValidation=Strict`, {
        body: { spec: { foo: 1 } },
        ...merge,
      });
    });

    it('shows what a change would be in a dry run', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('dry-change') });
      const dry = await client.expect(200, 'PATCH', `${containers}/dry-change?dryRun=All`, {
        body: { spec: { image: 'b' } },
        ...merge,
      });
      assert.equal((dry.spec as JsonObject).image, 'b');
      assert.equal(metaOf(dry).generation, 2);
      assert.deepEqual(await client.expect(200, 'GET', `${containers}/dry-change`), made);
    });
  });

  describe('removing', () => {
    it('answers with a Status that names what is gone', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('gone') });
      const status = await client.expect(200, 'DELETE', `${containers}/gone`);
      assert.equal(status.status, 'Success');
      assert.deepEqual(status.details, {
        name: 'gone',
        group: 'holdfast.dev',
        kind: 'containers',
        uid: metaOf(made).uid,
      });
      await client.expect(404, 'GET', `${containers}/gone`);
      await client.expect(404, 'DELETE', `${containers}/gone`);
    });

    it('waits for finalizers, takes no new ones, and ends when the last is gone', async () => {
      await client.expect(201, 'POST', containers, {
        body: container('held', {}, { finalizers: ['holdfast.dev/host', 'x.y/z'] }),
      });
      const marked = await client.expect(200, 'DELETE', `${containers}/held?propagationPolicy=Foreground`, {
        body: { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 5 },
      });
      assert.match(String(metaOf(marked).deletionTimestamp), /Z$/);
      assert.equal(metaOf(marked).deletionGracePeriodSeconds, 0);
      assert.equal(metaOf(marked).generation, 2);
      assert.deepEqual(await client.expect(200, 'DELETE', `${containers}/held`), marked);
      const added = { metadata: { finalizers: ['holdfast.dev/host', 'x.y/z', 'a.b/c'] } };
      const status = await client.expect(422, 'PATCH', `${containers}/held`, { body: added, ...merge });
      assert.match(String(status.message), /no new finalizers can be added if the object is being deleted/);
      const undead = await client.expect(200, 'PATCH', `${containers}/held`, {
        body: { metadata: { deletionTimestamp: null } },
        ...merge,
      });
      assert.equal(metaOf(undead).deletionTimestamp, metaOf(marked).deletionTimestamp);
      await client.expect(200, 'PATCH', `${containers}/held`, {
        body: { metadata: { finalizers: ['x.y/z'] } },
        ...merge,
      });
      await client.expect(200, 'GET', `${containers}/held`);
      await client.expect(200, 'PATCH', `${containers}/held`, { body: { metadata: { finalizers: null } }, ...merge });
      await client.expect(404, 'GET', `${containers}/held`);
    });

    it('holds preconditions on uid and resourceVersion', async () => {
      const made = await client.expect(201, 'POST', containers, { body: container('guarded') });
      const guarded = (preconditions: JsonObject, code: number) =>
        client.expect(code, 'DELETE', `${containers}/guarded`, { body: { preconditions } });
      assert.match(String((await guarded({ uid: 'x' }, 409)).message), /UID in precondition: x, UID in object meta: /);
      await guarded({ resourceVersion: '1' }, 409);
      await client.expect(400, 'DELETE', `${containers}/guarded`, { body: { kind: 'Container' } });
      await client.expect(200, 'DELETE', `${containers}/guarded?dryRun=All`);
      await client.expect(200, 'GET', `${containers}/guarded`);
      await guarded({ uid: metaOf(made).uid ?? '', resourceVersion: metaOf(made).resourceVersion ?? '' }, 200);
    });

    it('removes a collection by selector', async () => {
      for (const [name, group] of [
        ['c1', 'x'],
        ['c2', 'x'],
        ['c3', 'y'],
      ] as const) {
        await client.expect(201, 'POST', containers, { body: container(name, {}, { labels: { group } }) });
      }
      const removed = await client.expect(200, 'DELETE', `${containers}?labelSelector=group%3Dx`);
      assert.deepEqual(namesOf(removed), ['c1', 'c2']);
      assert.deepEqual(namesOf(await client.expect(200, 'GET', `${containers}?labelSelector=group`)), ['c3']);
      await client.expect(405, 'DELETE', '/apis/holdfast.dev/v1/containers');
    });
  });

  describe('core kinds', () => {
    const secrets = '/api/v1/namespaces/default/secrets';
    const secret = (name: string, rest: JsonObject): JsonObject => ({
      kind: 'Secret',
      apiVersion: 'v1',
      metadata: { name },
      ...rest,
    });

    it('merges stringData into the data of a Secret', async () => {
      const body = secret('s1', { data: { a: 'YQ==' }, stringData: { b: 'ü' } });
      const made = await client.expect(201, 'POST', secrets, { body });
      assert.deepEqual(made.data, { a: 'YQ==', b: Buffer.from('ü').toString('base64') });
      assert.equal(made.stringData, undefined);
      assert.equal(made.type, 'Opaque');
      assert.equal(metaOf(made).generation, undefined);
      const status = await client.expect(422, 'PATCH', `${secrets}/s1`, { body: { type: 'other' }, ...merge });
      assert.match(
        String(status.message),
        /^Secret "s1" is invalid: type: Invalid value: "other": field is immutable$/,
      );
    });

    const refused: { it: string; path: string; body: JsonObject; code?: number; message: RegExp }[] = [
      {
        it: 'data that is no base64, without telling it',
        path: 'secrets',
        code: 400,
        body: secret('x', { data: { a: '%' } }),
        message: /data\.a in body must be of type byte$/,
      },
      {
        it: 'a TLS secret without its key',
        path: 'secrets',
        body: secret('x', { type: 'kubernetes.io/tls', data: { 'tls.crt': '' } }),
        message: /data\[tls\.key\]: Required value/,
      },
      {
        it: 'a bad key',
        path: 'configmaps',
        body: configMap('x', { 'a b': '' }),
        message: /data\[a b\]: Invalid value/,
      },
      {
        it: 'a key in data and binaryData',
        path: 'configmaps',
        body: { ...configMap('x', { a: '' }), binaryData: { a: '' } },
        message: /duplicate of key present in data/,
      },
      {
        it: 'data over 1 MiB',
        path: 'configmaps',
        body: configMap('x', { a: 'x'.repeat(1024 * 1024) }),
        message: /Too long: may not be more than 1048576 bytes/,
      },
      {
        it: 'a value that is no text',
        path: 'configmaps',
        code: 400,
        body: configMap('x', { a: 1 }),
        message: /data\.a in body must be of type string, and is of type integer/,
      },
    ];
    for (const { it: title, path, body, code = 422, message } of refused) {
      it(`refuses ${title}`, async () => {
        const status = await client.expect(code, 'POST', `/api/v1/namespaces/default/${path}`, { body });
        assert.match(String(status.message), message);
      });
    }

    it('does not change a ConfigMap that is immutable', async () => {
      const path = '/api/v1/namespaces/default/configmaps';
      await client.expect(201, 'POST', path, { body: { ...configMap('frozen', { a: '1' }), immutable: true } });
      for (const body of [{ data: { a: '2' } }, { immutable: false }, { data: null }]) {
        const status = await client.expect(422, 'PATCH', `${path}/frozen`, { body, ...merge });
        assert.match(String(status.message), /field is immutable when `immutable` is set/);
      }
      await client.expect(200, 'PATCH', `${path}/frozen`, { body: { metadata: { labels: { a: 'b' } } }, ...merge });
      await client.expect(200, 'DELETE', `${path}/frozen`);
    });

    it('selects Events by what they are about', async () => {
      const event = (name: string, about: string, reason: string): JsonObject => ({
        kind: 'Event',
        apiVersion: 'v1',
        metadata: { name },
        involvedObject: { kind: 'Container', name: about, namespace: 'default' },
        reason,
        type: 'Normal',
        firstTimestamp: null,
      });
      const path = '/api/v1/namespaces/default/events';
      await client.expect(201, 'POST', path, { body: event('e1', 'web', 'Started') });
      await client.expect(201, 'POST', path, { body: event('e2', 'db', 'Started') });
      await client.expect(201, 'POST', path, { body: event('e3', 'web', 'Exited') });
      const select = async (selector: string) =>
        namesOf(await client.expect(200, 'GET', `${path}?fieldSelector=${encodeURIComponent(selector)}`));
      assert.deepEqual(await select('involvedObject.name=web'), ['e1', 'e3']);
      assert.deepEqual(await select('involvedObject.name=web,reason!=Exited'), ['e1']);
      const status = await client.expect(400, 'GET', `${path}?fieldSelector=spec.x%3D1`);
      assert.match(String(status.message), /field label not supported: spec\.x/);
      const elsewhere = { ...event('e4', 'web', 'x'), involvedObject: { namespace: 'kube-system' } };
      await client.expect(422, 'POST', path, { body: elsewhere });
    });
  });

  describe('paths and methods', () => {
    const cases: { method: string; path: string; code: number; reason: string }[] = [
      { method: 'GET', path: '/nothing', code: 404, reason: 'NotFound' },
      { method: 'GET', path: '/api/v1/services', code: 404, reason: 'NotFound' },
      { method: 'GET', path: '/apis/holdfast.dev/v2/containers', code: 404, reason: 'NotFound' },
      { method: 'GET', path: '/apis/other.dev/v1', code: 404, reason: 'NotFound' },
      { method: 'GET', path: '/api/v1/namespaces/a/namespaces', code: 404, reason: 'NotFound' },
      { method: 'GET', path: '/apis/holdfast.dev/v1/containers/web', code: 404, reason: 'NotFound' },
      { method: 'GET', path: `${containers}/web/scale`, code: 404, reason: 'NotFound' },
      { method: 'GET', path: '/api/v1/namespaces/default/secrets/a/status', code: 404, reason: 'NotFound' },
      { method: 'GET', path: '/api/v1/namespaces/%zz', code: 400, reason: 'BadRequest' },
      { method: 'PUT', path: containers, code: 405, reason: 'MethodNotAllowed' },
      { method: 'POST', path: `${containers}/web`, code: 405, reason: 'MethodNotAllowed' },
      { method: 'POST', path: '/apis/holdfast.dev/v1/containers', code: 405, reason: 'MethodNotAllowed' },
      { method: 'OPTIONS', path: containers, code: 405, reason: 'MethodNotAllowed' },
      { method: 'POST', path: `${containers}/made/log`, code: 405, reason: 'MethodNotAllowed' },
      { method: 'GET', path: `${containers}?limit=-1`, code: 400, reason: 'BadRequest' },
      {
        method: 'GET',
        path: `${containers}?continue=${formatContinueToken({ revision: 1e9, after: 'default/a' })}`,
        code: 410,
        reason: 'Expired',
      },
      { method: 'GET', path: `${containers}?resourceVersion=x`, code: 400, reason: 'BadRequest' },
      { method: 'GET', path: `${containers}?resourceVersionMatch=Fuzzy`, code: 422, reason: 'Invalid' },
      { method: 'GET', path: `${containers}?continue=x`, code: 400, reason: 'BadRequest' },
      { method: 'GET', path: `${containers}?labelSelector=%28`, code: 400, reason: 'BadRequest' },
      { method: 'GET', path: `${containers}?resourceVersion=999999999`, code: 504, reason: 'Timeout' },
    ];
    for (const { method, path, code, reason } of cases) {
      it(`answers ${method} ${path} with ${code} ${reason}`, async () => {
        const status = await client.expect(code, method, path);
        assert.equal(status.kind, 'Status');
        assert.equal(status.reason, reason);
      });
    }

    it('answers 406 to what it cannot make, and 404 in a namespace that is not there', async () => {
      const headers = { accept: 'image/png' };
      await client.expect(406, 'GET', containers, { headers });
      await client.expect(406, 'POST', containers, { body: container('unanswerable'), headers });
      await client.expect(404, 'GET', `${containers}/unanswerable`);
      const path = '/apis/holdfast.dev/v1/namespaces/nowhere/containers';
      assert.deepEqual(namesOf(await client.expect(200, 'GET', path)), []);
      const status = await client.expect(404, 'POST', path, { body: container('x') });
      assert.equal(status.message, 'namespaces "nowhere" not found');
    });

    it('shows no stack and no file of ours in any failure', async () => {
      for (const body of ['{', '[]', 'null', '"x"', '{"metadata":[]}', '{"spec":[]}', '{"metadata":{"name":{}}}']) {
        const answer = await client.call('POST', containers, { body });
        assert.ok(answer.code >= 400 && answer.code < 500, `${body}: ${answer.code}`);
        assert.doesNotMatch(answer.text, /\.ts|node_modules|at \w+ \(/);
      }
    });

    it('answers thousands of mistakes in a few words', async () => {
      const path = '/api/v1/namespaces/default/configmaps';
      const labels = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`!${index}`, '!']));
      const wrong = await client.call('POST', path, { body: configMap('wrong', {}, { labels }) });
      assert.equal(wrong.code, 422);
      assert.ok(wrong.text.length < 100_000, `${wrong.text.length} characters`);
      assert.match(String(wrong.body.message), /and 39950 more\]$/);
      const unknown = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`unknown${index}`, 1]));
      const strict = `${containers}?fieldValidation=Strict`;
      const refused = await client.call('POST', strict, { body: container('wrong', unknown) });
      assert.equal(refused.code, 400);
      assert.ok(refused.text.length < 100_000, `${refused.text.length} characters`);
    });

    it('keeps its warnings to what clients take as headers', async () => {
      const long = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`${index}${'x'.repeat(10_000)}`, 1]));
      const warned = await client.call('POST', `${containers}?dryRun=All`, { body: container('long', long) });
      assert.equal(warned.code, 201);
      const warnings = [warned.headers.warning].flat();
      assert.ok(warnings.length > 5);
      assert.ok(warnings.join('').length < 8_000, `${warnings.join('').length} characters`);
    });

    it('keeps names of JavaScript apart from data', async () => {
      const path = '/api/v1/namespaces/default/configmaps';
      const data = { constructor: 'a', toString: 'b', hasOwnProperty: 'c', prototype: 'd' };
      const made = await client.expect(201, 'POST', path, { body: configMap('constructor', data) });
      assert.deepEqual(made.data, data);
      await client.expect(400, 'PATCH', `${path}/constructor`, { body: '{"data":{"__proto__":"x"}}', ...merge });
      await client.expect(404, 'GET', `${path}/__proto__`);
      await client.expect(404, 'GET', '/api/v1/constructor');
    });
  });
});
