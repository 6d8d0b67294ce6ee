import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContainerConfigError } from '../../runtime/index.ts';
import { makeFolderInRoot, readTextInRoot, resolveInRoot } from '../../runtime/rooted-path.ts';
import { errnos, SyscallError, Syscalls } from '../../runtime/syscalls.ts';

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

  describe('folders', () => {
    let syscalls: Syscalls;
    before(() => {
      syscalls = new Syscalls();
    });
    after(() => syscalls.close());
    const make = (path: string, owner = 0): Promise<void> =>
      makeFolderInRoot({ root, path, field: 'workingDir', owner, syscalls });

    it('are made inside only', async () => {
      await make('/hostdir/made');
      assert.ok(!existsSync(join(dir, 'made')));
      assert.ok(existsSync(join(root, dir, 'made')));
      await assert.rejects(make('/absolute'), ContainerConfigError);
      await assert.rejects(make('/etc/passwd/x'), ContainerConfigError);
    });
    it('have the owner asked for where they were missing', async () => {
      await make('/etc/new/deep', 12_345);
      for (const [path, uid] of [
        ['etc', 0],
        ['etc/new', 12_345],
        ['etc/new/deep', 12_345],
      ] as const) {
        assert.equal(statSync(join(root, path)).uid, uid, path);
      }
      await make('/etc/new/deep', 54_321);
      assert.equal(statSync(join(root, 'etc/new/deep')).uid, 12_345);
    });
    it('are not made through a link that was put into the path meanwhile', async () => {
      const isLoop = (error: unknown): boolean => error instanceof SyscallError && error.errno === errnos.ELOOP;
      await assert.rejects(syscalls.mkdirBeneath({ folder: root, path: '/hostdir/swapped', owner: 0 }), isLoop);
      await assert.rejects(syscalls.mkdirBeneath({ folder: root, path: '/hostdir', owner: 0 }), isLoop);
      assert.ok(!existsSync(join(dir, 'swapped')));
    });
  });
});
