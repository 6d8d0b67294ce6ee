/** Credentials of registries: which go with an image (pure), and pulls from a real registry that asks for them. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatAuthFile, hasCredentialFor, matchCredentials, parsePlace } from '../../runtime/images/credentials.ts';
import type { ImagePullError, RegistryCredential } from '../../runtime/interface.ts';
import { type BuiltImage, buildBusyboxImage } from '../images.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import {
  openStore,
  patient,
  processesWith,
  type RegistryProxy,
  run,
  type StoreFixture,
  startProxy,
} from './images-fixture.ts';

const of = (registry: string, username = registry): RegistryCredential => ({ registry, username, password: 'p' });

describe('parsePlace', () => {
  const rows: readonly (readonly [string, string, string])[] = [
    ['registry.example', 'registry.example', ''],
    ['https://index.docker.io/v1/', 'docker.io', ''],
    ['https://registry-1.docker.io/v2/', 'docker.io', ''],
    ['http://Registry.Example:5000/', 'registry.example:5000', ''],
    ['registry.example/v1beta/team', 'registry.example', 'v1beta/team'],
    ['registry.example/v2/team/', 'registry.example', 'team'],
    ['*.example.com/a', '*.example.com', 'a'],
    ['', '', ''],
  ];
  for (const [text, host, path] of rows)
    it(`reads ${JSON.stringify(text)}`, () => assert.deepEqual(parsePlace(text), { host, path }));
});

describe('matchCredentials', () => {
  const rows: readonly { image: readonly [string, string]; given: readonly string[]; want: readonly string[] }[] = [
    {
      image: ['docker.io', 'library/web'],
      given: ['https://index.docker.io/v1/', 'quay.io'],
      want: ['https://index.docker.io/v1/'],
    },
    { image: ['r.io:5000', 'a/b'], given: ['r.io', 'r.io:5000'], want: ['r.io:5000'] },
    {
      image: ['r.io', 'a/b'],
      given: ['r.io', 'r.io/a', 'r.io/a/b', 'r.io/a/bc'],
      want: ['r.io/a/b', 'r.io/a', 'r.io'],
    },
    {
      image: ['a.r.io', 'x'],
      given: ['*.r.io', 'r.io', '*.io', '*', 'b*.r.io', 'a*.r.io'],
      want: ['*.r.io', 'a*.r.io'],
    },
    {
      image: ['abcba.io', 'x'],
      given: ['a*b*a.io', 'a*bcb*cba.io', '*c*.io', 'ab*ba.io', 'abcb*cba.io'],
      want: ['a*b*a.io', '*c*.io', 'ab*ba.io'],
    },
    { image: ['r.io:5000', 'x'], given: ['*.io', '*.io:5000'], want: ['*.io:5000'] },
    { image: ['r.io', 'x'], given: [], want: [] },
    { image: ['R.io', 'x'], given: ['r.IO'], want: ['r.IO'] },
  ];
  for (const { image, given, want } of rows) {
    const [registry, repository] = image;
    it(`of ${given.join(', ')} takes ${want.join(', ') || 'none'} for ${image.join('/')}`, () => {
      const found = matchCredentials(
        { registry, repository },
        given.map((one) => of(one)),
      );
      assert.deepEqual(
        found.map((one) => one.registry),
        want,
      );
    });
  }
  it('tries one pair once', () => {
    const given = [of('r.io', 'me'), of('r.io/a', 'me'), of('r.io', 'you')];
    const found = matchCredentials({ registry: 'r.io', repository: 'a' }, given);
    assert.deepEqual(
      found.map(({ registry, username }) => [registry, username]),
      [
        ['r.io/a', 'me'],
        ['r.io', 'you'],
      ],
    );
  });
});

describe('the auth file for one attempt', () => {
  const reference = { registry: 'r.io', repository: 'a/b' };
  it('gives the chosen one for the image itself, and keeps what mirrors may want', () => {
    const hostFile = {
      auths: { 'r.io/a/b': { auth: 'old' }, 'mirror.io': { auth: 'm' } },
      credHelpers: { 'r.io': 'x', 'h.io': 'y' },
    };
    const text = formatAuthFile({
      reference,
      credential: of('r.io', 'me'),
      others: [of('other.io/t'), of('*.io')],
      hostFile,
    });
    const auth = (name: string) => ({ auth: Buffer.from(`${name}:p`).toString('base64') });
    assert.deepEqual(JSON.parse(text), {
      auths: { 'r.io/a/b': auth('me'), 'mirror.io': { auth: 'm' }, 'other.io/t': auth('other.io/t') },
      credHelpers: { 'h.io': 'y' },
    });
  });
  it("takes a host's file that is none for empty", () => {
    for (const hostFile of [undefined, null, 'x', [], { auths: 'x' }]) {
      const { auths } = JSON.parse(formatAuthFile({ reference, credential: of('r.io'), others: [], hostFile }));
      assert.deepEqual(Object.keys(auths), ['r.io/a/b']);
      assert.equal(hasCredentialFor(hostFile, reference), false);
    }
  });
  it('knows whether the host has one', () => {
    assert.ok(hasCredentialFor({ auths: { 'https://r.io/v2/': {} } }, reference));
    assert.ok(hasCredentialFor({ auths: { 'r.io/a': {} } }, reference));
    assert.ok(hasCredentialFor({ credHelpers: { 'r.io': 'x' } }, reference));
    assert.ok(hasCredentialFor({ credsStore: 'x' }, reference));
    assert.ok(!hasCredentialFor({ auths: { 'r.io/b': {}, 's.io': {} } }, reference));
  });
});

describe('pulls with credentials', function () {
  this.timeout(240_000);
  const htpasswdLine = 'user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a';
  const password = 'secret';
  let dir: string;
  let locked: TestRegistry;
  let proxy: RegistryProxy;
  let image: BuiltImage;
  let digest: string;
  let conf: string;
  let opened: StoreFixture[] = [];
  const open = async (deps: Parameters<typeof openStore>[0] = {}) => {
    const fixture = await openStore({ registriesConf: conf, authFiles: [join(dir, 'none.json')], ...deps });
    opened.push(fixture);
    return fixture;
  };
  const right = (): RegistryCredential => ({ registry: locked.address, username: 'user', password });
  const wrong = (): RegistryCredential => ({ registry: locked.address, username: 'user', password: 'xyzzy-wrong' });
  const authFolder = ({ dir: base }: StoreFixture) => join(base, 'run', 'holdfast-auth');

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
    locked = await startRegistry({ htpasswdLine });
    proxy = await startProxy(locked);
    image = await buildBusyboxImage({ dir });
    const authFile = join(dir, 'auth.json');
    const auth = Buffer.from(`user:${password}`).toString('base64');
    await writeFile(authFile, JSON.stringify({ auths: { [locked.address]: { auth } } }));
    const target = `docker://${locked.address}/library/web:1`;
    const options = ['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false', '--dest-authfile', authFile];
    const digestFile = join(dir, 'digest');
    await run('skopeo', [...options, '--digestfile', digestFile, image.reference, target]);
    digest = (await readFile(digestFile, 'utf8')).trim();
    conf = join(dir, 'registries.conf');
    const insecure = `[[registry]]\nlocation = "${proxy.address}"\ninsecure = true\n`;
    await writeFile(conf, (await readFile(locked.registriesConf, 'utf8')) + insecure);
  });
  after(async () => {
    await proxy.close();
    await locked.close();
    await rm(dir, { recursive: true, force: true });
  });
  afterEach(async () => {
    proxy.setMode('pass');
    for (const fixture of opened) await fixture.close();
    opened = [];
  });

  for (const by of ['tag', 'digest', 'tag and digest'] as const) {
    it(`by ${by}`, async () => {
      const fixture = await open();
      const suffix = { tag: ':1', digest: `@${digest}`, 'tag and digest': `:9@${digest}` }[by];
      const reference = `${locked.address}/library/web${suffix}`;
      const info = await fixture.store.ensure(reference, 'always', patient(), { credentials: [right()] });
      assert.equal(info.id, image.id);
      assert.deepEqual(await readdir(authFolder(fixture)), []);
      assert.equal(
        (await fixture.store.ensure(reference, 'if-not-present', patient())).id,
        image.id,
        'present needs none',
      );
    });
  }

  it('tell apart no credentials, wrong ones, a missing tag and a wrong digest', async () => {
    const { store } = await open();
    const reference = `${locked.address}/library/web`;
    const problems: string[] = [];
    const rows: readonly [string, readonly RegistryCredential[], ImagePullError['kind']][] = [
      [`${reference}:1`, [], 'unauthorized'],
      [`${reference}:1`, [wrong()], 'unauthorized'],
      [`${reference}:9`, [wrong(), { ...right(), registry: `${locked.address}/` }], 'not-found'],
      [`${reference}@sha256:${'0'.repeat(64)}`, [right()], 'not-found'],
    ];
    for (const [name, credentials, kind] of rows) {
      await assert.rejects(store.ensure(name, 'always', patient(), { credentials }), (error: ImagePullError) => {
        assert.equal(error.kind, kind, error.message);
        assert.ok(!error.message.includes('xyzzy-wrong'), 'the password stands in the message');
        problems.push(error.message.replace(/^cannot pull image "[^"]*": /, ''));
        return true;
      });
    }
    assert.equal(new Set(problems).size, rows.length, problems.join('\n'));
  });

  it('try every one that matches, then the host', async () => {
    const reference = `${locked.address}/library/web:1`;
    const { store } = await open();
    const credentials = [
      wrong(),
      { ...right(), registry: 'other.example' },
      { ...right(), registry: `http://${locked.address}/` },
    ];
    assert.equal((await store.ensure(reference, 'always', patient(), { credentials })).id, image.id);
    const withHost = await open({ authFiles: [join(dir, 'none.json'), join(dir, 'auth.json')] });
    assert.equal(
      (await withHost.store.ensure(reference, 'always', patient(), { credentials: [wrong()] })).id,
      image.id,
    );
    assert.equal((await withHost.store.ensure(reference, 'always', patient())).id, image.id);
  });

  it('reach a mirror', async () => {
    const { store } = await open();
    const credentials = [right(), { registry: 'docker.io', username: 'hub', password: 'hub' }];
    assert.equal((await store.ensure('web:1', 'always', patient(), { credentials })).id, image.id);
  });

  it('stand in no argument list, and in a file that only root can read, which goes with the pull', async () => {
    const fixture = await open();
    proxy.setMode('stall');
    const stop = new AbortController();
    const credentials = [{ ...right(), registry: proxy.address }];
    const pull = fixture.store.ensure(`${proxy.address}/library/web:1`, 'always', stop.signal, { credentials });
    const ended = assert.rejects(pull, /enough/);
    await proxy.stalled(1);
    const [file = ''] = await readdir(authFolder(fixture));
    assert.equal((await stat(join(authFolder(fixture), file))).mode & 0o777, 0o600);
    assert.equal((await stat(authFolder(fixture))).mode & 0o777, 0o700);
    assert.ok((await processesWith(file)).length >= 1, 'skopeo is told of the file');
    for (const text of [`user:${password}`, Buffer.from(`user:${password}`).toString('base64')])
      assert.deepEqual(await processesWith(text), []);
    stop.abort(new Error('enough'));
    await ended;
    await fixture.store.close();
    assert.deepEqual(await readdir(authFolder(fixture)), []);
  });

  it('left by a killed process are removed at the next start', async () => {
    const fixture = await open();
    await fixture.store.close();
    await writeFile(join(authFolder(fixture), '999999999-aa.json'), 'x', { mode: 0o600 });
    await fixture.reopen();
    assert.deepEqual(await readdir(authFolder(fixture)), []);
  });

  it('are shared by those who have the same, and by no others', async () => {
    const fixture = await open();
    const reference = `${locked.address}/library/web:1`;
    const ask = (credentials: readonly RegistryCredential[]) =>
      fixture.store.ensure(reference, 'always', patient(), { credentials });
    const unrelated = { ...wrong(), registry: 'unrelated.example' };
    const [first, second, refused] = await Promise.allSettled([
      ask([right()]),
      ask([right(), unrelated]),
      ask([wrong()]),
    ]);
    assert.deepEqual([first?.status, second?.status, refused?.status], ['fulfilled', 'fulfilled', 'rejected']);
    assert.deepEqual([await fixture.pullCount('success'), await fixture.pullCount('error')], [1, 1]);
  });
});
