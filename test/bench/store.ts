/**
 * The store under load, as a process of its own started by bin/holdfast, or any other Kubernetes API server by its
 * kubeconfig. Effects.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load as parseYaml } from 'js-yaml';
import { freePort } from '../instance.ts';
import { untilGiven } from '../until.ts';
import { observeMemory } from './processes.ts';
import { summarize } from './report.ts';
import type { StoreFigures, WriteCost } from './store-figures.ts';
import { type ApiServer, runAll, StoreLoad, timeEach, untilReady } from './store-load.ts';

const clients = 64;
const listLength = 2_000;
const serialCount = 1_000;
/** Stored when memory is looked at. */
const fullCount = 10_000;
const patchCount = 10_000;
const getCount = 20_000;
const events = 20;

export interface StoreBench {
  /** undefined: a store of its own, which it ends. */
  readonly kubeconfig: string | undefined;
  /** The process whose memory counts, of a server that is given. */
  readonly pid: number | undefined;
  /** How many objects are stored when a write is timed; those below 10,000 come to less than 6,000. */
  readonly sizes: readonly number[];
  readonly say: (line: string) => void;
}

export async function measureStore(bench: StoreBench): Promise<StoreFigures> {
  if (bench.kubeconfig !== undefined) {
    const server = await readKubeconfig(bench.kubeconfig);
    return await measureServer(server, bench.pid, bench);
  }
  const started = await startStoreProcess();
  try {
    return await measureServer(started.server, started.pid, bench);
  } finally {
    await started.close();
  }
}

async function measureServer(
  server: ApiServer,
  pid: number | undefined,
  { sizes, say }: StoreBench,
): Promise<StoreFigures> {
  const load = new StoreLoad(server, clients);
  try {
    await untilReady(load);
    const memory = async () => (pid === undefined ? undefined : (await observeMemory([pid])).rssBytes);
    const [listed, spread, watched] = ['bench-list', 'bench-spread', 'bench-watch'] as const;
    for (const namespace of [listed, spread, watched]) await load.createNamespace(namespace);
    const costs: WriteCost[] = [];
    for (const size of sizes.filter((one) => one < fullCount)) costs.push(await measureCost(load, spread, size, say));
    say(`${listLength} objects to list`);
    await runAll({ count: listLength, clients }, (index) => load.create(listed, `o-${index}`));
    say(`${serialCount} creates, one after the other`);
    const serial = await timeEach(serialCount, (index) => load.create(spread, `s-${index}`));
    const burstCount = fullCount - (await load.count());
    say(`${burstCount} creates by ${clients} clients`);
    const createsPerSecond = await runAll({ count: burstCount, clients }, (index) => load.create(spread, `o-${index}`));
    const rssBytes = await memory();
    say(`${patchCount} merge patches`);
    const nameOf = (index: number): string => `o-${index % burstCount}`;
    const patchesPerSecond = await runAll({ count: patchCount, clients }, (index) =>
      load.patch(spread, nameOf(index), `v${index}`),
    );
    say(`${getCount} gets`);
    const getsPerSecond = await runAll({ count: getCount, clients }, (index) => load.get(spread, nameOf(index)));
    say(`lists of ${listLength}`);
    const lists: number[] = [];
    for (let count = 0; count < 10; count += 1) lists.push(await load.timeList(listed, listLength));
    const fanOut: number[] = [];
    for (const watchers of [100, 1_000]) {
      say(`an event to ${watchers} watchers`);
      fanOut.push(await measureFanOut(load, watched, watchers));
    }
    for (const size of sizes.filter((one) => one >= fullCount)) costs.push(await measureCost(load, spread, size, say));
    return {
      serialCreateMs: summarize(serial),
      createsPerSecond,
      patchesPerSecond,
      getsPerSecond,
      listMs: summarize(lists).median,
      fanOut100Ms: fanOut[0],
      fanOut1000Ms: fanOut[1],
      rssBytes,
      costs,
    };
  } finally {
    await load.close();
  }
}

async function measureFanOut(load: StoreLoad, namespace: string, count: number): Promise<number> {
  const watchers = await load.openWatchers(namespace, count);
  try {
    const times: number[] = [];
    for (let index = 0; index < events; index += 1) {
      const name = `e-${count}-${index}`;
      times.push(await watchers.timeEvent(name, () => load.create(namespace, name)));
    }
    return summarize(times).median;
  } finally {
    watchers.close();
  }
}

/** What one write costs when there are so many objects in all. */
async function measureCost(
  load: StoreLoad,
  namespace: string,
  size: number,
  say: (line: string) => void,
): Promise<WriteCost> {
  const name = (index: number): string => `c-${size}-${index}`;
  const present = await load.count();
  say(`writes with ${Math.max(size, present)} objects stored`);
  await runAll({ count: Math.max(0, size - present), clients }, (index) => load.create(namespace, name(index)));
  const created = await timeEach(200, (index) => load.create(namespace, `${name(index)}-timed`));
  const patched = await timeEach(200, (index) => load.patch(namespace, `${name(index)}-timed`, 'again'));
  return {
    objects: Math.max(size, present),
    createMs: summarize(created).median,
    patchMs: summarize(patched).median,
  };
}

async function startStoreProcess() {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-bench-store-'));
  const program = join(import.meta.dirname, '../../bin/holdfast');
  const [port, metricsPort] = [await freePort(), await freePort()];
  const ports = ['--listen', `127.0.0.1:${port}`, '--metrics-listen', `127.0.0.1:${metricsPort}`];
  const child = spawn(program, ['store', '--data-dir', dataDir, ...ports, '--log-level', 'warn'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const close = async (): Promise<void> => {
    await end(child);
    await rm(dataDir, { recursive: true, force: true });
  };
  try {
    const kubeconfig = join(dataDir, 'admin.kubeconfig');
    const server = await untilGiven(() => readKubeconfig(kubeconfig).catch(() => undefined), 'the store to serve');
    // spawn has given it one, or the kubeconfig would not be there
    return { server, pid: child.pid as number, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

/** Only what is needed here: a server, its CA and a token. */
async function readKubeconfig(path: string): Promise<ApiServer> {
  const { clusters, users } = parseYaml(await readFile(path, 'utf8')) as {
    clusters: { cluster: { server: string; 'certificate-authority-data': string } }[];
    users: { user: { token?: string } }[];
  };
  const cluster = clusters[0]?.cluster;
  const token = users[0]?.user.token;
  if (cluster === undefined || token === undefined) throw new Error(`${path} must name a server and a token`);
  const ca = Buffer.from(cluster['certificate-authority-data'], 'base64').toString();
  return { url: cluster.server, ca, token };
}
