/**
 * The runtime of this host, put together: images, containers, network, exit events. createRuntime is what callers get;
 * everything it opens, close() closes. Containers go on without it.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { deriveSubnet6, parseSubnet, parseSubnet6, type Subnet } from './addresses.ts';
import { ownCapabilities } from './capabilities.ts';
import { CgroupPrimer } from './cgroup-primer.ts';
import { parseCgroupLayout } from './cgroups.ts';
import { isRunning, nameRecordOf } from './container-entry.ts';
import { hostAddresses, memberOf } from './container-network.ts';
import { publishedPorts } from './container-ports.ts';
import { hostInterfacesOf, namesUsing, namesWithVolume } from './container-queries.ts';
import { LocalContainers } from './containers.ts';
import type { DriftKind } from './drift.ts';
import { ExitWatch } from './exit-watch.ts';
import { HostNetwork, hasIPv6 } from './host-network.ts';
import { createImageStore, type ImageStore, type ImageStoreDeps } from './images/index.ts';
import { checkBridge, claimRunDir, markBridge, openInstance } from './instance.ts';
import type { Runtime, RuntimeEvent } from './interface.ts';
import { Isolation } from './isolation.ts';
import { thermalPathsOf } from './kernel-mounts.ts';
import { createLayout } from './layout.ts';
import { LogRotator } from './log-rotator.ts';
import { createRuntimeMetrics } from './metrics.ts';
import { NetnsPool } from './netns-pool.ts';
import { findMonitor, findOciRuntime, type OciRuntime } from './oci-runtime.ts';
import { emptyTrash, prepareFolders, recoverContainers, remakeRunDir } from './recovery.ts';
import { Resolver } from './resolver.ts';
import { SeccompFilter } from './seccomp-filter.ts';
import { Syscalls } from './syscalls.ts';
import { takeBackDevNull } from './user-namespace.ts';
import { VolumeStore } from './volumes/index.ts';

export interface RuntimeDeps {
  /** Survives a reboot: layers, logs, records, images. */
  readonly dataDir: string;
  /** tmpfs, gone after a reboot: OCI state, mounts, network namespaces. */
  readonly runDir: string;
  /** Also the name of the instance: two on one host differ in bridge and in both folders. */
  readonly bridge: string;
  /** IPv4, 10.76.0.0/16. */
  readonly subnet: string;
  /** IPv6, fd00:76::/64, or off; undefined: one of unique local addresses that only this instance has. */
  readonly subnet6?: string | undefined;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly registriesConf?: string | undefined;
  /** This host's registry credentials, in the form of ~/.docker/config.json: the first file that is there; none: where skopeo looks by itself. */
  readonly authFiles?: readonly string[] | undefined;
  /** Default: crun, or runc where crun cannot be used. */
  readonly ociRuntime?: OciRuntime['name'] | undefined;
  /** Network namespaces kept ready; default 8. */
  readonly netnsPoolSize?: number | undefined;
  /** How often all containers and the network are looked at, for what no event told; default 5 s. */
  readonly lookIntervalMs?: number | undefined;
  /** Default: createImageStore of runtime/images. */
  readonly openImages?: ((deps: ImageStoreDeps) => Promise<ImageStore>) | undefined;
  /** Hears what the opening is at, as 'taking up the containers that are there'. */
  readonly begins?: ((step: string) => void) | undefined;
  readonly nowMs?: (() => number) | undefined;
  readonly randomHex?: ((bytes: number) => string) | undefined;
}

const seccompProfile = '/usr/share/containers/seccomp.json';
const cniPluginDirs = ['/usr/lib/cni', '/opt/cni/bin', '/usr/libexec/cni'];
/** Events of drift that are kept until somebody listens. */
const maxEarly = 1_000;
const lookIntervalMs = 5_000;
/** How many looks pass between two checks of all of the network; those of bridge and ports are made at each. */
const looksPerNetworkCheck = 8;

/**
 * Opens the runtime and takes up the containers that are there. Throws InstanceConflictError if run dir or bridge are
 * another instance's (then nothing was changed), RuntimeOperationError if the host lacks something, TypeError for a
 * bridge name or subnet that cannot be.
 */
