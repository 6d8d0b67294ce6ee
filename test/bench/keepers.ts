/**
 * Keepers of plain processes, for comparison with what keeps containers: systemd as PID 1 of namespaces of its own (its
 * Restart=always; this machine's own systemd is never asked), and Debian's supervisord. Effects; close() undoes all.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { removeCgroups } from '../dockerd.ts';
import { run } from '../instance.ts';
import { supervisord, systemd } from '../tools.ts';
import type { KeptProcess } from './engine.ts';
import type { Keeper } from './heal.ts';

/** PID 1 before systemd: what systemd takes for the root of each hierarchy of control groups is one that we can remove. */
const systemdInit = `
set -eu
mount --make-rprivate /
for dir in /sys/fs/cgroup/*/"$3" /sys/fs/cgroup/"$3"; do
  [ ! -d "$dir" ] || mount --bind "$dir" "$(dirname "$dir")"
done
mount -t tmpfs tmpfs /run
export container=bench SYSTEMD_UNIT_PATH="$1/units" SYSTEMD_LOG_LEVEL=warning SYSTEMD_LOG_TARGET=console
exec "$2" --system --unit=kept.target --show-status=false
`;
const joinCgroups = `
set -eu
for procs in /sys/fs/cgroup/*/"$1"/cgroup.procs /sys/fs/cgroup/"$1"/cgroup.procs; do
  [ ! -e "$procs" ] || echo $$ > "$procs"
done
shift
exec unshare --fork --kill-child --pid --mount-proc --net --mount --ipc --uts --cgroup sh -c "$@"
`;

export interface OpenKeeper extends Keeper {
  /** Ends all and removes what it left on the host. */
  close(): Promise<void>;
}

export async function openSystemd(): Promise<OpenKeeper> {
  const program = systemd();
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-bench-systemd-'));
  const cgroup = basename(dir);
  let child: ChildProcess | undefined;
  const { stdout } = await run(program, ['--version']);
  return {
    name: `systemd ${/^systemd (\d+)/.exec(stdout)?.[1] ?? ''}`,
    keep: async (processes) => {
      await mkdir(join(dir, 'units'));
      const names = processes.map(({ name }) => `${name}.service`);
      await writeFile(join(dir, 'units/kept.target'), `[Unit]\nDefaultDependencies=no\nWants=${names.join(' ')}\n`);
      for (const one of processes) await writeFile(join(dir, 'units', `${one.name}.service`), unitOf(one));
      for (const parent of await cgroupParents()) await mkdir(join(parent, cgroup));
      child = spawn(
        'setpriv',
        [
          '--pdeathsig',
          'KILL',
          'sh',
          '-c',
          joinCgroups,
          'join',
          cgroup,
          systemdInit,
          'systemd-init',
          dir,
          program,
          cgroup,
        ],
        { stdio: 'ignore' },
      );
    },
    close: async () => {
      await end(child, 'SIGKILL');
      await removeCgroups(cgroup);
      await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
    },
  };
}

function unitOf({ args }: KeptProcess): string {
  const [, script = '', name = ''] = args;
  // $$ and %% are systemd's own signs.
  const quoted = script.replaceAll('$', '$$$$').replaceAll('%', '%%');
  return [
    '[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]',
    `ExecStart=/bin/sh -c '${quoted}' ${name}`,
    'Restart=always\nRestartSec=0\n',
  ].join('\n');
}

/** Every hierarchy of control groups of version 1, or the one of version 2. */
async function cgroupParents(): Promise<readonly string[]> {
  const root = '/sys/fs/cgroup';
  const entries = await readdir(root, { withFileTypes: true });
  if (entries.some(({ name }) => name === 'cgroup.procs')) return [root];
  // The one for cpuset takes no process before it is set up, and systemd has no use for it.
  const hierarchies = entries.filter(({ name }) => !name.includes('cpuset')).map(({ name }) => join(root, name));
  return hierarchies.filter((dir) => existsSync(join(dir, 'cgroup.procs')));
}

export async function openSupervisord(): Promise<OpenKeeper> {
  const { program, args, env } = supervisord();
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-bench-supervisord-'));
  let child: ChildProcess | undefined;
  const { stdout } = await run(program, [...args, '--version'], { env });
  return {
    name: `supervisord ${stdout.trim()}`,
    keep: async (processes) => {
      const head = `[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=${dir}/pid\nchildlogdir=${dir}\n`;
      const config = join(dir, 'supervisord.conf');
      await writeFile(config, head + processes.map(programOf).join(''));
      const all = [program, ...args, '-n', '-c', config];
      child = spawn('setpriv', ['--pdeathsig', 'TERM', ...all], { stdio: 'ignore', env: { ...process.env, ...env } });
    },
    close: async () => {
      await end(child, 'SIGTERM');
      await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
    },
  };
}

function programOf({ name, args: [, script = ''] }: KeptProcess): string {
  const command = `command=/bin/sh -c '${script.replaceAll('%', '%%')}' ${name}`;
  return `[program:${name}]\n${command}\nautorestart=true\nstartsecs=0\nstopsignal=KILL\nstdout_logfile=NONE\nstderr_logfile=NONE\n`;
}

async function end(child: ChildProcess | undefined, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.kill(signal);
  await ended;
}
