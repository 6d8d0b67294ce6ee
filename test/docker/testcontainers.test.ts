/** testcontainers for Node, which starts containers for the tests of others: waits, ports, copies, networks. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { useInstance } from '../e2e/use-instance.ts';

const image = 'localhost/busybox:latest';

type Testcontainers = typeof import('testcontainers');

describe('testcontainers', function () {
  this.timeout(240_000);
  const instance = useInstance({ images: 'busybox' });
  const former = { ...process.env };
  let tc: Testcontainers;

  before(async () => {
    process.env.DOCKER_HOST = `unix://${join(instance().runDir, 'docker.sock')}`;
    process.env.DOCKER_CONFIG = instance().dataDir;
    // The container that cleans up behind it is an image of Docker's registry.
    process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';
    // It takes the machine that has a /.dockerenv for a container.
    process.env.TESTCONTAINERS_HOST_OVERRIDE = '127.0.0.1';
    // What it reads of the environment, it reads once.
    tc = await import('testcontainers');
  });
  after(() => {
    for (const name of Object.keys(process.env)) if (!(name in former)) delete process.env[name];
    Object.assign(process.env, former);
  });

  it('starts a server, waits for its words and its port, looks into it, and stops it', async () => {
    const script =
      'mkdir /www; echo "hello of $WHO" > /www/index.html; echo ready to serve; exec httpd -f -p 8080 -h /www';
    const started = await new tc.GenericContainer(image)
      .withCommand(['sh', '-c', script])
      .withEnvironment({ WHO: 'a test' })
      .withLabels({ 'com.example.Kind': 'test' })
      .withExposedPorts(8080)
      .withCopyContentToContainer([{ content: 'copied before the start', target: '/tmp/copied' }])
      .withWaitStrategy(tc.Wait.forAll([tc.Wait.forLogMessage('ready to serve'), tc.Wait.forListeningPorts()]))
      .start();
    try {
      const address = (): string => `http://${started.getHost()}:${started.getMappedPort(8080)}/`;
      assert.equal(await (await fetch(address())).text(), 'hello of a test\n');
      assert.equal(started.getHostname(), started.getId().slice(0, 12));
      assert.equal((await started.exec(['cat', '/tmp/copied'])).output, 'copied before the start');
      const failed = await started.exec(['sh', '-c', 'echo $WHO; echo no >&2; exit 3']);
      assert.deepEqual(
        { code: failed.exitCode, out: failed.stdout, err: failed.stderr },
        { code: 3, out: 'a test\n', err: 'no\n' },
      );
      await started.copyContentToContainer([{ content: 'later', target: '/www/later' }]);
      assert.equal(await (await fetch(`${address()}later`)).text(), 'later');
      await started.restart();
      assert.equal(await (await fetch(address())).text(), 'hello of a test\n');
    } finally {
      await started.stop();
    }
  });

  it('says so when a container does not become what is waited for', async () => {
    const failing = new tc.GenericContainer(image)
      .withCommand(['sh', '-c', 'echo it is broken; exit 1'])
      .withWaitStrategy(tc.Wait.forLogMessage('never said'))
      .withStartupTimeout(30_000);
    await assert.rejects(failing.start(), /Log stream ended and message "never said" was not received|exited/);
  });

  it('joins containers by a network and their aliases, and waits for the health that one tells of', async () => {
    const network = await new tc.Network().start();
    const server = await new tc.GenericContainer(image)
      .withNetwork(network)
      .withNetworkAliases('db')
      .withCommand(['sh', '-c', 'while true; do echo from the db | nc -l -p 5000; done'])
      .start();
    const client = await new tc.GenericContainer(image)
      .withNetwork(network)
      .withTmpFs({ '/scratch': 'rw' })
      .withCommand(['sleep', '1000'])
      .withHealthCheck({
        test: ['CMD-SHELL', 'nc -w 3 db 5000 < /dev/null > /scratch/heard && grep -q db /scratch/heard'],
        interval: 500,
        timeout: 5_000,
        retries: 100,
        startPeriod: 0,
      })
      .withWaitStrategy(tc.Wait.forHealthCheck())
      .start();
    assert.equal((await client.exec(['cat', '/scratch/heard'])).output, 'from the db\n');
    for (const container of [client, server]) await container.stop();
    await network.stop();
  });

  it('leaves nothing', async () => {
    const client = await tc.getContainerRuntimeClient();
    assert.deepEqual(await client.container.dockerode.listContainers({ all: true }), []);
    const networks = await client.container.dockerode.listNetworks();
    assert.deepEqual(networks.map(({ Name }) => Name).sort(), ['bridge', 'host', 'none']);
  });
});
