/** Names, ports, links and the host's network, by spec documents. */
import assert from 'node:assert/strict';
import { buildBusyboxImage } from '../images.ts';
import type { Instance } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

describe('the network of containers', function () {
  this.timeout(300_000);
  const running = useInstance({ images: 'none' });
  let instance: Instance;
  let image: string;

  before(async () => {
    instance = running();
    image = (await buildBusyboxImage({ dir: instance.dataDir, file: 'busybox-net.tar' })).reference;
  });

  const sleeper = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
    image,
    command: ['sleep', '100000'],
    terminationGracePeriodSeconds: 0,
    ...more,
  });
  /** A container that runs a script again and again, and prints what it says. */
  const watcher = (script: string, more: Record<string, unknown> = {}): Record<string, unknown> =>
    sleeper({ command: ['sh', '-c', `while true; do ${script}; sleep 0.1; done`], ...more });
  const addressOf = async (name: string): Promise<string> =>
    (await instance.waitFor(name, ({ state, podIP }) => state === 'Running' && podIP !== undefined, 'running')).status
      ?.podIP ?? '';
  const isLogged = (name: string, text: string): Promise<unknown> =>
    until(
      async () => (await instance.containerLog(name, '?tailLines=3')).includes(text),
      `"${text}" in the log of ${name}`,
      60_000,
    );

  it('resolves a name in its namespace and name.namespace from another, and follows a replaced container', async () => {
    await instance.api('POST', '/api/v1/namespaces', { metadata: { name: 'shop' } });
    await instance.create('web', sleeper());
    const first = await addressOf('web');
    await instance.create('near', watcher('ping -c 1 -W 1 web 2>&1 | head -1'));
    const far = await instance.api('POST', '/apis/holdfast.dev/v1/namespaces/shop/containers', {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name: 'far' },
      spec: watcher('ping -c 1 -W 1 web.default 2>&1 | head -1; ping -c 1 -W 1 web 2>&1 | head -1'),
    });
    assert.equal(far.status, 201, far.text);
    await isLogged('near', `PING web (${first})`);
    const farLog = '/apis/holdfast.dev/v1/namespaces/shop/containers/far/log?tailLines=4';
    const isSeenFromFar = (text: string): Promise<unknown> =>
      until(async () => (await instance.api('GET', farLog)).text.includes(text), `"${text}" in the log of far`, 60_000);
    await isSeenFromFar(`PING web.default (${first})`);
    await isSeenFromFar("bad address 'web'");
    await instance.api('PATCH', '/apis/holdfast.dev/v1/namespaces/default/containers/web', {
      spec: { env: [{ name: 'CHANGED', value: 'yes' }] },
    });
    await instance.waitFor('web', ({ podIP, state }) => state === 'Running' && podIP !== first, 'replaced');
    const second = await addressOf('web');
    await isLogged('near', `PING web (${second})`);
    await isSeenFromFar(`PING web.default (${second})`);
    await instance.remove('web');
    await isLogged('near', "bad address 'web'");
    await instance.remove('near');
    await instance.api('DELETE', '/apis/holdfast.dev/v1/namespaces/shop/containers/far');
  });
});
