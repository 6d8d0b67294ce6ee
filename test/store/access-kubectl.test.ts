/** What kubectl asks about access: whoami, can-i, create token, and acting for others. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { kubectl } from '../tools.ts';
import { type Fixture, startStore } from './fixture.ts';
import { createKubectlHome, type KubectlHome } from './kubectl-home.ts';

describe('store: kubectl and access', () => {
  let fixture: Fixture;
  let home: KubectlHome;

  before(async () => {
    fixture = await startStore();
    home = await createKubectlHome(kubectl(), fixture.store);
  });
  after(async () => {
    await fixture.close();
    await home.close();
  });

  const run = async (...args: readonly string[]): Promise<{ failed: boolean; out: string }> => {
    const { code, stdout, stderr } = await home.run(...args);
    return { failed: code !== 0, out: stdout + stderr };
  };

  it('creates an account with a role, and a token with which it may do just that', async () => {
    assert.match((await run('auth', 'whoami')).out, /Username\s+system:admin/);
    assert.match((await run('create', 'serviceaccount', 'reader')).out, /created/);
    const binding = ['create', 'rolebinding', 'reader', '--clusterrole=view', '--serviceaccount=default:reader'];
    assert.match((await run(...binding)).out, /created/);
    const token = (await run('create', 'token', 'reader')).out.trim();
    const as = '--as=system:serviceaccount:default:reader';
    assert.match((await run('auth', 'whoami', as)).out, /system:serviceaccount:default:reader/);
    assert.equal((await run('auth', 'can-i', 'list', 'configmaps', as)).out, 'yes\n');
    assert.match((await run('auth', 'can-i', 'create', 'configmaps', as)).out, /^no/);
    assert.match((await run('auth', 'can-i', '--list', as)).out, /containers\.holdfast\.dev/);
    const refused = await run('get', 'secrets', as);
    assert.ok(refused.failed);
    assert.match(
      refused.out,
      /^Error from server \(Forbidden\): secrets is forbidden: User "system:serviceaccount:default:reader" cannot list resource "secrets"/,
    );
    const { out } = await run(
      '--kubeconfig=/dev/null',
      `--server=${fixture.store.url}`,
      `--token=${token}`,
      `--certificate-authority=${join(fixture.dataDir, 'pki/ca.crt')}`,
      'get',
      'configmaps',
      '-n',
      'default',
    );
    assert.match(out, /^No resources found/);
    assert.match(
      (await run('create', 'role', 'writer', '--verb=create,patch', '--resource=configmaps')).out,
      /created/,
    );
    assert.match(
      (await run('create', 'rolebinding', 'writer', '--role=writer', '--serviceaccount=default:reader')).out,
      /created/,
    );
    assert.equal((await run('auth', 'can-i', 'create', 'configmaps', as)).out, 'yes\n');
  });
});
