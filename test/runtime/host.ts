/** A real runtime in folders and on a bridge of its own, with a busybox image; for the tests of this folder. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import {
  type ContainerConfig,
  type ContainerInfo,
  createRuntime,
  type ImageInfo,
  type Runtime,
  type RuntimeDeps,
  type RuntimeEvent,
  removeHostState,
} from '../../runtime/index.ts';
import { freeSubnet } from '../addresses.ts';
import { buildBusyboxImage } from '../images.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';
import { untilGiven } from '../until.ts';

export const never: AbortSignal = new AbortController().signal;

/** Waits for a condition; fails with what was waited for. */
export function until<T>(what: string, look: () => T | Promise<T>, deadlineMs?: number): Promise<NonNullable<T>> {
  return untilGiven(look, what, deadlineMs);
}

/** Has a container's script wait for letGo(), however long the test takes until then. */
export const untilGo = 'until [ -e /dev/shm/go ]; do sleep 0.05; done';

export function letGo(state: ContainerInfo['state']): void {
  assert.ok(state.kind === 'running', JSON.stringify(state));
  writeFileSync(`/proc/${state.pid}/root/dev/shm/go`, '');
}

export class TestHost {
  readonly dir: string;
  deps: RuntimeDeps;
  readonly before: HostSnapshot;
  runtime: Runtime;
  readonly image: ImageInfo;
  readonly events: RuntimeEvent[] = [];

  private constructor(input: {
    dir: string;
    deps: RuntimeDeps;
    before: HostSnapshot;
    runtime: Runtime;
    image: ImageInfo;
  }) {
    this.dir = input.dir;
    this.deps = input.deps;
    this.before = input.before;
    this.runtime = input.runtime;
    this.image = input.image;
    this.#listen();
  }

  static async open(change: Partial<RuntimeDeps> = {}): Promise<TestHost> {
    const dir = await realpath(await mkdtemp(join(tmpdir(), 'hf-runtime-')));
    // The resolver, which is not root, must get to its files.
    await chmod(dir, 0o711);
    const bridge = `hft${randomBytes(4).toString('hex')}`;
    const subnet = await freeSubnet();
    const deps: RuntimeDeps = {
      dataDir: join(dir, 'data'),
      runDir: join(dir, 'run'),
      bridge,
      subnet,
      log: pino({ level: process.env.TEST_LOG ?? 'silent' }, pino.destination(2)),
      metrics: new Registry(),
      netnsPoolSize: 3,
      ...change,
    };
    const before = await snapshotHost();
    const runtime = await createRuntime(deps);
    const { reference } = await buildBusyboxImage({ dir });
    const image = await runtime.images.ensure(reference, 'if-not-present', never);
    return new TestHost({ dir, deps, before, runtime, image });
  }

  #listen(): void {
    this.runtime.subscribe((event) => this.events.push(event));
  }

  /** As a daemon that stops and comes back. */
  async reopen(): Promise<void> {
    await this.runtime.close();
    await this.open();
  }

  async open(): Promise<void> {
    this.deps = { ...this.deps, metrics: new Registry() };
    this.runtime = await createRuntime(this.deps);
    this.#listen();
  }

  config(change: Partial<ContainerConfig> = {}): ContainerConfig {
    return {
      id: randomBytes(32).toString('hex'),
      name: 'test',
      imageID: this.image.id,
      hostname: 'test',
      readonlyRootfs: false,
      ports: [],
      labels: {},
      hosts: [],
      env: [],
      limits: { pids: 200 },
      log: { maxSizeBytes: 1_000_000, maxFiles: 3 },
      ...change,
    };
  }

  /** Creates and starts. */
  async run(change: Partial<ContainerConfig>): Promise<ContainerInfo> {
    const config = this.config(change);
    await this.runtime.containers.create(config, never);
    return this.runtime.containers.start(config.id, never);
  }

  /** Runs a shell script to its end and returns what it printed and how it ended. */
  async script(text: string, change: Partial<ContainerConfig> = {}): Promise<{ output: string; info: ContainerInfo }> {
    const { id } = await this.run({ cmd: ['sh', '-c', text], ...change });
    const info = await this.exited(id);
    const output = await this.output(id);
    await this.runtime.containers.remove(id);
    return { output, info };
  }

  exited(id: string): Promise<ContainerInfo> {
    return until(`container ${id.slice(0, 8)} to exit`, async () => {
      const info = await this.runtime.containers.inspect(id);
      return info?.state.kind === 'exited' ? info : undefined;
    });
  }

  async output(id: string): Promise<string> {
    const parts: Buffer[] = [];
    for await (const entry of this.runtime.containers.log(id, {}, never)) parts.push(entry.data);
    return Buffer.concat(parts).toString();
  }

  /** Waits until the container printed the text. */
  printed(id: string, text: string): Promise<string> {
    return until(`"${text}" in the log`, async () => {
      const output = await this.output(id);
      return output.includes(text) ? output : undefined;
    });
  }

  async close(): Promise<void> {
    await this.runtime.close();
    await removeHostState(this.deps);
    await rm(this.dir, { recursive: true, force: true });
    await assertNoLeaks(this.before, this.deps);
  }
}
