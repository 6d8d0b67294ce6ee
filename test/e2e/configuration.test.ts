/** Secrets, ConfigMaps, identity and init as a user sets them, and that nobody else sees what is secret. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Container } from '../../crds/index.ts';
import { containersPath, type Instance } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const password = 'Tr0ub4dor-and-3-more';
const core = '/api/v1/namespaces/default';
const base = { image: 'localhost/busybox:latest', imagePullPolicy: 'Never', terminationGracePeriodSeconds: 0 };

describe('configuration and identity', function () {
  this.timeout(240_000);
  const running = useInstance({ flags: ['--log-level', 'debug'] });
  let instance: Instance;
  before(async () => {
    instance = running();
  });

  const run = async (name: string, spec: Record<string, unknown>): Promise<Container> => {
    await instance.create(name, { ...base, restartPolicy: 'Never', ...spec });
    return await instance.waitFor(name, ({ state }) => state === 'Exited', 'done');
  };
  const output = async (name: string, spec: Record<string, unknown>): Promise<string> => {
    await run(name, spec);
    const text = await instance.containerLog(name);
    await instance.remove(name);
    return text;
  };
  const kubectl = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await instance.kubectl(args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const shell = (script: string): { command: string[] } => ({ command: ['sh', '-c', script] });
  const passwordEnv = [{ name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } }];

  it('gives a Secret, once it is there, to its container and to nobody else', async () => {
    await instance.create('db', {
      ...base,
      ...shell('echo "got $PASSWORD" | wc -c; exec sleep 1000000'),
      env: [...passwordEnv, { name: 'URL', value: 'db://root:$(PASSWORD)@localhost' }, { name: 'SHOP', value: 'open' }],
      init: true,
    });
    await instance.waitFor('db', ({ reason }) => reason === 'CreateContainerConfigError', 'waiting for the Secret');
    const seen: string[] = [];
    const watch = (): void => {
      seen.push(...findInProcesses(password));
    };
    await kubectl('create', 'secret', 'generic', 'db', `--from-file=password=${await secretFile()}`);
    await instance.waitFor(
      'db',
      ({ state }) => {
        watch();
        return state === 'Running';
      },
      'running',
    );
    await until(async () => {
      watch();
      return (await instance.containerLog('db')) === `${password.length + 5}\n`;
    }, 'the log');
    await instance.create('agent', { ...base, ...shell('env; sleep 1000'), links: [{ name: 'db' }] });
    await until(async () => {
      watch();
      return (await instance.containerLog('agent').catch(() => '')).includes('DB_ENV_SHOP=open');
    }, 'the environment of the link');
    assert.equal((await instance.containerLog('agent')).includes(password), false);

    assert.deepEqual(seen, []);
    const answers = [containersPath, `${core}/pods`, `${core}/events`];
    for (const path of answers) assert.equal((await instance.api('GET', path)).text.includes(password), false, path);
    assert.equal((await instance.metrics()).includes(password), false);
    assert.ok(instance.log.includes('"step":"create"'));
    assert.equal(instance.log.includes(password), false);
    const files = [...findFiles(instance.dataDir, password), ...findFiles(instance.runDir, password)];
    assert.ok(files.length > 0, 'the store and the container have it on file');
    assert.deepEqual(
      files.filter((file) => isOpenToOthers(file)),
      [],
    );
  });

  it('takes a changed Secret at the next start only', async () => {
    const env = async (): Promise<string> =>
      (await instance.containerLog('late', '?tailLines=1').catch(() => '')).trim(); // It has not started yet.
    await kubectl('create', 'configmap', 'late', '--from-literal=GREETING=hello');
    await instance.create('late', {
      ...base,
      ...shell('echo "$GREETING $0 $1"; exec sleep 1000000'),
      args: ['$(GREETING)', '$$(GREETING)'],
      envFrom: [{ configMapRef: { name: 'late' } }],
      backoff: { initial: '0s', max: '1s' },
    });
    await until(async () => (await env()) === 'hello hello $(GREETING)', 'the first greeting');
    await kubectl('patch', 'configmap', 'late', '--type=merge', '-p', '{"data":{"GREETING":"bye"}}');
    // Another container that sees the change shows that the first one was let be.
    await until(
      async () =>
        (await output('witness', {
          ...shell('echo $G'),
          env: [{ name: 'G', valueFrom: { configMapKeyRef: { name: 'late', key: 'GREETING' } } }],
        })) === 'bye\n',
      'the change to be known',
    );
    const before = await instance.get('late');
    assert.deepEqual([before?.status?.state, before?.status?.restartCount], ['Running', 0]);
    process.kill(before?.status?.pid ?? assert.fail('it has no pid'), 'SIGKILL');
    await until(async () => (await env()) === 'bye bye $(GREETING)', 'the second greeting');
  });

  it('outlives the death of the daemon, and a Secret that changed meanwhile counts at the next start', async () => {
    await kubectl('create', 'secret', 'generic', 'kept', '--from-literal=key=first');
    await instance.create('kept', {
      ...base,
      ...shell('echo "key $KEY"; exec sleep 1000000'),
      env: [{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'kept', key: 'key' } } }],
      backoff: { initial: '0s', max: '1s' },
    });
    const before = await instance.waitFor('kept', ({ state }) => state === 'Running', 'running');
    await kubectl('patch', 'secret', 'kept', '--type=merge', '-p', '{"stringData":{"key":"second"}}');
    await instance.stop('SIGKILL');
    await instance.start();
    // It was looked at: a change that needs no restart has arrived.
    await instance.api('PATCH', `${containersPath}/kept`, { spec: { terminationGracePeriodSeconds: 2 } });
    const after = await instance.waitFor('kept', ({ observedGeneration }) => observedGeneration === 2, 'seen again');
    assert.deepEqual([after.status?.pid, after.status?.restartCount], [before.status?.pid, 0]);
    process.kill(before.status?.pid ?? assert.fail('it has no pid'), 'SIGKILL');
    await until(
      async () => (await instance.containerLog('kept').catch(() => '')).endsWith('key second\n'),
      'the new value at the next start',
    );
    await instance.remove('kept');
  });

  it("has the host's address with the host's network, as its status says", async () => {
    const ip = [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }];
    await instance.create('hosted', { ...base, ...shell('echo "at $IP"; sleep 1000'), env: ip, hostNetwork: true });
    const { status } = await instance.waitFor('hosted', ({ state }) => state === 'Running', 'running');
    assert.match(status?.podIP ?? '', /^[0-9.]+$/);
    await until(
      async () => (await instance.containerLog('hosted').catch(() => '')) === `at ${status?.podIP}\n`,
      'its address',
    );
    await instance.remove('hosted');
  });

  it('tells its own address, name, labels and host', async () => {
    const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
    const { status, metadata } = await run('fields', {
      ...shell(
        'ip -o -4 addr show eth0 | grep -c "$IP/"; echo "$NAME $NAMESPACE $UID_OF $URL"; ping -c 1 -W 5 "$HOST_IP" >/dev/null && echo reached',
      ),
      env: [
        field('IP', 'status.podIP'),
        field('NAME', 'metadata.name'),
        field('NAMESPACE', 'metadata.namespace'),
        field('UID_OF', 'metadata.uid'),
        field('HOST_IP', 'status.hostIP'),
        { name: 'URL', value: 'http://$(IP)/' },
      ],
    });
    assert.deepEqual((await instance.containerLog('fields')).trim().split('\n'), [
      '1',
      `fields default ${metadata.uid} http://${status?.podIP}/`,
      'reached',
    ]);
    await instance.remove('fields');
  });

  it('runs as the numbers that securityContext gives', async () => {
    const context = { runAsUser: 33, runAsGroup: 44, supplementalGroups: [55], runAsNonRoot: true };
    assert.equal(await output('who', { ...shell('id -u; id -g; id -G'), securityContext: context }), '33\n44\n44 55\n');
  });

  it('refuses to run as root where it must not, naming the field, and runs when that is mended', async () => {
    await instance.create('nonroot', { ...base, ...shell('sleep 1000'), securityContext: { runAsNonRoot: true } });
    const { status } = await instance.waitFor(
      'nonroot',
      ({ reason }) => reason === 'CreateContainerConfigError',
      'refused',
    );
    assert.match(status?.message ?? '', /^spec\.securityContext\.runAsNonRoot: it must not run as root/);
    await instance.api('PATCH', `${containersPath}/nonroot`, { spec: { securityContext: { runAsUser: 33 } } });
    await instance.waitFor('nonroot', ({ state }) => state === 'Running', 'running');
    await instance.remove('nonroot');
  });

  it('writes hostAliases and dnsConfig, and follows a change of hostAliases without a restart', async () => {
    await instance.create('names', {
      ...base,
      ...shell('cat /etc/resolv.conf; while :; do grep a.example /etc/hosts; sleep 0.1; done'),
      hostAliases: [{ ip: '192.0.2.1', hostnames: ['a.example', 'b.example'] }],
      dnsPolicy: 'None',
      dnsConfig: { nameservers: ['192.0.2.53'], searches: ['corp.example'], options: [{ name: 'ndots', value: '3' }] },
    });
    await until(
      async () => (await instance.containerLog('names').catch(() => '')).includes('192.0.2.1\ta.example b.example'),
      'the aliases',
    );
    assert.match(
      await instance.containerLog('names'),
      /^search corp\.example\nnameserver 192\.0\.2\.53\noptions ndots:3\n/,
    );
    await instance.api('PATCH', `${containersPath}/names`, {
      spec: { hostAliases: [{ ip: '192.0.2.2', hostnames: ['a.example'] }] },
    });
    await until(async () => (await instance.containerLog('names')).includes('192.0.2.2\ta.example'), 'the change');
    assert.equal((await instance.get('names'))?.status?.restartCount, 0);
    await instance.remove('names');
  });

  it('shows an init as process 1', async () => {
    assert.match(
      await output('init', { ...shell('ps; true'), init: true }),
      /^ +1 root .*\.holdfast-init -- sh -c ps/m,
    );
  });

  const secretFile = async (): Promise<string> => {
    const path = join(instance.dataDir, 'password-of-the-test');
    await writeFile(path, password, { mode: 0o600 });
    return path;
  };
});

/** Processes of the host, not those in containers, whose arguments or environment hold the text. */
function findInProcesses(text: string): string[] {
  const own = readlinkSync('/proc/self/ns/pid');
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        if (args.includes(text)) return [args];
        if (readlinkSync(`/proc/${pid}/ns/pid`) !== own) return [];
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(text) ? [`environment of ${args}`] : [];
      } catch {
        return []; // It has ended meanwhile.
      }
    });
}

/** Regular files below a folder that hold the text; what is mounted below it is left out. */
function* findFiles(folder: string, text: string, device = statSync(folder).dev): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    try {
      if (entry.isDirectory() && statSync(path).dev === device) yield* findFiles(path, text, device);
      if (entry.isFile() && readFileSync(path).includes(text)) yield path;
    } catch {
      // It is gone meanwhile.
    }
  }
}

/** Whether others than root could read it: by its own mode, or by those of the folders above it. */
function isOpenToOthers(path: string): boolean {
  const modes = [];
  for (let at = path; at !== '/' && at !== '/tmp' && at !== '/run'; at = dirname(at)) modes.push(statSync(at).mode);
  return modes.every((mode) => (mode & 0o077) !== 0);
}
