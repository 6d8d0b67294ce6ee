/** What every end-to-end suite begins and ends with: an instance that has images, and the leak check. */
import { createInstance, type Instance, type InstanceOptions } from '../instance.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';
import { importBusybox, importExampleImages } from './images.ts';

/** Registers the hooks of a suite; the returned function gives the started instance to its tests. */
export function useInstance(
  options: InstanceOptions & { readonly images?: 'busybox' | 'examples' | 'none' } = {},
): () => Instance {
  let hostBefore: HostSnapshot | undefined;
  let instance: Instance | undefined;
  before(async () => {
    hostBefore = await snapshotHost();
    instance = await createInstance(options);
    if (options.images === 'examples') await importExampleImages(instance);
    else if (options.images !== 'none') await importBusybox(instance);
    await instance.start();
  });
  after(async () => {
    await instance?.close();
    if (hostBefore !== undefined && instance !== undefined) await assertNoLeaks(hostBefore, instance);
  });
  return () => {
    if (instance === undefined) throw new Error('the instance is there only while the tests of the suite run');
    return instance;
  };
}
