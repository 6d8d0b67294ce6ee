/** Volumes by spec documents, in a whole instance: what they hold, when it changes, when it goes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { containersPath, type Instance } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const core = '/api/v1/namespaces/default';
const quick = {
  image: 'localhost/busybox:latest',
  imagePullPolicy: 'Never',
  backoff: { initial: '100ms', max: '500ms', jitter: 0 },
  terminationGracePeriodSeconds: 0,
};
const shell = (script: string): { command: string[] } => ({ command: ['sh', '-c', script] });
const idle = 'exec sleep 1000000';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('volumes of Container objects', function () {
  this.timeout(240_000);
  const running = useInstance();
  let instance: Instance;
  let place: string;

  before(async () => {
    instance = running();
    place = await mkdtemp(join(tmpdir(), 'holdfast-place-'));
  });
  after(() => rm(place, { recursive: true, force: true }));
  afterEach(async () => {
    const { json } = await instance.api('GET', containersPath);
    await Promise.all(json.items.map(({ metadata }: { metadata: { name: string } }) => instance.remove(metadata.name)));
  });

  const printed = (name: string, text: string | RegExp): Promise<void> =>
    until(
      async () => {
        const log = await instance.containerLog(name).catch(() => '');
        return typeof text === 'string' ? log.includes(text) : text.test(log);
      },
      `${name} to print ${text}`,
      60_000,
    );
  const patch = async (name: string, spec: Record<string, unknown>): Promise<void> => {
    const answer = await instance.api('PATCH', `${containersPath}/${name}`, { spec });
    assert.equal(answer.status, 200, answer.text);
  };
  const makeSecret = async (name: string, data: Record<string, string>): Promise<void> => {
    const answer = await instance.api('POST', `${core}/secrets`, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name },
      data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, base64(value)])),
    });
    assert.equal(answer.status, 201, answer.text);
  };
  const isRunning = ({ state }: { readonly state?: string | undefined }): boolean => state === 'Running';
  const volumesDir = (): string => join(instance.dataDir, 'volumes');

  it('lets a server write in its two places on a read-only root, and keeps both through a restart and a new spec', async () => {
    const script = `touch /var/x 2>&1; echo started >> /run/apache2/starts; cat /run/apache2/starts; echo 1 > /run/lock/apache2/lock && echo "locked $ROUND"; ${idle}`;
    const spec = {
      ...quick,
      ...shell(script),
      securityContext: { readOnlyRootFilesystem: true },
      volumes: [
        { name: 'run', emptyDir: {} },
        { name: 'lock', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      ],
      volumeMounts: [
        { name: 'run', mountPath: '/run/apache2' },
        { name: 'lock', mountPath: '/run/lock/apache2' },
      ],
    };
    await instance.create('site', { ...spec, env: [{ name: 'ROUND', value: 'one' }] });
    await printed('site', /Read-only file system\nstarted\nlocked one/);
    await patch('site', { env: [{ name: 'ROUND', value: 'two' }] });
    await printed('site', /started\nstarted\nlocked two/);
    await instance.stop('SIGKILL');
    await instance.start();
    await patch('site', { env: [{ name: 'ROUND', value: 'three' }] });
    await printed('site', /started\nstarted\nstarted\nlocked three/);
    await instance.remove('site');
    assert.deepEqual(await readdir(join(volumesDir(), '.own')), []);
    assert.deepEqual(await readdir(join(instance.runDir, 'volumes')), []);
  });

  it('waits with FailedMount for a Secret that is not there, starts when it comes, and follows its changes', async () => {
    const word = 'Xyzzy-plugh-31';
    const watch = 'while :; do [ "$(cat /s/deep/p)" = last ] && echo "has changed" && break; sleep 0.1; done';
    await instance.create('keeper', {
      ...quick,
      ...shell(
        `stat -L -c "mode %a" /s/deep/p; [ "$(cat /s/deep/p)" = "${word}" ] && echo "has the first"; ${watch}; ${idle}`.replace(
          word,
          '$(cat /dev/null)$FIRST',
        ),
      ),
      env: [{ name: 'FIRST', valueFrom: { secretKeyRef: { name: 'pass', key: 'p' } } }],
      volumes: [
        { name: 's', secret: { secretName: 'pass', defaultMode: 0o400, items: [{ key: 'p', path: 'deep/p' }] } },
      ],
      volumeMounts: [{ name: 's', mountPath: '/s' }],
    });
    const waiting = await instance.waitFor(
      'keeper',
      ({ reason }) => reason === 'FailedMount' || reason === 'CreateContainerConfigError',
      'waiting',
    );
    assert.match(waiting.status?.message ?? '', /secret "pass" not found/);
    await makeSecret('pass', { p: word });
    await printed('keeper', /mode 400\nhas the first/);
    const answer = await instance.api('PATCH', `${core}/secrets/pass`, { data: { p: base64('last') } });
    assert.equal(answer.status, 200);
    await printed('keeper', 'has changed');
    const object = await instance.get('keeper');
    assert.equal(object?.status?.restartCount, 0);
    const events = (await instance.api('GET', `${core}/events`)).text;
    for (const text of [JSON.stringify(object), events, instance.log])
      assert.doesNotMatch(text, new RegExp(`${word}|${base64(word)}`));
    const processes = spawnSync(
      'grep',
      [
        '-laF',
        word,
        ...(await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name)).map((pid) => `/proc/${pid}/cmdline`),
      ],
      { encoding: 'utf8' },
    );
    assert.equal(
      processes.stdout
        .split('\n')
        .filter((line) => line !== '' && !line.includes(`/${processes.pid}/`))
        .join(),
      '',
    );
  });

  it('waits for a ConfigMap by the volume alone, does without an optional one, and shows it when it appears', async () => {
    await instance.create('reader', {
      ...quick,
      ...shell(`ls /o; cat /c/motd; while ! [ -e /o/new ]; do sleep 0.1; done; cat /o/new; ${idle}`),
      volumes: [
        { name: 'c', configMap: { name: 'texts' } },
        { name: 'o', configMap: { name: 'more', optional: true } },
      ],
      volumeMounts: [
        { name: 'c', mountPath: '/c' },
        { name: 'o', mountPath: '/o' },
      ],
    });
    const waiting = await instance.waitFor('reader', ({ reason }) => reason === 'FailedMount', 'waiting');
    assert.match(
      waiting.status?.message ?? '',
      /^volume "c" cannot be mounted: configmap "texts" not found; create it/,
    );
    const makeConfigMap = async (name: string, data: Record<string, string>): Promise<void> => {
      const made = await instance.api('POST', `${core}/configmaps`, {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name },
        data,
      });
      assert.equal(made.status, 201, made.text);
    };
    await makeConfigMap('texts', { motd: 'good morning\n' });
    await printed('reader', 'good morning');
    await makeConfigMap('more', { new: 'come late\n' });
    await printed('reader', 'come late');
    const events = (await instance.api('GET', `${core}/events`)).json.items as { reason: string; message: string }[];
    assert.ok(events.some(({ reason, message }) => reason === 'FailedMount' && message.includes('"texts"')));
  });

  it('puts a Secret and fields of the object into one volume, which follows a changed label', async () => {
    await makeSecret('mixed', { word: 'abc' });
    await instance.create('mixer', {
      ...quick,
      ...shell(`cat /p/word /p/own/name; while ! grep -q late /p/own/labels; do sleep 0.1; done; echo seen; ${idle}`),
      volumes: [
        {
          name: 'p',
          projected: {
            sources: [
              { secret: { name: 'mixed' } },
              {
                downwardAPI: {
                  items: [
                    { path: 'own/name', fieldRef: { fieldPath: 'metadata.name' } },
                    { path: 'own/labels', fieldRef: { fieldPath: 'metadata.labels' } },
                  ],
                },
              },
            ],
          },
        },
      ],
      volumeMounts: [{ name: 'p', mountPath: '/p' }],
    });
    await printed('mixer', 'abcmixer');
    const { code, stderr } = await instance.kubectl(['label', 'ctr', 'mixer', 'came=late']);
    assert.equal(code, 0, stderr);
    await printed('mixer', 'seen');
    assert.equal((await instance.get('mixer'))?.status?.restartCount, 0);
  });

  it('has files again after a reboot of the host, from what the store says', async () => {
    await makeSecret('boot', { word: 'again' });
    await instance.create('booted', {
      ...quick,
      ...shell(`cat /s/word; ${idle}`),
      volumes: [
        { name: 's', secret: { secretName: 'boot' } },
        { name: 'm', emptyDir: { medium: 'Memory' } },
      ],
      volumeMounts: [
        { name: 's', mountPath: '/s' },
        { name: 'm', mountPath: '/m' },
      ],
    });
    await printed('booted', 'again');
    const { status } = await instance.waitFor('booted', isRunning, 'running');
    await instance.stop('SIGKILL');
    // As after a reboot: no process, no mount of volumes, another boot id.
    const dir = join(instance.runDir, 'volumes', status?.containerID ?? '', 'memory');
    process.kill(status?.pid ?? 0, 'SIGKILL');
    for (const name of ['s', 'm']) assert.equal(spawnSync('umount', ['-l', join(dir, name)]).status, 0);
    await instance.start();
    await instance.waitFor('booted', (now) => isRunning(now) && now.pid !== status?.pid, 'running again');
    await printed('booted', /again\s*again/);
  });

  it('shares a named volume, keeps it by default, and deletes it with its last user where asked to', async () => {
    const withVolume = (script: string, reclaimPolicy: string, name = 'data'): Record<string, unknown> => ({
      ...quick,
      ...shell(script),
      volumes: [{ name: 'd', volume: { name, reclaimPolicy } }],
      volumeMounts: [{ name: 'd', mountPath: '/d' }],
    });
    await instance.create('one', withVolume(`echo kept > /d/file; ${idle}`, 'Retain'));
    await instance.waitFor('one', isRunning, 'running');
    const file = join(volumesDir(), 'default.data', 'data', 'file');
    await until(async () => (await readFile(file, 'utf8').catch(() => '')) === 'kept\n', 'the file');
    await instance.remove('one');
    await instance.create('two', withVolume(`cat /d/file; ${idle}`, 'Delete'));
    await instance.create('three', withVolume(`cat /d/file; ${idle}`, 'Delete'));
    await printed('two', 'kept');
    await printed('three', 'kept');
    await instance.remove('two');
    assert.equal(existsSync(join(volumesDir(), 'default.data')), true);
    await instance.remove('three');
    assert.equal(existsSync(join(volumesDir(), 'default.data')), false);
  });

  it('does not share a volume between namespaces', async () => {
    await instance.api('POST', '/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'shop' },
    });
    const path = containersPath.replace('/default/', '/shop/');
    const made = await instance.api('POST', path, {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name: 'writer' },
      spec: {
        ...quick,
        ...shell(`echo of the shop > /d/file; ${idle}`),
        volumes: [{ name: 'd', volume: { name: 'data', reclaimPolicy: 'Delete' } }],
        volumeMounts: [{ name: 'd', mountPath: '/d' }],
      },
    });
    assert.equal(made.status, 201, made.text);
    await until(() => existsSync(join(volumesDir(), 'shop.data', 'data', 'file')), 'the file of the shop');
    assert.equal(existsSync(join(volumesDir(), 'default.data')), false);
    await instance.api('DELETE', `${path}/writer`);
    await until(async () => (await instance.api('GET', `${path}/writer`)).status === 404, 'the writer to be gone');
    // Where the object went before the controller had marked it, the volume goes a moment later.
    await until(() => !existsSync(join(volumesDir(), 'shop.data')), 'the volume of the shop to be gone');
  });

  it('names the path of the host that it waits for, and the field of what cannot be', async () => {
    const hostPath = join(place, 'late');
    await instance.create('late', {
      ...quick,
      ...shell(`cat /h/file; ${idle}`),
      volumes: [{ name: 'h', hostPath: { path: hostPath, type: 'Directory' } }],
      volumeMounts: [{ name: 'h', mountPath: '/h', readOnly: true }],
    });
    const waiting = await instance.waitFor('late', ({ reason }) => reason === 'FailedMount', 'waiting');
    assert.match(
      waiting.status?.message ?? '',
      new RegExp(`volume "h" cannot be mounted: there is no ${hostPath} on the host`),
    );
    await mkdir(hostPath);
    await writeFile(join(hostPath, 'file'), 'here now\n');
    await printed('late', 'here now');
    await instance.create('wrong', {
      ...quick,
      volumes: [{ name: 'a' }],
      volumeMounts: [{ name: 'b', mountPath: '/x' }],
    });
    const { status } = await instance.waitFor('wrong', ({ reason }) => reason === 'InvalidSpec', 'refused');
    assert.match(
      status?.message ?? '',
      /spec\.volumes\[0\]: "a" has no source.*spec\.volumeMounts\[0\]\.name: there is no volume "b"/,
    );
    await instance.create('inside', {
      ...quick,
      volumes: [{ name: 'a', emptyDir: {} }],
      volumeMounts: [{ name: 'a', mountPath: '/etc/passwd' }],
    });
    const refused = await instance.waitFor(
      'inside',
      ({ reason }) => reason === 'CreateContainerConfigError',
      'refused',
    );
    assert.match(refused.status?.message ?? '', /^spec\.volumeMounts: a folder cannot be mounted at \/etc\/passwd/);
  });

  it('keeps what a container had when its daemon and its object go between removal and replacement', async () => {
    const spec = {
      ...quick,
      ...shell(`echo x >> /d/file; cat /d/file; ${idle}`),
      volumes: [{ name: 'd', emptyDir: {} }],
      volumeMounts: [{ name: 'd', mountPath: '/d' }],
    };
    const { metadata } = await instance.create('torn', spec);
    await printed('torn', /x/);
    // An image that is not there: the old container is removed, the new one cannot be made.
    await patch('torn', { image: 'localhost/none:1' });
    await instance.waitFor('torn', ({ reason }) => reason === 'ErrImageNeverPull', 'without its image');
    assert.equal((await readdir(join(volumesDir(), '.own'))).length, 1);
    await instance.stop('SIGKILL');
    await instance.start();
    await patch('torn', { image: quick.image });
    await printed('torn', /x\nx/);
    await patch('torn', { image: 'localhost/none:1' });
    await instance.waitFor('torn', ({ reason }) => reason === 'ErrImageNeverPull', 'without its image');
    assert.ok(metadata.uid !== '');
    await instance.remove('torn');
    // With the object, or at the latest when it is next looked for what nobody wants.
    await until(async () => (await readdir(join(volumesDir(), '.own'))).length === 0, 'its volume to be gone');
  });

  it('keeps volumes when the instance is taken down', async () => {
    await instance.create('lasting', {
      ...quick,
      ...shell(`echo x >> /d/file; echo x >> /n/file; cat /d/file /n/file; ${idle}`),
      volumes: [
        { name: 'd', emptyDir: {} },
        { name: 'n', volume: { name: 'named', reclaimPolicy: 'Delete' } },
      ],
      volumeMounts: [
        { name: 'd', mountPath: '/d' },
        { name: 'n', mountPath: '/n' },
      ],
    });
    await printed('lasting', /x\nx/);
    await instance.down();
    await instance.start();
    await printed('lasting', /x\nx\nx\nx/);
  });
});
