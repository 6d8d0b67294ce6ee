/** What of this host its Node tells. Effects: reads /proc, /sys and /etc, and asks the kernel; spawns nothing. */
import { readFile, statfs } from 'node:fs/promises';
import { arch, availableParallelism, hostname, release, totalmem } from 'node:os';
import { observeHostIP } from './host-address.ts';

export interface HostFacts {
  readonly hostname: string;
  readonly ip: string;
  /** In the words of Go, as Kubernetes has them: amd64, arm64. */
  readonly architecture: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly machineID: string;
  readonly systemUUID: string;
  readonly bootID: string;
  readonly cpuCount: number;
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  /** Of the file system that containers are on. */
  readonly disk: { readonly totalBytes: number; readonly freeBytes: number };
  /** Processes and threads. */
  readonly processes: { readonly count: number; readonly max: number };
  /** Of this program. */
  readonly version: string;
}

/** Node's word for a processor → Go's, where they differ. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** `dataDir`: where containers are kept. What cannot be read is empty, or as it is on a host at rest. */
export async function observeHostFacts({
  dataDir,
  version,
}: {
  readonly dataDir: string;
  readonly version: string;
}): Promise<HostFacts> {
  const [machineID, bootID, systemUUID, osRelease, memory, load, pidMax, disk, ip] = await Promise.all([
    read('/etc/machine-id'),
    read('/proc/sys/kernel/random/boot_id'),
    read('/sys/class/dmi/id/product_uuid'),
    read('/etc/os-release'),
    read('/proc/meminfo'),
    read('/proc/loadavg'),
    read('/proc/sys/kernel/pid_max'),
    statfs(dataDir),
    observeHostIP(),
  ]);
  const freeKiB = Number(/^MemAvailable:\s+(\d+) kB/mu.exec(memory)?.[1]);
  return {
    hostname: hostname().toLowerCase(),
    ip,
    architecture: architectures[arch()] ?? arch(),
    kernelVersion: release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)"?$/mu.exec(osRelease)?.[1] ?? '',
    machineID,
    systemUUID,
    bootID,
    cpuCount: availableParallelism(),
    memory: { totalBytes: totalmem(), freeBytes: Number.isNaN(freeKiB) ? totalmem() : freeKiB * 1024 },
    disk: { totalBytes: disk.blocks * disk.bsize, freeBytes: disk.bavail * disk.bsize },
    processes: { count: Number(/\/(\d+)/u.exec(load)?.[1] ?? 0), max: Number(pidMax) || 4_194_304 },
    version,
  };
}

async function read(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    return ''; // a container or a board without firmware tables has no such file, and nothing depends on it
  }
}
