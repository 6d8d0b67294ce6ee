/** Networks of users' own, by spec documents: names, aliases, who reaches whom, and changes while containers run. */
import assert from 'node:assert/strict';
import { buildBusyboxImage } from '../images.ts';
import type { Instance } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const containers = '/apis/holdfast.dev/v1/namespaces/default/containers';
const networks = '/apis/holdfast.dev/v1/namespaces/default/networks';

describe('networks of users’ own', function () {
  this.timeout(300_000);
  const running = useInstance({ images: 'none' });
  let instance: Instance;
  let image: string;

  const makeNetwork = async (name: string, internal = false): Promise<void> => {
    const made = await instance.api('POST', networks, {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Network',
      metadata: { name },
      spec: { internal },
    });
    assert.equal(made.status, 201, made.text);
  };

  before(async () => {
    instance = running();
    image = (await buildBusyboxImage({ dir: instance.dataDir, file: 'busybox-networks.tar' })).reference;
    for (const name of ['front', 'back']) await makeNetwork(name);
  });

  const spec = (script: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
    image,
    command: ['sh', '-c', script],
    terminationGracePeriodSeconds: 0,
    ...more,
  });
  const sleeper = (more: Record<string, unknown> = {}): Record<string, unknown> => spec('sleep 100000', more);
  const on = (...names: readonly string[]): { networks: readonly { name: string }[] } => ({
    networks: names.map((name) => ({ name })),
  });
  const isUp = (name: string) =>
    instance.waitFor(name, ({ state, podIP }) => state === 'Running' && podIP !== undefined, 'running');
  const isLogged = (name: string, text: string): Promise<unknown> =>
    until(
      async () => (await instance.containerLog(name, '?tailLines=4').catch(() => '')).includes(text),
      `"${text}" in the log of ${name}`,
      60_000,
    );
  /** Says again and again what a name stands for, and whether it answers. */
  const watcher = (name: string, more: Record<string, unknown>): Record<string, unknown> =>
    spec(
      `while true; do ping -c 1 -W 1 ${name} > /tmp/out 2>&1 && echo "$(head -n 1 /tmp/out) up" || echo "$(head -n 1 /tmp/out) down"; sleep 0.1; done`,
      more,
    );

  it('let containers find and reach each other that share one, by name and alias, and no others', async () => {
    await instance.create('web', sleeper(on('front')));
    await instance.create('db', sleeper({ networks: [{ name: 'back', aliases: ['data', 'my_db'] }] }));
    await instance.create('plain', sleeper());
    const ip = async (name: string): Promise<string> => (await isUp(name)).status?.podIP ?? '';
    const [web, db] = [await ip('web'), await ip('db')];
    await instance.create('both', watcher('data', on('front', 'back')));
    await isLogged('both', `PING data (${db}): 56 data bytes up`);
    await instance.create('near', watcher('web', on('front')));
    await isLogged('near', `PING web (${web}): 56 data bytes up`);
    await instance.create('apart', watcher('my_db', on('front')));
    await isLogged('apart', "bad address 'my_db' down");
    await instance.create('far', watcher(db, on('front')));
    await isLogged('far', `PING ${db} (${db}): 56 data bytes down`);
    await instance.create('common', watcher(web, {}));
    await isLogged('common', 'down');
    await instance.create('plainly', watcher('plain', {}));
    await isLogged('plainly', 'up');
    for (const name of ['near', 'apart', 'far', 'common', 'plainly', 'plain', 'web', 'both', 'db'])
      await instance.remove(name);
  });

  it('answer an alias of several with all their addresses', async () => {
    const member = { networks: [{ name: 'front', aliases: ['pool'] }] };
    for (const name of ['one', 'two']) await instance.create(name, sleeper(member));
    const addresses = [(await isUp('one')).status?.podIP ?? '', (await isUp('two')).status?.podIP ?? ''];
    await instance.create(
      'asker',
      spec(
        'while true; do nslookup -type=a pool.front.default.holdfast.internal | grep Address | tr "\\n" " "; echo; sleep 0.1; done',
        on('front'),
      ),
    );
    await until(async () => {
      const line = (await instance.containerLog('asker', '?tailLines=2').catch(() => '')).split('\n').at(-2) ?? '';
      return addresses.every((address) => line.includes(address));
    }, 'both addresses in one answer');
    for (const name of ['one', 'two', 'asker']) await instance.remove(name);
  });

  it('are joined and left while a container runs, without a restart', async () => {
    await instance.create('peer', sleeper(on('back')));
    await instance.create('mover', watcher('peer', {}));
    await isLogged('mover', "bad address 'peer' down");
    const before = (await isUp('mover')).status;
    const move = async (value: unknown): Promise<void> => {
      const moved = await instance.api('PATCH', `${containers}/mover`, { spec: { networks: value } });
      assert.equal(moved.status, 200, moved.text);
    };
    assert.ok(before !== undefined);
    await move([{ name: 'front' }]);
    await isLogged('mover', "bad address 'peer' down");
    await move([{ name: 'front' }, { name: 'back' }]);
    await isLogged('mover', 'up');
    await move([]);
    await isLogged('mover', 'down');
    await move(null);
    await isLogged('mover', "bad address 'peer' down");
    const after = (await instance.get('mover'))?.status;
    assert.deepEqual([after?.pid, after?.restartCount], [before.pid, before.restartCount]);
    for (const name of ['peer', 'mover']) await instance.remove(name);
  });

  it('make a container wait that names one that is not there, and let it run when it comes', async () => {
    await instance.create('early', sleeper(on('late')));
    const waiting = await instance.waitFor('early', ({ reason }) => reason === 'CreateContainerConfigError', 'waiting');
    assert.match(waiting.status?.message ?? '', /network "late" not found; create it in namespace "default"/);
    await makeNetwork('late', true);
    await isUp('early');
    await instance.remove('early');
  });

  it('outlive the daemon', async () => {
    await instance.create('kept', sleeper(on('front')));
    await instance.create('outside', watcher((await isUp('kept')).status?.podIP ?? '', {}));
    await isLogged('outside', 'down');
    await instance.stop('SIGKILL');
    await instance.start();
    await isUp('kept');
    await isLogged('outside', 'down');
    assert.doesNotMatch(await instance.containerLog('outside'), /up$/m);
    for (const name of ['kept', 'outside']) await instance.remove(name);
  });

  it('refuse what cannot be', async () => {
    const refused = await instance.api('POST', networks, { metadata: { name: 'default' }, spec: {} });
    assert.equal(refused.status, 422, refused.text);
    assert.match(refused.text, /stands for the network of all containers that have no spec.networks/);
    for (const [name, more, want] of [
      ['bad-a', { hostNetwork: true, ...on('front') }, /spec.networks: with hostNetwork/],
      ['bad-b', { noNetwork: true, hostNetwork: true }, /spec.noNetwork: with hostNetwork/],
      ['bad-c', { networks: [{ name: 'default', aliases: ['x'] }] }, /the default network has no aliases/],
    ] as const) {
      await instance.create(name, sleeper(more));
      const bad = await instance.waitFor(name, ({ reason }) => reason === 'InvalidSpec', 'refused');
      assert.match(bad.status?.message ?? '', want);
      await instance.remove(name);
    }
    await instance.create('alone', spec('ls /sys/class/net | tr "\\n" " "; sleep 1000', { noNetwork: true }));
    await isLogged('alone', 'lo');
    assert.equal(await instance.containerLog('alone'), 'lo ');
    await instance.remove('alone');
    const { stdout } = await instance.kubectl(['get', 'ctrnet']);
    assert.match(stdout, /NAME\s+INTERNAL\s+AGE[\s\S]*front\s+false/);
  });
});
