/** deploy/setup: what it does on a machine that has everything, and its decisions where something is missing. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { differingPackages, parseLock } from '../../deploy/setup/modules-current.ts';
import * as tools from '../tools.ts';

const run = promisify(execFile);
const setup = join(import.meta.dirname, '..', '..', 'deploy', 'setup');

describe('deploy/setup/setup', () => {
  it('is silent when there is nothing to do', async () => {
    const { stdout, stderr } = await run(join(setup, 'setup'), ['--tests']);
    assert.equal(stdout + stderr, '');
  });
  it('says that it must be root', async () => {
    const asNobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', 'sh'];
    await assert.rejects(run('setpriv', [...asNobody, join(setup, 'setup')]), /run me as root/);
  });
  it('refuses an argument that it does not know', async () => {
    await assert.rejects(run(join(setup, 'setup'), ['--test']), /unknown argument --test/);
  });
});

describe('deploy/setup/cgroups', () => {
  /** Runs the script over a made-up /sys/fs/cgroup, in a mount namespace of its own; prints what is mounted there. */
  async function cgroups(prepare: string): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-setup-'));
    const root = join(dir, 'cgroup');
    await mkdir(root);
    const script = `export CGROUP_ROOT=${root}; cd ${root}; ${prepare}; "${join(setup, 'cgroups')}"; grep -o ' ${root}.*' /proc/self/mountinfo`;
    try {
      return (await run('unshare', ['--mount', 'sh', '-ec', script])).stdout;
    } finally {
      await rm(dir, { recursive: true });
    }
  }
  const hybrid = (controllers: string) =>
    `mount -t tmpfs none $CGROUP_ROOT; cd $CGROUP_ROOT; mkdir unified; echo '${controllers}' > unified/cgroup.controllers`;

  it('leaves cgroup v2 as it is', async () => {
    const mounted = await cgroups('mount -t cgroup2 none $CGROUP_ROOT');
    assert.equal(mounted.trim().split('\n').length, 1);
  });
  it('leaves a hybrid layout alone in which no controller is left on the v2 side', async () => {
    const mounted = await cgroups(hybrid(''));
    assert.equal(mounted.trim().split('\n').length, 1);
  });
  it('binds a controller that is left on the v2 side to a v1 hierarchy', async function () {
    const known = await readFile('/proc/cgroups', 'utf8');
    // A controller that this kernel has under v1: on a host with cgroup v2 none can be bound, see the next test.
    const bound = known
      .split('\n')
      .map((line) => line.split('\t'))
      .find(([name, hierarchy, , enabled]) => name !== undefined && Number(hierarchy) > 0 && enabled === '1');
    if (bound?.[0] === undefined) return this.skip();
    const printed = await cgroups(hybrid(bound[0]));
    assert.match(printed, new RegExp(`mounted the cgroup v1 hierarchy ${bound[0]}`));
    assert.match(printed, new RegExp(`/cgroup/${bound[0]} .* - cgroup `));
  });
  it('says what to do when that cannot be done, and leaves no folder', async () => {
    await assert.rejects(
      cgroups(`${hybrid('nosuch')}; trap 'ls $CGROUP_ROOT' EXIT`),
      (error: Error & { stdout: string }) => {
        assert.match(error.message, /cannot mount the cgroup v1 hierarchy "nosuch".*boot with/s);
        assert.equal(error.stdout.trim(), 'unified');
        return true;
      },
    );
  });
  it('mounts cgroup v2 where nothing is mounted', async () => {
    assert.match(await cgroups('true'), /mounted cgroup v2[\s\S]* - cgroup2 /);
  });
});

describe('deploy/setup/modules-current.ts', () => {
  const lock = (packages: Record<string, object>) => parseLock(JSON.stringify({ packages: { '': {}, ...packages } }));
  const cases: readonly {
    it: string;
    wanted: Record<string, object>;
    present: Record<string, object>;
    want: string[];
  }[] = [
    {
      it: 'is content with the same packages',
      wanted: { a: { version: '1' } },
      present: { a: { version: '1' } },
      want: [],
    },
    { it: 'names a missing one', wanted: { a: { version: '1' } }, present: {}, want: ['a'] },
    {
      it: 'names one of another version',
      wanted: { a: { version: '1' } },
      present: { a: { version: '2' } },
      want: ['a'],
    },
    { it: 'does not miss an optional one', wanted: { a: { version: '1', optional: true } }, present: {}, want: [] },
    {
      it: 'names an optional one of another version',
      wanted: { a: { version: '1', optional: true } },
      present: { a: { version: '2' } },
      want: ['a'],
    },
    { it: 'does not mind more than is wanted', wanted: {}, present: { a: { version: '1' } }, want: [] },
  ];
  for (const c of cases) {
    it(c.it, () => assert.deepEqual(differingPackages(lock(c.wanted), lock(c.present)), c.want));
  }
  it('refuses what is no lock file', () => assert.throws(() => parseLock('{}'), TypeError));
});

describe('test/tools.ts', () => {
  for (const [name, find] of Object.entries(tools)) {
    if (name.startsWith('start') || name === 'dockerdPath' || name === 'tmuxEnvironment') continue;
    it(`finds ${name}`, async () => {
      // Every other export of tools.ts takes nothing and returns a path, several, or a script with its interpreter.
      type Found = string | readonly string[] | { readonly program: string; readonly args: readonly string[] };
      const found = (find as () => Found)();
      const files = typeof found === 'string' ? [found] : 'program' in found ? [found.program, ...found.args] : found;
      assert.ok(files.length > 0);
      for (const file of files) await access(file, constants.X_OK);
    });
  }
  it('has an old kubectl besides the new one', async () => {
    const { stdout } = await run(tools.kubectl120(), ['version', '--client', '--short']);
    assert.match(stdout, /v1\.20\./);
  });
  it('starts a registry that answers, and ends it', async () => {
    const registry = await tools.startRegistry();
    assert.equal((await fetch(`http://${registry.address}/v2/`)).status, 200);
    await registry.close();
    await assert.rejects(fetch(`http://${registry.address}/v2/`));
  });
});
