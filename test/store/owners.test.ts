/** Owners and dependents: validation, the garbage collector, and the propagation policies. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { finalizersOnDelete, type Propagation } from '../../store/delete-options.ts';
import { type DependentInput, decideDependent, type GarbageStep } from '../../store/garbage-rules.ts';
import type { Json, JsonObject } from '../../store/json.ts';
import type { KubeObject } from '../../store/resources.ts';
import { type Client, configMap, container, containers, type Fixture, makeDir, metaOf, startStore } from './fixture.ts';

const maps = '/api/v1/namespaces/default/configmaps';

function ownedObject(count: number, metadata: JsonObject = {}): KubeObject {
  const ownerReferences = Array.from({ length: count }, (_, index) => ({ uid: `u${index}`, name: `n${index}` }));
  const meta = { name: 'a', uid: 'u', creationTimestamp: '', ownerReferences, ...metadata };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: meta };
}

describe('decideDependent', () => {
  const cases: { it: string; given: Partial<DependentInput>; want: GarbageStep['kind'] }[] = [
    { it: 'keeps one without owners', given: { object: ownedObject(0) }, want: 'keep' },
    { it: 'keeps one whose owner is there', given: { owners: ['present'] }, want: 'keep' },
    { it: 'deletes one whose owner is gone', given: { owners: ['absent'] }, want: 'delete' },
    { it: 'deletes one whose owner waits for it', given: { owners: ['waiting'] }, want: 'delete' },
    { it: 'does not delete on doubt', given: { owners: ['unknown'] }, want: 'doubt' },
    {
      it: 'does not decide while one of two owners is in doubt',
      given: { object: ownedObject(2), owners: ['absent', 'unknown'] },
      want: 'doubt',
    },
    {
      it: 'takes off the owner that is gone while another is there',
      given: { object: ownedObject(2), owners: ['absent', 'present'] },
      want: 'forget',
    },
    {
      it: 'leaves one that is being deleted',
      given: { object: ownedObject(1, { deletionTimestamp: 'x' }), owners: ['absent'] },
      want: 'keep',
    },
  ];
  for (const { it: title, given, want } of cases) {
    it(title, () => {
      const step = decideDependent({ object: ownedObject(1), owners: [], dependents: 'none', ...given });
      assert.equal(step.kind, want);
    });
  }

  it('passes a deletion in the foreground on, and breaks a circle of those that wait', () => {
    const object = ownedObject(1);
    assert.deepEqual(decideDependent({ object, owners: ['waiting'], dependents: 'some' }), {
      kind: 'delete',
      propagation: 'Foreground',
      unblock: false,
    });
    assert.deepEqual(decideDependent({ object, owners: ['waiting'], dependents: 'in the foreground' }), {
      kind: 'delete',
      propagation: 'Foreground',
      unblock: true,
    });
  });
});

describe('finalizersOnDelete', () => {
  const cases: [readonly string[], Propagation, readonly string[]][] = [
    [['a'], 'default', ['a']],
    [['a', 'orphan'], 'default', ['a', 'orphan']],
    [['orphan', 'a'], 'Background', ['a']],
    [['a'], 'Foreground', ['a', 'foregroundDeletion']],
    [['foregroundDeletion'], 'Orphan', ['orphan']],
  ];
  for (const [before, policy, after] of cases) {
    it(`makes ${JSON.stringify(after)} of ${JSON.stringify(before)} by ${policy}`, () => {
      assert.deepEqual(finalizersOnDelete(before, policy), after);
    });
  }
});

describe('store: owners', () => {
  let fixture: Fixture;
  let client: Client;

  before(async () => {
    fixture = await startStore();
    client = fixture.client;
  });
  after(() => fixture.close());

  const create = async (path: string, body: JsonObject): Promise<JsonObject> =>
    metaOf(await client.expect(201, 'POST', path, { body }));
  const ownedBy = (owner: JsonObject, more: JsonObject = {}): JsonObject => ({
    ownerReferences: [
      { apiVersion: 'v1', kind: 'ConfigMap', name: owner.name ?? '', uid: owner.uid ?? '', ...more },
    ] as Json,
  });
  /** Resolves when all of these config maps are gone, and says nothing of others. */
  const gone = async (...names: string[]): Promise<void> => {
    const watch = await client.watch(
      `${maps}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
    );
    const left = new Set<unknown>();
    let isSynced = false;
    try {
      while (!isSynced || left.size > 0) {
        const { type, object } = await watch.next();
        if (type === 'BOOKMARK') isSynced = true;
        else if (type === 'DELETED') left.delete(metaOf(object).name);
        else if (names.includes(String(metaOf(object).name))) left.add(metaOf(object).name);
      }
    } finally {
      watch.close();
    }
  };

  it('refuses references that name no owner, in the words of Kubernetes', async () => {
    const bad = [
      [{}, /metadata\.ownerReferences\.apiVersion: Invalid value: "": version must not be empty/],
      [
        { apiVersion: 'v1', kind: 'X', name: 'n' },
        /metadata\.ownerReferences\.uid: Invalid value: "": uid must not be/,
      ],
      [{ apiVersion: 'v1', kind: 'Event', name: 'n', uid: 'u' }, /Kind=Event is disallowed from being an owner/],
    ] as const;
    for (const [reference, pattern] of bad) {
      const body = configMap('bad', {}, { ownerReferences: [reference] });
      assert.match(String((await client.expect(422, 'POST', maps, { body })).message), pattern);
    }
    const two = ['a', 'b'].map((name) => ({ apiVersion: 'v1', kind: 'X', name, uid: name, controller: true }));
    const { message } = await client.expect(422, 'POST', maps, {
      body: configMap('bad', {}, { ownerReferences: two }),
    });
    assert.match(
      String(message),
      /Only one reference can have Controller set to true. Found "true" in references for X\/a and X\/b/,
    );
    await client.expect(404, 'GET', `${maps}/bad`);
  });

  it('refuses options of a deletion that contradict each other or do not exist', async () => {
    await create(maps, configMap('options'));
    for (const [code, body, pattern] of [
      [
        422,
        { propagationPolicy: 'Sideways' },
        /propagationPolicy: Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil"/,
      ],
      [
        422,
        { propagationPolicy: 'Orphan', orphanDependents: true },
        /orphanDependents and deletionPropagation cannot be both set/,
      ],
      [422, { dryRun: ['Some'] }, /dryRun: Unsupported value: \["Some"\]/],
      [400, { gracePeriodSeconds: 'soon' }, /gracePeriodSeconds must be an integer/],
      [400, { preconditions: { uid: 1 } }, /preconditions\.uid must be a string/],
    ] as const) {
      const { message } = await client.expect(code, 'DELETE', `${maps}/options`, { body: body as JsonObject });
      assert.match(String(message), pattern);
    }
    await client.expect(422, 'DELETE', `${maps}/options?propagationPolicy=Sideways`);
    await client.expect(200, 'DELETE', `${maps}/options?propagationPolicy=Background&gracePeriodSeconds=3`);
  });

  it('deletes dependents in the background, down the whole tree, and those that never had an owner', async () => {
    const top = await create(maps, configMap('top'));
    const middle = await create(maps, configMap('middle', {}, ownedBy(top)));
    await create(maps, configMap('leaf', {}, ownedBy(middle)));
    await create(maps, configMap('stray', {}, ownedBy({ name: 'nobody', uid: 'nobody' })));
    await create(maps, configMap('late', {}, ownedBy({ name: 'top', uid: 'another' })));
    await gone('stray', 'late');
    await client.expect(200, 'GET', `${maps}/leaf`);
    await client.expect(200, 'DELETE', `${maps}/top`);
    await gone('middle', 'leaf');
  });

  it('keeps what has another owner, without the one that is gone', async () => {
    const [one, two] = [await create(maps, configMap('one')), await create(maps, configMap('two'))];
    const both = [...(ownedBy(one).ownerReferences as JsonObject[]), ...(ownedBy(two).ownerReferences as JsonObject[])];
    await create(maps, configMap('shared', {}, { ownerReferences: both }));
    const watch = await client.watch(`${maps}?watch=1&fieldSelector=metadata.name%3Dshared`);
    await watch.next();
    await client.expect(200, 'DELETE', `${maps}/one`);
    const { type, object } = await watch.next();
    watch.close();
    assert.equal(type, 'MODIFIED');
    assert.deepEqual(
      (metaOf(object).ownerReferences as JsonObject[]).map(({ name }) => name),
      ['two'],
    );
  });

  it('keeps what names an owner of a kind that is not served', async () => {
    const reference = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'd', uid: 'd' };
    await create(maps, configMap('doubted', {}, { ownerReferences: [reference] }));
    await create(maps, configMap('marker', {}, ownedBy({ name: 'nobody', uid: 'nobody' })));
    await gone('marker'); // looked at after the one in doubt
    await client.expect(200, 'GET', `${maps}/doubted`);
  });

  it('deletes in the foreground: the owner goes last, and waits only for those that block it', async () => {
    const owner = await create(maps, configMap('owner', {}, { finalizers: ['example.com/mine'] }));
    const held = { finalizers: ['example.com/held'] };
    await create(maps, configMap('blocking', {}, { ...ownedBy(owner, { blockOwnerDeletion: true }), ...held }));
    await create(maps, configMap('free', {}, ownedBy(owner)));
    const answer = await client.expect(202, 'DELETE', `${maps}/owner`, { body: { propagationPolicy: 'Foreground' } });
    assert.deepEqual(metaOf(answer).finalizers, ['example.com/mine', 'foregroundDeletion']);
    await gone('free');
    const release = async (name: string, finalizers: Json) =>
      await client.expect(200, 'PATCH', `${maps}/${name}`, {
        body: { metadata: { finalizers } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
    await release('owner', ['foregroundDeletion']);
    assert.ok(metaOf(await client.expect(200, 'GET', `${maps}/blocking`)).deletionTimestamp);
    assert.ok(metaOf(await client.expect(200, 'GET', `${maps}/owner`)).deletionTimestamp);
    await release('blocking', null);
    await gone('owner', 'blocking');
  });

  it('ends a circle of owners that is deleted in the foreground', async () => {
    const [a] = [await create(maps, configMap('circle-a'))];
    const b = await create(maps, configMap('circle-b', {}, ownedBy(a, { blockOwnerDeletion: true })));
    await client.expect(200, 'PATCH', `${maps}/circle-a`, {
      body: { metadata: ownedBy(b, { blockOwnerDeletion: true }) },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    await client.expect(202, 'DELETE', `${maps}/circle-a`, { body: { propagationPolicy: 'Foreground' } });
    await gone('circle-a', 'circle-b');
  });

  it('orphans: the dependents stay, and name the owner no more', async () => {
    for (const [name, body] of [
      ['leaver', { propagationPolicy: 'Orphan' }],
      ['leaver-of-old', { orphanDependents: true }],
    ] as const) {
      const owner = await create(maps, configMap(name));
      await create(maps, configMap(`${name}-child`, {}, ownedBy(owner)));
      await client.expect(200, 'DELETE', `${maps}/${name}`, { body });
      await gone(name);
      const child = await client.expect(200, 'GET', `${maps}/${name}-child`);
      assert.equal(metaOf(child).ownerReferences, undefined);
    }
  });

  it('deletes by the owner also Containers, through their finalizers, and owners that are of the whole cluster', async () => {
    const owner = await create('/api/v1/namespaces', { metadata: { name: 'owner-space' } });
    const reference = { ...ownedBy(owner, { kind: 'Namespace' }), finalizers: ['holdfast.dev/container'] };
    await create(containers, container('owned', {}, reference));
    await client.expect(200, 'GET', `${containers}/owned`);
    const watch = await client.watch(`${containers}?watch=1&fieldSelector=metadata.name%3Downed`);
    await watch.next();
    await client.expect(200, 'DELETE', '/api/v1/namespaces/owner-space');
    const { type, object } = await watch.next();
    watch.close();
    assert.equal(type, 'MODIFIED');
    assert.ok(metaOf(object).deletionTimestamp);
  });

  it('takes an owner in another namespace for absent, and says so in an event', async () => {
    const owner = await create('/api/v1/namespaces/kube-system/configmaps', configMap('far'));
    const events = await client.watch(
      '/api/v1/namespaces/default/events?watch=1&fieldSelector=involvedObject.name%3Dstretched',
    );
    await create(maps, configMap('stretched', {}, ownedBy(owner)));
    const { object } = await events.next();
    events.close();
    assert.equal(object.reason, 'OwnerRefInvalidNamespace');
    assert.match(
      String(object.message),
      /^ownerRef \[v1\/ConfigMap, namespace: default, name: far, uid: .*\] does not exist in namespace "default"$/,
    );
    await gone('stretched');
  });

  it('goes on after a restart with what was under way', async () => {
    const dataDir = await makeDir();
    const first = await startStore({ dataDir });
    try {
      const owner = metaOf(await first.client.expect(201, 'POST', maps, { body: configMap('owner') }));
      const held = { ...ownedBy(owner, { blockOwnerDeletion: true }), finalizers: ['example.com/held'] };
      await first.client.expect(201, 'POST', maps, { body: configMap('child', {}, held) });
      await first.client.expect(202, 'DELETE', `${maps}/owner`, { body: { propagationPolicy: 'Foreground' } });
    } finally {
      await first.close();
    }
    const second = await startStore({ dataDir });
    try {
      const watch = await second.client.watch(`${maps}?watch=1&fieldSelector=metadata.name%3Downer`);
      await watch.next();
      await second.client.expect(200, 'PATCH', `${maps}/child`, {
        body: { metadata: { finalizers: null } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
      // Deleted while the first store was there, or by the second: gone at last.
      for (;;) if ((await watch.next()).type === 'DELETED') break;
      watch.close();
      await second.client.expect(404, 'GET', `${maps}/child`);
    } finally {
      await second.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  it('answers others while many dependents go', async () => {
    const owner = await create(maps, configMap('crowd'));
    const count = 500;
    await Promise.all(
      Array.from({ length: count }, (_, index) => create(maps, configMap(`crowd-${index}`, {}, ownedBy(owner)))),
    );
    const watch = await client.watch(`${maps}?watch=1`);
    await client.expect(200, 'DELETE', `${maps}/crowd`);
    let deleted = 0;
    await client.expect(200, 'GET', `${maps}/doubted`);
    while (deleted < count + 1) if ((await watch.next()).type === 'DELETED') deleted++;
    watch.close();
  });
});
