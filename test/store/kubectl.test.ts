/** The store as the real kubectl sees it, the newest of this machine and 1.20. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsonObject } from '../../store/json.ts';
import { kubectl, kubectl120 } from '../tools.ts';
import { until } from '../until.ts';
import { type Client, containers, type Fixture, metaOf, startStore } from './fixture.ts';
import { createKubectlHome, type KubectlHome } from './kubectl-home.ts';

const web = `apiVersion: holdfast.dev/v1
kind: Container
metadata: { name: web, labels: { app: site } }
spec:
  image: nginx
  ports: [{ containerPort: 80, protocol: TCP }]
`;

for (const { version, program } of [
  { version: 'of this machine', program: kubectl },
  { version: '1.20', program: kubectl120 },
]) {
  describe(`store: kubectl ${version}`, () => {
    let fixture: Fixture;
    let client: Client;
    let home: KubectlHome;
    let file: string;

    before(async () => {
      fixture = await startStore();
      client = fixture.client;
      home = await createKubectlHome(program(), fixture.store, { KUBE_EDITOR: 'sed -i s/nginx/edited/' });
      file = join(home.dir, 'web.yaml');
      await writeFile(file, web);
    });
    after(async () => {
      await fixture.close();
      await home.close();
    });

    const run = (...args: readonly string[]) => home.run(...args);
    const ok = (...args: readonly string[]) => home.ok(...args);
    const setStatus = (status: JsonObject) =>
      client.expect(200, 'PATCH', `${containers}/web/status`, {
        body: { status },
        headers: { 'content-type': 'application/merge-patch+json' },
      });

    it('finds the kinds, by their short names and categories too', async () => {
      const resources = await ok('api-resources', '--no-headers');
      assert.match(resources, /^containers\s+ctr\s+holdfast\.dev\/v1\s+true\s+Container/m);
      assert.match(resources, /^namespaces\s+ns\s+v1\s+false\s+Namespace/m);
      assert.match(await ok('api-versions'), /^holdfast\.dev\/v1$/m);
      assert.match(await ok('version'), /1\.32\.0\+holdfast/);
    });

    it('applies a document, and finds nothing to do the second time', async () => {
      assert.equal(await ok('apply', '-f', file), 'container.holdfast.dev/web created\n');
      assert.equal(await ok('apply', '-f', file), 'container.holdfast.dev/web unchanged\n');
      const changed = join(home.dir, 'changed.yaml');
      await writeFile(changed, web.replace('app: site', 'app: site, tier: front'));
      assert.equal((await run('diff', '-f', changed)).code, 1);
      assert.equal(await ok('apply', '-f', changed), 'container.holdfast.dev/web configured\n');
      assert.equal((await run('diff', '-f', changed)).code, 0);
      assert.match(await ok('apply', '--dry-run=server', '-f', file), /web configured \(server dry run\)/);
      assert.equal(await ok('get', 'ctr', 'web', '-o', 'jsonpath={.metadata.labels.tier}'), 'front');
    });

    it('shows the columns of the definition', async () => {
      await setStatus({ state: 'Running', restartCount: 2, podIP: '10.76.0.2', nodeName: 'here' });
      const [head = '', row = ''] = (await ok('get', 'ctr')).split('\n');
      assert.deepEqual(head.split(/\s+/), [
        'NAME',
        'STATE',
        'REASON',
        'RESTARTS',
        'EXIT',
        'NEXT-RESTART',
        'IP',
        'NODE',
        'IMAGE',
        'AGE',
      ]);
      assert.match(row, /^web\s+Running\s+2\s+10\.76\.0\.2\s+here\s+nginx\s+\d+(s|m(\d+s)?)$/);
      assert.match(await ok('get', 'all'), /web\s+Running/);
      assert.match(await ok('get', 'ctr,cm', '-A', '-l', 'app=site'), /default\s+container\.holdfast\.dev\/web/);
      assert.equal(
        await ok('get', 'ctr', '--field-selector', 'metadata.name=web', '-o', 'name'),
        'container.holdfast.dev/web\n',
      );
      assert.match(await ok('get', 'ns'), /^default\s+Active\s+\d+(s|m(\d+s)?)$/m);
    });

    it('follows changes', async () => {
      const child = spawn(program(), ['get', 'ctr', 'web', '-w'], {
        env: { ...process.env, ...home.env },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let seen = '';
      child.stdout.on('data', (chunk: Buffer) => {
        seen += chunk.toString();
      });
      await until(() => /web\s+Running/.test(seen), 'the first row');
      await setStatus({ state: 'Exited', reason: 'Completed', exitCode: 0 });
      await until(() => /web\s+Exited\s+Completed\s+2\s+0/.test(seen), 'the change');
      child.kill();
    });

    it('waits for a condition', async () => {
      const waiting = ok('wait', '--for=condition=Ready', 'ctr/web', '--timeout=60s');
      const condition = {
        type: 'Ready',
        status: 'True',
        reason: 'Up',
        message: '',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      };
      await setStatus({ conditions: [condition] });
      assert.match(await waiting, /condition met/);
    });

    it('describes it with its events', async () => {
      const { uid } = metaOf(await client.expect(200, 'GET', `${containers}/web`));
      const about = {
        apiVersion: 'holdfast.dev/v1',
        kind: 'Container',
        name: 'web',
        namespace: 'default',
        uid: uid ?? '',
      };
      const at = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
      const event = {
        metadata: { name: 'web.1' },
        involvedObject: about,
        reason: 'Started',
        message: 'it runs',
        type: 'Normal',
        count: 3,
        firstTimestamp: at,
        lastTimestamp: at,
        source: { component: 'holdfast' },
      };
      await client.expect(201, 'POST', '/api/v1/namespaces/default/events', { body: event });
      const text = await ok('describe', 'ctr', 'web');
      assert.match(text, /Image:\s+nginx/);
      assert.match(text, /Normal\s+Started\s+\S+( \(x3 over \S+\))?\s+holdfast\s+it runs/);
      assert.match(await ok('get', 'events'), /Normal\s+Started\s+container\/web\s+it runs/);
      assert.match(
        await ok('get', 'events', '--field-selector', 'involvedObject.name=web', '-o', 'name'),
        /event\/web\.1/,
      );
    });

    it('explains every field', async () => {
      const text = await ok('explain', 'ctr.spec.backoff');
      assert.match(text, /FIELDS:/);
      assert.match(text, /factor\s+<number>/);
      assert.match(text, /What the wait is multiplied by/);
      assert.match(await ok('explain', 'secret.stringData'), /Data as plain text/);
      assert.match(await ok('explain', 'ctr.metadata.ownerReferences'), /Objects that this one depends on/);
    });

    it('edits, labels, annotates and patches', async () => {
      assert.match(await ok('edit', 'ctr', 'web'), /edited/);
      assert.equal(await ok('get', 'ctr', 'web', '-o', 'jsonpath={.spec.image}'), 'edited');
      assert.match(await ok('label', 'ctr', 'web', 'a=b'), /labeled/);
      assert.match(await ok('label', 'ctr', 'web', 'a-'), /label/);
      assert.match(await ok('annotate', 'ctr', 'web', 'a.b/c=d e'), /annotated/);
      assert.match(await ok('patch', 'ctr', 'web', '--type=merge', '-p', '{"spec":{"image":"nginx"}}'), /patched/);
      assert.match(
        await ok('patch', 'ctr', 'web', '--type=json', '-p', '[{"op":"remove","path":"/metadata/annotations/a.b~1c"}]'),
        /patched/,
      );
    });

    it('says what is wrong with a document', async () => {
      const bad = join(home.dir, 'bad.yaml');
      await writeFile(bad, web.replace('image: nginx', 'image: nginx\n  imagePolicy: x'));
      const unknown = await run('apply', '-f', bad);
      assert.notEqual(unknown.code, 0);
      assert.match(unknown.stderr, /unknown field "?(spec\.)?imagePolicy"?/);
      await writeFile(bad, web.replace('image: nginx', 'image: nginx\n  backoff: { factor: 0.5 }'));
      const invalid = await run('apply', '-f', bad);
      assert.notEqual(invalid.code, 0);
      assert.match(
        invalid.stderr,
        /is invalid: spec\.backoff\.factor: Invalid value: 0\.5: spec\.backoff\.factor in body should be greater/,
      );
    });

    it('creates, changes and removes core kinds', async () => {
      assert.match(await ok('create', 'ns', 'team'), /namespace\/team created/);
      assert.match(await ok('-n', 'team', 'create', 'configmap', 'c', '--from-literal=a=b'), /created/);
      assert.match(await ok('-n', 'team', 'create', 'secret', 'generic', 's', '--from-literal=p=w'), /created/);
      assert.equal(
        await ok('-n', 'team', 'get', 'secret', 's', '-o', 'jsonpath={.data.p}'),
        Buffer.from('w').toString('base64'),
      );
      assert.match(await ok('-n', 'team', 'get', 'secret'), /^s\s+Opaque\s+1\s+\d+(s|m(\d+s)?)$/m);
      assert.match(await ok('-n', 'team', 'get', 'cm'), /^c\s+1\s+\d+(s|m(\d+s)?)$/m);
      const path = join(home.dir, 'cm.yaml');
      const content = (data: string) =>
        `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: applied }\ndata: { ${data} }\n`;
      await writeFile(path, content('a: "1", b: "2"'));
      assert.match(await ok('-n', 'team', 'apply', '-f', path), /created/);
      await writeFile(path, content('b: "3"'));
      assert.match(await ok('-n', 'team', 'apply', '-f', path), /configured/);
      assert.match(await ok('-n', 'team', 'apply', '-f', path), /unchanged/);
      const { data } = await client.expect(200, 'GET', '/api/v1/namespaces/team/configmaps/applied');
      assert.deepEqual(data, { b: '3' });
      assert.match(await ok('delete', 'ns', 'team', '--timeout=60s'), /deleted/);
      assert.match((await run('get', 'ns', 'team')).stderr, /NotFound.*namespaces "team" not found/);
    });

    it('waits until what it deletes is gone', async () => {
      await ok('patch', 'ctr', 'web', '--type=merge', '-p', '{"metadata":{"finalizers":["holdfast.dev/host"]}}');
      const deleting = ok('delete', 'ctr', 'web', '--timeout=60s');
      const waiting = ok('wait', '--for=delete', 'ctr/web', '--timeout=60s');
      const watches = /apiserver_longrunning_requests\{verb="WATCH",resource="containers"\} (\d+)/;
      const areBothWatching = async () => watches.exec(await fixture.metrics.metrics())?.[1] === '2';
      await until(areBothWatching, 'both commands to wait for the removal');
      await client.expect(200, 'PATCH', `${containers}/web`, {
        body: { metadata: { finalizers: null } },
        headers: { 'content-type': 'application/merge-patch+json' },
      });
      assert.match(await deleting, /container\.holdfast\.dev "web" deleted/);
      assert.match(await waiting, /met/);
    });

    it('reads raw paths', async () => {
      assert.match(await ok('get', '--raw', '/apis/holdfast.dev/v1/containers'), /"kind":"ContainerList"/);
      assert.equal(await ok('get', '--raw', '/healthz'), 'ok');
      assert.match(await ok('get', '--raw', '/openapi/v2'), /"swagger":"2\.0"/);
    });
  });
}
