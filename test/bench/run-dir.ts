/** Where engines keep what is gone after a reboot. Effects. */
import { spawn } from 'node:child_process';
import { statfs } from 'node:fs/promises';

/** TMPFS_MAGIC of statfs(2). */
const tmpfsType = 0x01021994;

/**
 * /run is in memory on a host that systemd has started, and engines count on it. Where it is on a disk, this program is run
 * again, with all that it starts, where nobody else sees the memory that is mounted there. Undefined: it is in memory;
 * else the exit code of that other run.
 */
export async function runWithRunInMemory(): Promise<number | undefined> {
  if ((await statfs('/run')).type === tmpfsType) return undefined;
  const script = 'mount -t tmpfs -o mode=755 tmpfs /run && exec "$@"';
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', ...again], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
