/** What the daemon is: ping, version, info. Effects: reads of the host. */
import { existsSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { containerIDOf } from '../crds/index.ts';
import { stateOf } from './container-state.ts';
import type { Gateway } from './gateway-parts.ts';
import { newestMinor, oldestMinor, type Route } from './route.ts';

/** Docker's words for processors. Source: Go's GOARCH, and uname(2). */
const architectures: Readonly<Record<string, { readonly go: string; readonly machine: string }>> = {
  x64: { go: 'amd64', machine: 'x86_64' },
  arm64: { go: 'arm64', machine: 'aarch64' },
};
const architecture = architectures[process.arch] ?? { go: process.arch, machine: process.arch };

export function systemRoutes(gateway: Gateway): readonly Route[] {
  const ping: Route['handle'] = async (call) =>
    call.text(200, 'OK', { 'Cache-Control': 'no-cache, no-store, must-revalidate', Pragma: 'no-cache' });
  return [
    { method: 'GET', path: '/_ping', handle: ping },
    { method: 'HEAD', path: '/_ping', handle: ping },
    { method: 'GET', path: '/version', handle: async (call) => call.json(200, formatVersion(gateway)) },
    { method: 'GET', path: '/info', handle: async (call) => call.json(200, await formatInfo(gateway)) },
  ];
}

function formatVersion({ version, runtime }: Gateway): object {
  const { versions } = runtime.info();
  const kernel = release();
  const engine = {
    ApiVersion: `1.${newestMinor}`,
    MinAPIVersion: `1.${oldestMinor}`,
    Os: 'linux',
    Arch: architecture.go,
    KernelVersion: kernel,
    GitCommit: '',
    GoVersion: `node ${process.version}`,
    BuildTime: '',
  };
  return {
    Platform: { Name: 'Holdfast' },
    Components: [
      { Name: 'Engine', Version: version, Details: { ...engine, Experimental: 'false' } },
      ...Object.entries(versions).map(([name, one]) => ({ Name: name, Version: one, Details: {} })),
    ],
    Version: version,
    ...engine,
  };
}

async function formatInfo(gateway: Gateway): Promise<object> {
  const { objects, runtime, now, nodeName, dataDir, version } = gateway;
  const states = objects.list().map((object) => stateOf(object, now()).name);
  const count = (...names: readonly string[]): number => states.filter((name) => names.includes(name)).length;
  const containers = new Set(objects.list().map(containerIDOf));
  const images = new Set((await runtime.images.list()).map(({ id }) => id));
  const { versions } = runtime.info();
  return {
    ID: nodeName,
    Name: nodeName,
    Containers: containers.size,
    ContainersRunning: count('running', 'restarting'),
    ContainersPaused: count('paused'),
    ContainersStopped: count('created', 'exited', 'dead'),
    Images: images.size,
    Driver: 'overlay2',
    DriverStatus: [],
    DockerRootDir: dataDir,
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'null'],
      Authorization: null,
      Log: ['json-file', 'local'],
    },
    MemoryLimit: true,
    SwapLimit: true,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: false,
    PidsLimit: true,
    IPv4Forwarding: true,
    BridgeNfIptables: true,
    BridgeNfIp6tables: true,
    Debug: false,
    OomKillDisable: false,
    NFd: 0,
    NGoroutines: 0,
    NEventsListener: 0,
    SystemTime: new Date(now()).toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    // Where both are mounted, the controllers are those of version 1. Source: cgroups(7).
    CgroupVersion: existsSync('/sys/fs/cgroup/cgroup.controllers') ? '2' : '1',
    KernelVersion: release(),
    OperatingSystem: nameOfSystem(),
    OSVersion: '',
    OSType: 'linux',
    Architecture: architecture.machine,
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: { InsecureRegistryCIDRs: [], IndexConfigs: {}, Mirrors: [] },
    NCPU: cpus().length,
    MemTotal: totalmem(),
    ServerVersion: version,
    Labels: [],
    ExperimentalBuild: false,
    DefaultRuntime: 'crun',
    Runtimes: Object.fromEntries(
      Object.keys(versions)
        .filter((name) => name === 'crun' || name === 'runc')
        .map((name) => [name, { path: name }]),
    ),
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: 'tini',
    SecurityOptions: ['name=seccomp,profile=default'],
    Warnings: [],
  };
}

/** Source: os-release(5). */
function nameOfSystem(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  } catch {
    return 'Linux'; // a system without that file
  }
}
