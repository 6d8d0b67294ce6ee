import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContainerConfigError } from '../../runtime/index.ts';
import { makeFolderInRoot, readTextInRoot, resolveInRoot } from '../../runtime/rooted-path.ts';

describe('paths in a hostile root', () => {
  let dir: string;
  let root: string;
  before(async () => {
    dir = await realpath(await mkdtemp(join(tmpdir(), 'hf-rooted-')));
    root = join(dir, 'root');
    await mkdir(join(root, 'etc'), { recursive: true });
    await writeFile(join(dir, 'secret'), 'outside');
    await writeFile(join(root, 'etc', 'passwd'), 'inside');
    await symlink('/etc/passwd', join(root, 'absolute'));
    await symlink('../../../secret', join(root, 'etc', 'up'));
    await symlink(dir, join(root, 'hostdir'));
    await symlink('loop', join(root, 'loop'));
    await symlink('/etc', join(root, 'link-to-etc'));
    execFileSync('mkfifo', [join(root, 'etc', 'fifo')]);
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const cases = [
    { path: '/etc/passwd', want: 'etc/passwd' },
    { path: '/absolute', want: 'etc/passwd' },
    { path: '/link-to-etc/../x', want: 'x' },
    { path: '/etc/up', want: 'secret' },
    { path: '/../../..', want: '' },
    { path: '/missing/../also/missing', want: 'also/missing' },
  ];
  for (const { path, want } of cases) {
    it(`takes ${path} to ${want === '' ? 'the root' : want}`, async () =>
      assert.equal(await resolveInRoot(root, path, 'f'), join(root, want)));
  }

  it('refuses loops and paths through files, naming the field', async () => {
    for (const path of ['/loop', '/etc/passwd/x']) {
      await assert.rejects(resolveInRoot(root, path, 'workingDir'), (error) => {
        return error instanceof ContainerConfigError && error.field === 'workingDir';
      });
    }
  });

  it('reads files only, and only inside', async () => {
    assert.equal(await readTextInRoot(root, '/absolute', 'user'), 'inside');
    for (const path of ['/etc/up', '/hostdir/secret', '/etc', '/etc/fifo', '/missing']) {
      assert.equal(await readTextInRoot(root, path, 'user'), '', path);
    }
  });

  it('makes folders only inside', async () => {
    await makeFolderInRoot({ root: root, path: '/hostdir/made', field: 'workingDir', owner: 0 });
    assert.ok(!existsSync(join(dir, 'made')));
    assert.ok(existsSync(join(root, dir, 'made')));
    await assert.rejects(
      makeFolderInRoot({ root: root, path: '/absolute', field: 'workingDir', owner: 0 }),
      ContainerConfigError,
    );
  });
});
