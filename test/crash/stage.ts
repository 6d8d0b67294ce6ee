/** One instance at which one program after another is killed. Effects: starts actor.ts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { removeHostState } from '../../runtime/index.ts';
import { buildBusyboxImage } from '../images.ts';
import { TestHost } from '../runtime/host.ts';
import { push } from '../runtime/images-fixture.ts';
import { startRegistry, type TestRegistry } from '../tools.ts';
import type { ActorPlan, ActorReport } from './actor.ts';
import { imageScenarios, repository } from './image-scenarios.ts';

const script = fileURLToPath(new URL('./actor.ts', import.meta.url));
/** Of one program; it waits for what it does with deadlines of its own. */
const deadlineMs = 240_000;

export interface Ended {
  readonly reports: readonly ActorReport[];
  /** What it wrote to its standard error last. */
  readonly said: string;
}

/** A program that is loaded and waits for its plan, so that nobody waits for it to load. */
class Actor {
  readonly #child: ChildProcess;
  readonly #ended: Promise<Ended>;

  constructor() {
    const child = spawn(process.execPath, [script], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'holdfast-crash-compile-cache') },
    });
    this.#child = child;
    const reports: ActorReport[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => reports.push(JSON.parse(line) as ActorReport));
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-6_000);
    });
    this.#ended = new Promise((resolve) => child.once('close', () => resolve({ reports, said })));
  }

  async act(plan: ActorPlan): Promise<Ended> {
    this.#child.stdin?.end(`${JSON.stringify(plan)}\n`);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), deadlineMs);
    return await this.#ended.finally(() => clearTimeout(timer));
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

export class Stage {
  readonly #host: TestHost;
  readonly #archive: string;
  readonly #registry: TestRegistry | undefined;
  #next = new Actor();

  private constructor(host: TestHost, archive: string, registry: TestRegistry | undefined) {
    this.#host = host;
    this.#archive = archive;
    this.#registry = registry;
  }

  /** An instance without a runtime and without containers; with a registry that has an image. */
  static async open(scenarios: readonly string[]): Promise<Stage> {
    const host = await TestHost.open({ netnsPoolSize: 1 });
    await host.runtime.close();
    const { dir } = host;
    const { path, reference } = await buildBusyboxImage({ dir, file: 'other.tar', files: { '/other': 'other' } });
    const needsRegistry = imageScenarios.some(({ name }) => scenarios.includes(name));
    const registry = needsRegistry ? await startRegistry() : undefined;
    if (registry !== undefined) await push(registry, reference, repository);
    const stage = new Stage(host, path, registry);
    await stage.reset();
    return stage;
  }

  act(plan: Pick<ActorPlan, 'finish' | 'crash' | 'looks' | 'trace'>): Promise<Ended> {
    const actor = this.#next;
    this.#next = new Actor();
    const { dataDir, runDir, bridge, subnet } = this.#host.deps;
    const { dir, image } = this.#host;
    return actor.act({
      ...plan,
      ...{ dataDir, runDir, bridge, subnet, imageID: image.id, workDir: dir, startsDir: join(dir, 'starts') },
      archive: this.#archive,
      registry: this.#registry?.address,
      registriesConf: this.#registry?.registriesConf,
    });
  }

  /** As before its first program. */
  async reset(): Promise<void> {
    const { deps, dir } = this.#host;
    await removeHostState(deps);
    // Volumes outlive that.
    for (const path of [join(deps.dataDir, 'volumes'), join(dir, 'starts')])
      await rm(path, { recursive: true, force: true });
    await mkdir(join(dir, 'starts'));
  }

  /** Fails if anything of it is left on the host. */
  async close(): Promise<void> {
    await this.#next.close();
    await this.#registry?.close();
    await this.#host.close();
  }
}
