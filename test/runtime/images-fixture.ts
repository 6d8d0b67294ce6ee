/**
 * What the image suites share: a store in a temporary folder, and a proxy in front of a registry that can stall or
 * fail its blobs. All of it is removed by close().
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pino from 'pino';
import { Registry } from 'prom-client';
import { createImageStore, type ImageStore, type ImageStoreDeps } from '../../runtime/images/index.ts';
import type { TestRegistry } from '../tools.ts';

export const run = promisify(execFile);

/** Never aborts; a test that hangs is ended by mocha. */
export const patient = (): AbortSignal => new AbortController().signal;

export interface StoreFixture {
  readonly store: ImageStore;
  readonly metrics: Registry;
  readonly dir: string;
  readonly root: string;
  /** Pulls and imports that ended, by result. */
  pullCount(result: 'success' | 'error' | 'canceled'): Promise<number>;
  /** Another store over the same folders, as after a restart. */
  reopen(): Promise<ImageStore>;
  close(): Promise<void>;
}

export async function openStore(deps: Partial<ImageStoreDeps> = {}): Promise<StoreFixture> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-images-'));
  const root = deps.root ?? join(dir, 'root');
  const create = (metrics: Registry) =>
    createImageStore({
      root,
      runRoot: join(dir, 'run'),
      containersUsing: async () => [],
      log: pino({ level: 'silent' }),
      metrics,
      ...deps,
    });
  const metrics = new Registry();
  const stores = [await create(metrics)];
  // There is exactly one at this point.
  const store = stores[0] as ImageStore;
  return {
    store,
    metrics,
    dir,
    root,
    async pullCount(result) {
      const found = await metrics.getSingleMetric('holdfast_image_pull_duration_seconds')?.get();
      const count = found?.values.find((value) => {
        // prom-client types a histogram's values without their metricName.
        const named = value as typeof value & { metricName?: string };
        return named.metricName?.endsWith('_count') === true && value.labels.result === result;
      });
      return count?.value ?? 0;
    },
    async reopen() {
      const next = await create(new Registry());
      stores.push(next);
      return next;
    },
    async close() {
      for (const opened of stores) await opened.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Copies an archive into a registry. `name` without registry: library/web:1. */
export async function push(registry: { readonly address: string }, archive: string, name: string): Promise<string> {
  const target = `docker://${registry.address}/${name}`;
  const options = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false'];
  await run('skopeo', [...options, archive, target], { timeout: 60_000 });
  const { stdout } = await run('skopeo', ['inspect', '--tls-verify=false', '--format', '{{.Digest}}', target]);
  return stdout.trim();
}

export interface RegistryProxy {
  readonly address: string;
  /** What to do with requests for blobs of at least so many bytes (10,000 by default). 'stall': half of the body, then nothing. 'slow': in small pieces, for about three seconds. */
  setMode(mode: 'pass' | 'stall' | 'slow' | 'error', fromBytes?: number): void;
  /** Resolves when so many blob requests are being held up. */
  stalled(count: number): Promise<void>;
  /** GET requests for blobs so far. */
  blobRequests(): number;
  close(): Promise<void>;
}

export async function startProxy(registry: TestRegistry): Promise<RegistryProxy> {
  let mode: 'pass' | 'stall' | 'slow' | 'error' = 'pass';
  let fromBytes = 10_000;
  let blobRequests = 0;
  const held = new Set<ServerResponse>();
  const waiters: { count: number; resolve: () => void }[] = [];
  const hold = (response: ServerResponse) => {
    held.add(response);
    response.on('close', () => held.delete(response));
    for (const waiter of waiters) if (held.size >= waiter.count) waiter.resolve();
  };
  const server = createServer(async (request, response) => {
    try {
      const isBlob = request.url?.includes('/blobs/') === true && request.method === 'GET';
      if (isBlob) blobRequests += 1;
      if (mode === 'error') {
        response.writeHead(500).end('broken');
        return;
      }
      const headers = new Headers();
      for (const name of ['accept', 'range', 'authorization']) {
        const value = request.headers[name];
        if (typeof value === 'string') headers.set(name, value);
      }
      const method = request.method ?? 'GET';
      const upstream = await fetch(`http://${registry.address}${request.url ?? '/'}`, { method, headers });
      const body = Buffer.from(await upstream.arrayBuffer());
      const kept = [...upstream.headers].filter(([name]) => !/^(?:transfer-encoding|connection)$/i.test(name));
      response.writeHead(upstream.status, Object.fromEntries(kept));
      if (!isBlob || mode === 'pass' || body.length < fromBytes) {
        response.end(body);
      } else if (mode === 'stall') {
        response.write(body.subarray(0, body.length / 2));
        hold(response);
      } else {
        const pieces = 20;
        for (let i = 0; i < pieces; i++) {
          response.write(body.subarray((body.length * i) / pieces, (body.length * (i + 1)) / pieces));
          await new Promise((resolve) => setTimeout(resolve, 180)); // this is what "slow" means
        }
        response.end();
      }
    } catch {
      response.destroy(); // the test closes while a client still asks
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    address: `127.0.0.1:${address.port}`,
    setMode(next, least = 10_000) {
      mode = next;
      fromBytes = least;
    },
    stalled(count) {
      if (held.size >= count) return Promise.resolve();
      return new Promise((resolve) => waiters.push({ count, resolve }));
    },
    blobRequests: () => blobRequests,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Processes whose command line holds this text, this one excepted. */
export async function processesWith(text: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(pid) || Number(pid) === process.pid) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes(text)) found.push(Number(pid));
  }
  return found;
}
