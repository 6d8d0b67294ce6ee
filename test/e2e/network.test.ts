/** Names, ports, links and the host's network, by spec documents. */
import assert from 'node:assert/strict';
import { freePort } from '../addresses.ts';
import { buildBusyboxImage } from '../images.ts';
import type { Instance } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const path = '/apis/holdfast.dev/v1/namespaces/default/containers';

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
      // Until it was created it has no log.
      async () => (await instance.containerLog(name, '?tailLines=3').catch(() => '')).includes(text),
      `"${text}" in the log of ${name}`,
      60_000,
    );

  it('resolves a name in its namespace and name.namespace from another, and follows a replaced container', async () => {
    await instance.api('POST', '/api/v1/namespaces', { metadata: { name: 'shop' } });
    await instance.create('web', sleeper());
    const first = await addressOf('web');
    await instance.create('near', watcher('timeout 2 ping -c 1 -W 1 web 2>&1 | head -1'));
    const far = await instance.api('POST', '/apis/holdfast.dev/v1/namespaces/shop/containers', {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name: 'far' },
      spec: watcher('timeout 2 ping -c 1 -W 1 web.default 2>&1 | head -1; timeout 2 ping -c 1 -W 1 web 2>&1 | head -1'),
    });
    assert.equal(far.status, 201, far.text);
    await isLogged('near', `PING web (${first})`);
    const farLog = '/apis/holdfast.dev/v1/namespaces/shop/containers/far/log?tailLines=4';
    const isSeenFromFar = (text: string): Promise<unknown> =>
      until(async () => (await instance.api('GET', farLog)).text.includes(text), `"${text}" in the log of far`, 60_000);
    await isSeenFromFar(`PING web.default (${first})`);
    await isSeenFromFar("bad address 'web'");
    await instance.api('PATCH', `${path}/web`, {
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

  it('keeps links right when the target is replaced, while it is stopped, and by both families when asked', async () => {
    await instance.create('db', sleeper({ ports: [{ containerPort: 3306 }], ipFamilyPolicy: 'PreferDualStack' }));
    const linked = watcher('grep mysql /etc/hosts | tr "\\t\\n" "  "; echo "env $MYSQL_PORT_3306_TCP_ADDR"', {
      links: [{ name: 'db', alias: 'mysql' }],
    });
    await instance.create('app', linked);
    const addresses = async (): Promise<readonly string[]> => {
      await addressOf('db');
      return ((await instance.get('db'))?.status?.podIPs ?? []).map(({ ip }) => ip ?? '');
    };
    const [four = '', six = ''] = await addresses();
    assert.match(six, /^fd/);
    await isLogged('app', `${four} mysql db ${six} mysql db`);
    await isLogged('app', `env ${four}`);
    const app = (await instance.get('app'))?.status;
    await instance.api('PATCH', `${path}/db`, { spec: { env: [{ name: 'CHANGED', value: 'yes' }] } });
    await instance.waitFor('db', ({ podIP, state }) => state === 'Running' && podIP !== four, 'replaced');
    const [second = '', second6 = ''] = await addresses();
    await isLogged('app', `${second} mysql db ${second6} mysql db`);
    await instance.api('PATCH', `${path}/db`, { spec: { desiredState: 'Stopped' } });
    await instance.waitFor('db', ({ state }) => state === 'Exited', 'stopped');
    const after = (await instance.get('app'))?.status;
    assert.deepEqual([after?.pid, after?.restartCount], [app?.pid, 0], 'the dependent ran on');
    for (const name of ['app', 'db']) await instance.remove(name);
  });

  it('says which container has a port that is taken, and publishes it when it is free', async () => {
    const port = await freePort();
    const published = (end?: number): Record<string, unknown> => ({
      ports: [{ containerPort: 80, hostPort: port, ...(end === undefined ? {} : { hostPortEnd: end }) }],
      backoff: { initial: '200ms', max: '500ms' },
      command: ['nc', '-ll', '-p', '80', '-e', 'echo', 'here'],
    });
    await instance.create('first', sleeper(published()));
    await addressOf('first');
    await instance.create('second', sleeper(published()));
    const conflict = await instance.waitFor('second', ({ reason }) => reason === 'HostPortConflict', 'in conflict');
    const conditions = new Map((conflict.status?.conditions ?? []).map((one) => [one.type, one]));
    assert.equal(conditions.get('PortsPublished')?.status, 'False');
    assert.match(conditions.get('PortsPublished')?.message ?? '', /taken by container "default\/first"/);
    await instance.create('third', sleeper(published(port + 20)));
    const third = await instance.waitFor('third', ({ state }) => state === 'Running', 'running on another port');
    assert.ok((third.status?.ports?.[0]?.hostPort ?? 0) > port);
    await instance.remove('first');
    const healed = await instance.waitFor('second', ({ state }) => state === 'Running', 'running', 60_000);
    assert.deepEqual(healed.status?.ports, [{ containerPort: 80, hostPort: port, protocol: 'TCP' }]);
    assert.equal(healed.status?.conditions?.find(({ type }) => type === 'PortsPublished')?.status, 'True');
    for (const name of ['second', 'third']) await instance.remove(name);
  });

  it('gives the network of the host, with ports that are reported and names that work both ways', async () => {
    const port = await freePort();
    const spec = sleeper({
      hostNetwork: true,
      ports: [{ containerPort: port }],
      command: ['sh', '-c', `ls /sys/class/net | grep -x ${instance.bridge}; nc -ll -p ${port} -e echo from the host`],
    });
    await instance.create('hostly', spec);
    const { status } = await instance.waitFor('hostly', ({ state }) => state === 'Running', 'running');
    assert.deepEqual(status?.ports, [{ containerPort: port, hostPort: port, protocol: 'TCP' }]);
    await isLogged('hostly', instance.bridge);
    await instance.create('guest', watcher(`nc -w 1 hostly ${port} </dev/null`));
    await isLogged('guest', 'from the host');
    await instance.create('hostly-client', watcher('timeout 2 ping -c 1 -W 1 guest | head -1', { hostNetwork: true }));
    await isLogged('hostly-client', `PING guest (${await addressOf('guest')})`);
    const pod = await instance.api('GET', '/api/v1/namespaces/default/pods/hostly');
    assert.equal(pod.json.spec.hostNetwork, true);
    await Promise.all(['hostly', 'guest', 'hostly-client'].map((name) => instance.remove(name)));
  });
});
