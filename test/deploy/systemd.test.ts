/** The systemd unit and its drop-in: systemd accepts every line, and containers outlive the service. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const systemdDir = join(import.meta.dirname, '../../deploy/systemd');
const root = join(import.meta.dirname, '../..');

/** The unit as it would be if the program were installed where this checkout is: verify wants programs that are there. */
function relocate(text: string): string {
  return text.replaceAll('/usr/bin/holdfast', '/usr/lib/holdfast/bin/holdfast').replaceAll('/usr/lib/holdfast', root);
}

/** What systemd-analyze has to say against the unit with the drop-in, '' if nothing. */
async function verify(unit: string, dropIn?: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-systemd-'));
  try {
    const path = join(dir, 'holdfast.service');
    await writeFile(path, relocate(unit));
    if (dropIn !== undefined) {
      await mkdir(`${path}.d`);
      await writeFile(join(`${path}.d`, 'controller.conf'), relocate(dropIn));
    }
    const args = ['verify', '--man=no', '--recursive-errors=no', path];
    const { stdout, stderr } = await run('systemd-analyze', args, { timeout: 60_000 }).catch((error: unknown) => {
      // It exits with 1 when it has something to say; without output it failed in another way.
      if (error instanceof Error && 'stderr' in error && error.stderr !== '') return { stdout: '', ...error };
      throw error;
    });
    return `${stdout}${stderr}`;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Not so in a container or chroot without systemd, where the service has no use either. */
const hasSystemdAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;

describe('deploy/systemd', () => {
  let unit = '';
  let dropIn = '';
  before(async () => {
    unit = await readFile(join(systemdDir, 'holdfast.service'), 'utf8');
    dropIn = await readFile(join(systemdDir, 'holdfast-controller.service.d.conf'), 'utf8');
  });

  if (hasSystemdAnalyze) {
    it('holds units that systemd-analyze verify has nothing to say against', async () => {
      assert.equal(await verify(unit), '');
      assert.equal(await verify(unit, dropIn), '');
      assert.match(await verify(unit.replace('KillMode=process', 'KillMode=nonsense')), /kill mode/);
    });
  }

  it('starts programs that are there', async () => {
    const programs = [...relocate(`${unit}\n${dropIn}`).matchAll(/^Exec\w+=-?(\/\S+)/gm)].map(([, path = '']) => path);
    assert.deepEqual(
      programs.map((path) => relative(root, path)),
      ['deploy/setup/cgroups', 'bin/holdfast', 'bin/holdfast'],
    );
    for (const path of programs) await access(path, constants.X_OK);
  });

  it('leaves containers running when the service stops, and brings it back whatever ended it', () => {
    const lines = unit.split('\n');
    for (const line of [
      'KillMode=process',
      'Restart=always',
      'StartLimitIntervalSec=0',
      'RuntimeDirectoryPreserve=yes',
      'Delegate=yes',
    ]) {
      assert.ok(lines.includes(line), `the unit lacks ${line}`);
    }
  });

  it('needs no other container engine and has no mount namespace of its own', () => {
    const settings = unit.split('\n').filter((line) => /^[A-Z]/.test(line));
    assert.ok(settings.length > 0);
    const unwanted =
      /docker|containerd|podman|^(PrivateTmp|PrivateDevices|PrivateMounts|Protect\w+|Read\w+Paths|Inaccessible\w*|Bind\w+|RootDirectory|TemporaryFileSystem|MountFlags)=/i;
    assert.deepEqual(
      settings.filter((line) => unwanted.test(line)),
      [],
    );
  });
});
