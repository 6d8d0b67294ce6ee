/** The store as @kubernetes/client-node sees it: typed calls, patches, a watch and an informer. */
import assert from 'node:assert/strict';
import {
  ApiException,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  type KubernetesObject,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
} from '@kubernetes/client-node';
import { until } from '../until.ts';
import { container, type Fixture, startStore } from './fixture.ts';

const place = { group: 'holdfast.dev', version: 'v1', namespace: 'default', plural: 'containers' };

describe('store: @kubernetes/client-node', () => {
  let fixture: Fixture;
  let config: KubeConfig;

  before(async () => {
    fixture = await startStore();
    config = new KubeConfig();
    config.loadFromFile(fixture.store.adminKubeconfigPath);
  });
  after(() => fixture.close());

  it('creates, reads, patches and removes', async () => {
    const core = config.makeApiClient(CoreV1Api);
    const made = await core.createNamespacedConfigMap({
      namespace: 'default',
      body: { metadata: { name: 'c' }, data: { a: 'b' } },
    });
    assert.ok(made.metadata?.creationTimestamp instanceof Date);
    const patched = await core.patchNamespacedConfigMap(
      { namespace: 'default', name: 'c', body: { data: { a: 'x' } } },
      setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch),
    );
    assert.deepEqual(patched.data, { a: 'x' });
    assert.equal((await core.listNamespace()).items.length, 3);
    await core.deleteNamespacedConfigMap({ namespace: 'default', name: 'c' });
    await assert.rejects(core.readNamespacedConfigMap({ namespace: 'default', name: 'c' }), (error) => {
      assert.ok(error instanceof ApiException);
      assert.equal(error.code, 404);
      return true;
    });
  });

  it('keeps an informer up to date', async () => {
    const custom = config.makeApiClient(CustomObjectsApi);
    const list = async () => (await custom.listNamespacedCustomObject(place)) as { items: KubernetesObject[] };
    const seen: string[] = [];
    const informer = makeInformer(config, '/apis/holdfast.dev/v1/namespaces/default/containers', list);
    informer.on('add', ({ metadata }) => void seen.push(`add ${metadata?.name}`));
    informer.on('update', ({ metadata }) => void seen.push(`update ${metadata?.name}`));
    informer.on('delete', ({ metadata }) => void seen.push(`delete ${metadata?.name}`));
    await custom.createNamespacedCustomObject({ ...place, body: container('first') });
    await informer.start();
    await until(() => seen.includes('add first'), 'the first object');
    await custom.createNamespacedCustomObject({ ...place, body: container('second') });
    await until(() => seen.includes('add second'), 'the second object');
    await custom.patchNamespacedCustomObjectStatus(
      { ...place, name: 'first', body: { status: { state: 'Running' } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    await until(() => seen.includes('update first'), 'the change');
    await custom.deleteNamespacedCustomObject({ ...place, name: 'second' });
    await until(() => seen.includes('delete second'), 'the removal');
    await informer.stop();
    assert.deepEqual(seen, ['add first', 'add second', 'update first', 'delete second']);
  });
});