export async function createRuntime(deps: RuntimeDeps): Promise<Runtime> {
  const { log, metrics: registry, begins = () => {} } = deps;
  begins('taking the run dir and the bridge');
  const nowMs = deps.nowMs ?? Date.now;
  const randomHex = deps.randomHex ?? ((bytes: number) => randomBytes(bytes).toString('hex'));
  const layout = createLayout(deps);
  const subnet = parseSubnet(deps.subnet);
  const cgroups = parseCgroupLayout(await readFile('/proc/self/mountinfo', 'utf8'));
  const capabilities = ownCapabilities(await readFile('/proc/self/status', 'utf8'));
  const thermalPaths = thermalPathsOf(await readdir('/sys/devices/system/cpu')).filter((path) => existsSync(path));
  const bootID = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const instance = await openInstance(layout.dataDir, randomHex);
  const subnet6 = chooseSubnet6(deps.subnet6, instance.id, log);
  // Before anything is made or ended: what is another instance's is not ours to recover.
  checkBridge(layout.bridge, instance, subnet.gateway);
  await claimRunDir(layout, instance, bootID);
  await prepareFolders(layout, bootID);
  begins('looking for the OCI runtime and the monitor');
  const [runtime, conmon] = await Promise.all([findOciRuntime(cgroups.kind, log, deps.ociRuntime), findMonitor()]);
  const closers: (() => void | Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).toReversed()) await closer();
  };
  try {
    const syscalls = new Syscalls();
    closers.push(() => syscalls.close());
    const runDeps = { layout, cgroups, runtime, conmon: conmon.path, syscalls, nowMs, log };
    const opened: { containers?: LocalContainers; pool?: NetnsPool; rotator?: LogRotator } = {};
    const metrics = createRuntimeMetrics({
      registry,
      // Somebody may look while we are still opening.
      countStates: () => opened.containers?.countStates() ?? { created: 0, running: 0, exited: 0 },
      poolSize: () => opened.pool?.readyCount ?? 0,
    });
    closers.push(() => metrics.close());
    begins('taking up the containers that are there');
    const entries = await metrics.time('recover', () =>
      recoverContainers({ ...runDeps, hostAddresses: hostAddresses({ subnet, subnet6 }) }),
    );
    const listeners = new Set<(event: RuntimeEvent) => void>();
    /** What was found before anybody listened. */
    const early: RuntimeEvent[] = [];
    const found = (kind: DriftKind, detail: string): void => emit({ kind: 'drift', drift: { kind, detail } });
    const resolver = new Resolver({ layout, syscalls, found: (detail) => found('resolver', detail), log });
    const emit = (event: RuntimeEvent): void => {
      if (event.kind === 'exited') {
        opened.rotator?.end(event.id);
        resolver.stopped(event.id);
      }
      if (event.kind === 'removed') resolver.forget(event.id);
      if (listeners.size === 0 && event.kind === 'drift' && early.length < maxEarly) early.push(event);
      for (const listener of listeners) listener(event);
    };
    begins('opening the images');
    const images = await (deps.openImages ?? createImageStore)({
      root: layout.images,
      runRoot: layout.imagesRun,
      registriesConf: deps.registriesConf,
      authFiles: deps.authFiles,
      containersUsing: async (imageID) => namesUsing(entries.values(), imageID),
      log,
      metrics: registry,
    });
    closers.push(() => images.close());
    const hostNetwork = new HostNetwork({
      bridge: layout.bridge,
      nftTable: layout.nftTable,
      markBridge: () => markBridge(layout.bridge, instance),
      subnet,
      subnet6,
      nftGeneration: () => syscalls.nftGeneration(layout.nftTable),
      found,
      hostInterfaces: () => [...hostInterfacesOf(entries.values()), ...pool.readyInterfaces()],
      log,
    });
    const isolation = new Isolation({
      ...{ bridge: layout.bridge, table: layout.nftTable, subnet, subnet6, log },
      nftGeneration: () => syscalls.nftGeneration(layout.nftTable),
      found: (detail) => found('rules', detail),
    });
    closers.push(() => isolation.close());
    const pool = new NetnsPool({
      layout,
      subnet,
      subnet6,
      syscalls,
      size: deps.netnsPoolSize ?? 8,
      pluginDirs: cniPluginDirs,
      randomHex,
      ensureBridge: () => hostNetwork.ensure('bridge'),
      measure: (work) => metrics.time('network_attach', work),
      isBusy: () => containers.isBusy,
      log,
    });
    const seccomp = new SeccompFilter({
      profileFile: seccompProfile,
      profilesDir: layout.seccompProfiles,
      cacheDir: layout.seccompCache,
      runtime,
    });
    const volumes = new VolumeStore({
      layout,
      randomHex,
      nowMs,
      usersOf: (volume) => namesWithVolume(entries.values(), volume),
      log,
    });
    begins('opening the volumes');
    await volumes.open();
    const containers = new LocalContainers(
      {
        ...runDeps,
        volumes,
        images,
        layersOf: (imageID) => images.layersOf(imageID),
        pool,
        seccomp,
        capabilities,
        thermalPaths,
        hostNetwork,
        isolation,
        subnet,
        subnet6,
        resolver,
        resolverAddress: () => (resolver.isAvailable ? subnet.gateway : undefined),
        metrics,
        primer: new CgroupPrimer(cgroups),
        randomHex,
        emit,
        logBegins: async (containerLog) => opened.rotator?.begin(containerLog),
        startConcurrency: Math.max(4, 2 * availableParallelism()),
      },
      entries,
    );
    Object.assign(opened, { containers, pool });
    // After the containers: a start that is cut short takes its names back.
    closers.push(() => resolver.close());
    closers.push(() => containers.close());
    // A start that was cut short may have left it with a container's root as its owner.
    if ([...entries.values()].some(({ record }) => record.idMap !== undefined)) await takeBackDevNull();
    for (const [id, entry] of entries) {
      resolver.adopt(id, nameRecordOf(entry));
      isolation.adopt(id, memberOf(entry));
      if (!isRunning(entry)) continue;
      hostNetwork.adopt(id, publishedPorts(entry));
    }
    begins('making the bridge and its rules');
    await Promise.all([hostNetwork.ensure('rebuild'), isolation.open()]);
    begins('starting the resolver');
    await resolver.open();
    closers.push(() => pool.close());
    begins('taking up the networks that are there');
    await pool.open(new Set([...entries.values()].flatMap((entry) => entry.network?.name ?? [])));
    let looks = 0;
    let isMending = false;
    // One that is under way is waited for, or it would put back what is being taken down.
    let mending: Promise<void> = Promise.resolve();
    closers.push(() => mending);
    const watch = new ExitWatch({
      dir: layout.exits,
      ensureDir() {
        const lost = remakeRunDir(layout);
        if (lost.length > 0) found('run-dir', lost.join(', '));
      },
      onExit: (id) => containers.check(id),
      onLookAgain(why) {
        containers.checkAll();
        containers
          .lookForDrift()
          .catch((error: unknown) => log.error({ err: error }, 'the containers cannot be looked at for drift'));
        takeBackDevNull().catch((error: unknown) =>
          log.error({ err: error }, '/dev/null cannot be given back to root'),
        );
        resolver.look();
        looks += 1;
        if (!isMending) {
          isMending = true;
          const mend = looks % looksPerNetworkCheck === 0 ? hostNetwork.ensure('thorough') : hostNetwork.mend();
          mending = Promise.all([mend, isolation.mend()])
            .then(() => {})
            .catch((error: unknown) => log.error({ err: error }, 'the network cannot be mended'))
            .finally(() => {
              isMending = false;
            });
        }
        if (why === 'afterGap') emit({ kind: 'relist' });
      },
      intervalMs: deps.lookIntervalMs ?? lookIntervalMs,
      log,
    });
    closers.push(() => watch.close());
    containers.takeUp();
    const rotator = new LogRotator({ logs: () => containers.logs(), log });
    opened.rotator = rotator;
    closers.push(() => rotator.close());
    const emptying = emptyTrash(layout).catch((error: unknown) =>
      log.warn({ err: error }, 'the trash cannot be emptied'),
    );
    closers.push(() => emptying);
    return {
      images,
      containers,
      volumes,
      info: () => ({
        name: 'holdfast',
        versions: { [runtime.name]: runtime.version, conmon: conmon.version },
        network: { bridge: layout.bridge, ipv4: subnet, ...(subnet6 === undefined ? {} : { ipv6: subnet6 }) },
      }),
      subscribe(listener) {
        listeners.add(listener);
        for (const event of early.splice(0)) listener(event);
        return () => listeners.delete(listener);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A host without IPv6 does without, also when a subnet is given. Throws TypeError for one that cannot be. */
function chooseSubnet6(given: string | undefined, instanceID: string, log: Logger): Subnet | undefined {
  if (given === 'off') return undefined;
  const subnet6 = given === undefined ? deriveSubnet6(instanceID) : parseSubnet6(given);
  if (hasIPv6()) return subnet6;
  if (given !== undefined) log.warn({ subnet6: given }, 'IPv6 is off on this host, so containers have IPv4 only');
  return undefined;
}
