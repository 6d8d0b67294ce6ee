/**
 * WordPress with MariaDB from the example's documents: read-only roots with two exceptions, passwords from a Secret that
 * are seen nowhere, data that outlives its containers, and a site with a database of its own for each client.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { load, loadAll } from 'js-yaml';
import { containersPath, type Instance, run } from '../instance.ts';
import { until } from '../until.ts';
import { importExampleImages } from './images.ts';
import { useInstance } from './use-instance.ts';

const provision = 'examples/client-sites/provision';

describe('WordPress with MariaDB', function () {
  this.timeout(420_000);
  const running = useInstance({ images: 'examples' });
  let instance: Instance;
  const passwords = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')] as const;

  before(async () => {
    instance = running();
    await importExampleImages(instance, 'wordpress');
  });

  const apply = async (args: readonly string[], input?: string): Promise<void> => {
    const { code, stderr } = await instance.kubectl(['apply', ...args], input === undefined ? {} : { input });
    assert.equal(code, 0, stderr);
  };
  const urlOf = async (name: string): Promise<string> => {
    const { status } = await instance.waitFor(name, ({ ports }) => ports !== undefined, 'published');
    return `http://127.0.0.1:${status?.ports?.[0]?.hostPort}`;
  };
  /** The page of a site, once it answers without an error. */
  const visit = async (name: string, path = '/'): Promise<string> => {
    const url = await urlOf(name);
    let text = '';
    await until(
      async () => {
        const answer = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
        if (answer?.ok !== true) return false;
        text = await answer.text();
        return true;
      },
      `the page of ${name}`,
      120_000,
    );
    return text;
  };
  /** Goes through WordPress's own installer, as its owner would in a browser. */
  const install = async (name: string, title: string): Promise<void> => {
    assert.match(await visit(name), /<title>WordPress[^<]*Installation<\/title>/);
    const form = {
      weblog_title: title,
      user_name: 'owner',
      admin_password: 'a password of the test',
      admin_password2: 'a password of the test',
      pw_weak: '1',
      admin_email: 'owner@example.com',
      blog_public: '0',
    };
    const url = await urlOf(name);
    const body = new URLSearchParams(form);
    const answer = await fetch(`${url}/wp-admin/install.php?step=2`, { method: 'POST', body });
    assert.match(await answer.text(), /Success!/);
    assert.match(await visit(name), new RegExp(`<title>${title}`));
  };
  const execIn = (name: string, ...command: string[]) => instance.kubectl(['exec', name, '--', ...command]);
  /** A site of the example with a change to its spec. */
  const siteWith = async (name: string, change: Readonly<Record<string, unknown>>): Promise<void> => {
    const document = load(await readFile('examples/wordpress/site.yaml', 'utf8')) as { spec: Record<string, unknown> };
    await instance.create(name, { ...document.spec, restartPolicy: 'Never', ...change });
  };

  it('waits for the Secret and says so, and starts when it is there', async () => {
    await apply(['-f', 'examples/wordpress/']);
    const waiting = await instance.waitFor(
      'wpdb',
      ({ reason }) => reason === 'CreateContainerConfigError',
      'waiting for its Secret',
    );
    assert.match(waiting.status?.message ?? '', /wordpress-db/);
    const data = { 'root-password': passwords[0], 'site-password': passwords[1] };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'wordpress-db' }, stringData: data };
    assert.equal((await instance.api('POST', '/api/v1/namespaces/default/secrets', secret)).status, 201);
    for (const name of ['wpdb', 'wp']) await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
  });

  it('answers on its published port, and can be installed', async () => {
    await install('wp', 'The first site');
  });

  it('has a read-only root with two exceptions', async () => {
    for (const path of ['/x', '/etc/x', '/usr/share/wordpress/wp-content/x', '/run/x']) {
      const { code, stderr } = await execIn('wp', 'touch', path);
      assert.notEqual(code, 0, path);
      assert.match(stderr, /Read-only file system/);
    }
    for (const path of ['/run/apache2/x', '/run/lock/apache2/x']) {
      const { code, stderr } = await execIn('wp', 'touch', path);
      assert.equal(code, 0, stderr);
    }
  });

  it('ends with Read-only file system in its log when the two exceptions are taken away', async () => {
    await siteWith('wp2', { volumes: [], volumeMounts: [] });
    await instance.waitFor('wp2', ({ state }) => state === 'Exited', 'over', 120_000);
    assert.match(await instance.containerLog('wp2'), /Read-only file system/);
  });

  it('ends with the words of the book when nobody tells it where the database is', async () => {
    await siteWith('wp0', { links: [], env: [] });
    const { status } = await instance.waitFor('wp0', ({ state }) => state === 'Exited', 'over');
    assert.equal(status?.exitCode, 1);
    assert.match(
      await instance.containerLog('wp0'),
      /error: missing WORDPRESS_DB_HOST and MYSQL_PORT_3306_TCP environment variables/,
    );
  });

  it('runs its entrypoint first, which can be replaced to look at it', async () => {
    const spec = { image: 'localhost/wordpress:latest', imagePullPolicy: 'Never', restartPolicy: 'Never' };
    await instance.create('by-args', { ...spec, args: ['cat', '/entrypoint.sh'] });
    await instance.create('by-command', { ...spec, command: ['cat'], args: ['/entrypoint.sh'] });
    await instance.waitFor('by-args', ({ exitCode }) => exitCode === 1, 'failed by its entrypoint');
    assert.match(await instance.containerLog('by-args'), /error: missing WORDPRESS_DB_HOST/);
    await instance.waitFor('by-command', ({ exitCode }) => exitCode === 0, 'done');
    assert.equal(
      await instance.containerLog('by-command'),
      await readFile('examples/wordpress/images/wordpress/entrypoint.sh', 'utf8'),
    );
  });

  it('shows the passwords in no object but the Secret, no log, no event and no process list', async () => {
    const paths = ['/api/v1/pods', '/api/v1/events', '/apis/holdfast.dev/v1/containers'];
    const texts = new Map<string, string>();
    for (const path of paths) texts.set(path, (await instance.api('GET', path)).text);
    for (const name of ['wp', 'wpdb']) texts.set(`log of ${name}`, await instance.containerLog(name));
    texts.set('log of the daemon', instance.log);
    texts.set('metrics', await instance.metrics());
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      texts.set(`arguments of ${pid}`, await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')); // ended just now
    }
    assert.match(texts.get(paths[2] ?? '') ?? '', /secretKeyRef/);
    for (const [what, text] of texts) {
      for (const password of passwords) {
        assert.ok(!text.includes(password), `${what} shows a password`);
        assert.ok(!text.includes(Buffer.from(password).toString('base64')), `${what} shows a password in base64`);
      }
    }
  });

  it('keeps its data when both are deleted and applied again', async () => {
    await instance.kubectl(['delete', '-f', 'examples/wordpress/', '--timeout=60s']);
    assert.equal((await instance.api('GET', `${containersPath}/wpdb`)).status, 404);
    await apply(['-f', 'examples/wordpress/']);
    assert.match(await visit('wp'), /<title>The first site/);
  });

  it('follows the database to its new address when only that is started again', async () => {
    const patch = (desiredState: string) => [
      'patch',
      'ctr',
      'wpdb',
      '--type=merge',
      '-p',
      JSON.stringify({ spec: { desiredState } }),
    ];
    const before = (await instance.get('wp'))?.status?.pid;
    await instance.kubectl(patch('Stopped'));
    await instance.waitFor('wpdb', ({ state }) => state === 'Exited', 'stopped');
    await instance.kubectl(patch('Running'));
    await instance.waitFor('wpdb', ({ state }) => state === 'Running', 'running');
    assert.match(await visit('wp'), /<title>The first site/);
    assert.equal((await instance.get('wp'))?.status?.pid, before);
  });

  describe('a site for each client', () => {
    const clients = ['alice', 'bob'];

    before(async () => {
      await apply(['-f', 'examples/website-monitor/mailer.yaml']);
      for (const client of clients) {
        const { code, stdout, stderr } = await run(provision, [client]);
        assert.equal(code, 0, stderr);
        assert.equal(loadAll(stdout).length, 2);
        await apply(['-f', '-'], stdout);
      }
    });

    it('is a site with a database of its own, watched by an agent of its own', async () => {
      for (const client of clients) await install(`wp-${client}`, `The site of ${client}`);
      for (const client of clients) {
        assert.match(await visit(`wp-${client}`), new RegExp(`<title>The site of ${client}`));
        await until(
          // It may not have started yet.
          async () => (await instance.containerLog(`agent-${client}`).catch(() => '')).includes('System up.'),
          `the agent of ${client} to see its site`,
          240_000,
        );
      }
    });

    for (const client of ['', '../x', 'Alice', 'a b', '1a', 'x'.repeat(41)]) {
      it(`is refused to ${JSON.stringify(client)}`, async () => {
        const { code, stdout, stderr } = await run(provision, client === '' ? [] : [client]);
        assert.equal(code, 2);
        assert.equal(stdout, '');
        assert.notEqual(stderr, '');
      });
    }
  });
});
