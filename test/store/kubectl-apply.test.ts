/** Apply as the real kubectl does it, the newest of this machine and 1.20: on the server, over from the client, pruned. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsonObject } from '../../store/json.ts';
import { kubectl, kubectl120 } from '../tools.ts';
import { type Client, containers, type Fixture, metaOf, startStore } from './fixture.ts';
import { createKubectlHome, type KubectlHome } from './kubectl-home.ts';

const maps = '/api/v1/namespaces/default/configmaps';

const map = (name: string, data: string, labels = 'app: site') =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, labels: { ${labels} } }\ndata: { ${data} }\n`;

for (const { version, program, pruned } of [
  { version: 'of this machine', program: kubectl, pruned: '--prune-allowlist=core/v1/ConfigMap' },
  { version: '1.20', program: kubectl120, pruned: '--prune-whitelist=core/v1/ConfigMap' },
]) {
  describe(`store: kubectl apply ${version}`, () => {
    let fixture: Fixture;
    let client: Client;
    let home: KubectlHome;
    let file: string;
    before(async () => {
      fixture = await startStore();
      client = fixture.client;
      home = await createKubectlHome(program(), fixture.store);
      file = join(home.dir, 'map.yaml');
    });
    after(async () => {
      await fixture.close();
      await home.close();
    });

    const run = (...args: readonly string[]) => home.run(...args);
    const ok = (...args: readonly string[]) => home.ok(...args);
    const dataOf = async (name: string) => (await client.expect(200, 'GET', `${maps}/${name}`)).data;

    it('goes over from client-side apply, and then removes what the document no longer has', async () => {
      await writeFile(file, map('over', 'a: "1", b: "2"'));
      assert.match(await ok('apply', '-f', file), /configmap\/over created/);
      await client.expect(200, 'PATCH', `${maps}/over`, {
        body: { data: { own: 'x' } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
      assert.match(await ok('apply', '--server-side', '-f', file), /configmap\/over serverside-applied/);
      await writeFile(file, map('over', 'a: "3"'));
      assert.match(await ok('apply', '--server-side', '-f', file), /configmap\/over serverside-applied/);
      const isMoved = version !== '1.20'; // the older one leaves the fields of client-side apply where they are
      assert.deepEqual(await dataOf('over'), isMoved ? { a: '3', own: 'x' } : { a: '3', b: '2', own: 'x' });
      const before = metaOf(await client.expect(200, 'GET', `${maps}/over`)).resourceVersion;
      await ok('apply', '--server-side', '-f', file);
      assert.equal(metaOf(await client.expect(200, 'GET', `${maps}/over`)).resourceVersion, before);
    });

    it('prints whom an apply is in conflict with', async () => {
      await writeFile(file, map('over', 'own: "mine"'));
      const refused = await run('apply', '--server-side', '-f', file);
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr, /Apply failed with 1 conflict: conflict with "unknown" using v1: \.data\.own/);
      assert.match(await ok('apply', '--server-side', '--force-conflicts', '-f', file), /serverside-applied/);
      assert.equal(((await dataOf('over')) as JsonObject).own, 'mine');
    });

    it('shows what an apply on the server would change, and tries it without doing it', async () => {
      await writeFile(file, map('over', 'own: "other"'));
      const difference = await run('diff', '--server-side', '-f', file);
      assert.equal(difference.code, 1, difference.stderr);
      assert.match(difference.stdout, /-\s+own: mine\n\+\s+own: other/);
      assert.match(
        await ok('apply', '--server-side', '--dry-run=server', '-f', file),
        /serverside-applied \(server dry run\)/,
      );
      assert.equal(((await dataOf('over')) as JsonObject).own, 'mine');
      await ok('apply', '--server-side', '-f', file);
      assert.equal((await run('diff', '--server-side', '-f', file)).code, 0);
    });

    it('shows the managers on request', async () => {
      const shown = version === '1.20' ? [] : ['--show-managed-fields'];
      const text = await ok('get', 'cm', 'over', '-o', 'yaml', ...shown);
      assert.match(text, /manager: kubectl\n\s+operation: Apply/);
    });

    it('applies containers, their lists by key', async () => {
      const web = (env: string) =>
        `apiVersion: holdfast.dev/v1\nkind: Container\nmetadata: { name: web }\nspec:\n  image: nginx\n  env: [${env}]\n`;
      await writeFile(file, web('{ name: a, value: "1" }, { name: b, value: "2" }'));
      assert.match(await ok('apply', '--server-side', '-f', file), /container\.holdfast\.dev\/web serverside-applied/);
      assert.match(await ok('apply', '--server-side', '--field-manager=team', '-f', file), /serverside-applied/);
      await writeFile(file, web('{ name: b, value: "2" }'));
      await ok('apply', '--server-side', '-f', file);
      const { spec } = await client.expect(200, 'GET', `${containers}/web`);
      assert.equal(((spec as JsonObject).env as readonly JsonObject[]).length, 2);
      await ok('apply', '--server-side', '--field-manager=team', '-f', file);
      const after = await client.expect(200, 'GET', `${containers}/web`);
      assert.deepEqual((after.spec as JsonObject).env, [{ name: 'b', value: '2' }]);
    });

    it('prunes what is no longer in the documents', async () => {
      await writeFile(file, `${map('one', 'a: b', 'set: p')}---\n${map('two', 'a: b', 'set: p')}`);
      await ok('apply', '-f', file);
      await writeFile(file, map('one', 'a: b', 'set: p'));
      assert.match(await ok('apply', '--prune', '-l', 'set=p', pruned, '-f', file), /configmap\/two pruned/);
      await client.expect(404, 'GET', `${maps}/two`);
      await client.expect(200, 'GET', `${maps}/one`);
    });
  });
}
