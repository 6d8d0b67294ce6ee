/** The systemd unit and its drop-in: systemd accepts every line, and containers outlive the service. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const systemdDir = join(import.meta.dirname, '../../deploy/systemd');
/** Installed by the Debian package later; verify wants a program that is there. */
const installed = '/usr/bin/holdfast';

/** What systemd-analyze has to say against the unit with the drop-in, '' if nothing. */
async function verify(unit: string, dropIn?: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-systemd-'));
  try {
    const path = join(dir, 'holdfast.service');
    await writeFile(path, unit.replaceAll(installed, process.execPath));
    if (dropIn !== undefined) {
      await mkdir(`${path}.d`);
      await writeFile(join(`${path}.d`, 'controller.conf'), dropIn.replaceAll(installed, process.execPath));
    }
    const args = ['verify', '--man=no', '--recursive-errors=no', path];
    const { stdout, stderr } = await run('systemd-analyze', args, { timeout: 20_000 }).catch((error: unknown) => {
      // It exits with 1 when it has something to say; without output it failed in another way.
      if (error instanceof Error && 'stderr' in error && error.stderr !== '') return { stdout: '', ...error };
      throw error;
    });
    return `${stdout}${stderr}`;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function hasSystemdAnalyze(): Promise<boolean> {
  return run('systemd-analyze', ['--version']).then(
    () => true,
    () => false,
  );
}

describe('deploy/systemd', () => {
  let unit = '';
  let dropIn = '';
  before(async () => {
    unit = await readFile(join(systemdDir, 'holdfast.service'), 'utf8');
    dropIn = await readFile(join(systemdDir, 'holdfast-controller.service.d.conf'), 'utf8');
  });

  it('holds units that systemd-analyze verify has nothing to say against', async function () {
    if (!(await hasSystemdAnalyze())) this.skip();
    assert.equal(await verify(unit), '');
    assert.equal(await verify(unit, dropIn), '');
    assert.match(await verify(unit.replace('KillMode=process', 'KillMode=nonsense')), /kill mode/);
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
