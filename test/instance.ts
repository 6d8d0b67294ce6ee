/**
 * Holdfast as `holdfast up` starts it, with folders, ports, bridge and subnet of its own, and the clients that talk to it.
 * close() runs `holdfast down` and removes the folders, whatever state the daemon is in.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { Agent, request } from 'undici';
import type { Container } from '../crds/index.ts';
import { freePort, freeSubnet } from './addresses.ts';
import { kubectl } from './tools.ts';
import { until } from './until.ts';

export { freePort } from './addresses.ts';

const program = join(import.meta.dirname, '..', 'bin', 'holdfast');
const startDeadlineMs = 120_000;
/** What the daemon logs when all of it runs; whether it is ready is asked then, and now and then before. */
const upMessage = '"msg":"holdfast is up"';
const askEveryMs = 1_000;
const kubectlDeadlineMs = 120_000;
export const containersPath = '/apis/holdfast.dev/v1/namespaces/default/containers';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface InstanceOptions {
  /** Further flags of `holdfast up`. */
  readonly flags?: readonly string[];
  /** Folder for the data; by default a new one that close() removes. */
  readonly dataDir?: string;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** The body as JSON, unparsed bodies as undefined. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape, and fail where it is another
  readonly json: any;
}

/** What a process that hangs is at: whether it waits in the kernel, and what it has started. */
function describeProcess(pid: number): string {
  const read = (file: string): string => {
    try {
      return readFileSync(`/proc/${file}`, 'latin1').replaceAll('\0', ' ').trim();
    } catch {
      return 'gone';
    }
  };
  const children = read(`${pid}/task/${pid}/children`)
    .split(' ')
    .map((child) => `${child} (${read(`${child}/cmdline`).slice(0, 100)})`);
  const state = /^State:\s*(.*)$/m.exec(read(`${pid}/status`))?.[1];
  return `is in state ${state}, at ${read(`${pid}/wchan`)}, with the children ${children.join(', ')}`;
}

export class Instance {
  readonly dataDir: string;
  readonly runDir: string;
  readonly bridge: string;
  readonly flags: readonly string[];
  readonly metricsUrl: string;
  readonly storeUrl: string;
  #child: ChildProcess | undefined;
  #log = '';
  #agent: Agent | undefined;
  #token = '';

  constructor(at: {
    dataDir: string;
    runDir: string;
    bridge: string;
    subnet: string;
    ports: readonly [number, number];
    flags: readonly string[];
  }) {
    this.dataDir = at.dataDir;
    this.runDir = at.runDir;
    this.bridge = at.bridge;
    this.storeUrl = `https://127.0.0.1:${at.ports[0]}`;
    this.metricsUrl = `http://127.0.0.1:${at.ports[1]}`;
    this.flags = [
      '--data-dir',
      at.dataDir,
      '--run-dir',
      at.runDir,
      '--listen',
      `127.0.0.1:${at.ports[0]}`,
      '--metrics-listen',
      `127.0.0.1:${at.ports[1]}`,
      '--bridge',
      at.bridge,
      '--subnet',
      at.subnet,
      ...at.flags,
    ];
  }

  get kubeconfig(): string {
    return join(this.dataDir, 'admin.kubeconfig');
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the daemon does not run');
    return pid;
  }

  /** The end of what the daemon logged. */
  get log(): string {
    return this.#log;
  }

  /** Starts the daemon and waits until it is ready, or only until it answers. Throws with the end of its log. */
  async start(wanted: 'ready' | 'alive' = 'ready'): Promise<void> {
    const child = spawn(program, ['up', ...this.flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let isUp = false;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#log = (this.#log + chunk.toString('utf8')).slice(-65_536);
        isUp ||= chunk.includes(upMessage);
      });
    }
    const isAlive = (): boolean => child.exitCode === null && child.signalCode === null;
    let askAtMs = performance.now() + askEveryMs;
    let answered = 'nothing';
    try {
      await until(
        async () => {
          if (!isAlive()) throw new Error('the daemon ended');
          // It has better things to do while it starts than to refuse us, who ask 50 times a second.
          if (!isUp && performance.now() < askAtMs) return false;
          askAtMs = performance.now() + askEveryMs;
          return await fetch(`${this.metricsUrl}/${wanted === 'ready' ? 'readyz' : 'healthz'}`, {
            signal: AbortSignal.timeout(5_000),
          }).then(
            async (response) => {
              if (response.status !== 200) answered = await response.text();
              return response.status === 200;
            },
            () => false, // It does not listen yet.
          );
        },
        'the daemon to be ready',
        startDeadlineMs,
      );
    } catch (error) {
      const state = isAlive() ? describeProcess(this.pid) : `ended with ${child.exitCode ?? child.signalCode}`;
      throw new Error(
        `holdfast did not start; its log: ${this.#log.slice(-3_000)}; it answered ${answered} and ${state}`,
        { cause: error },
      );
    }
    // Written by the daemon that is ready now.
    const config = load(await readFile(this.kubeconfig, 'utf8')) as {
      clusters: [{ cluster: { 'certificate-authority-data': string } }];
      users: [{ user: { token: string } }];
    };
    this.#token = config.users[0].user.token;
    await this.#agent?.destroy();
    this.#agent = new Agent({
      connect: { ca: Buffer.from(config.clusters[0].cluster['certificate-authority-data'], 'base64').toString('utf8') },
    });
  }

  /** Ends the daemon and waits for its end; the containers go on. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended =
      child.exitCode !== null || child.signalCode !== null
        ? Promise.resolve()
        : new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await ended;
    this.#child = undefined;
  }

  /** One request to the store with the admin's token; never throws for an HTTP status. */
  async api(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
    contentType?: string,
  ): Promise<Answer> {
    if (this.#agent === undefined) throw new Error('the daemon was not started');
    const { statusCode, body: answer } = await request(`${this.storeUrl}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: {
        authorization: `Bearer ${this.#token}`,
        'content-type': contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await answer.text();
    return { status: statusCode, text, json: parseJson(text) };
  }

  /** Creates a Container in namespace default. Throws if the store refuses it. */
  async create(name: string, spec: Record<string, unknown>): Promise<Container> {
    const answer = await this.api('POST', `${containersPath}?fieldValidation=Strict`, {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: { name },
      spec,
    });
    if (answer.status !== 201) throw new Error(`creating ${name}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  /** The object, or undefined if there is none. */
  async get(name: string): Promise<Container | undefined> {
    const answer = await this.api('GET', `${containersPath}/${name}`);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new Error(`getting ${name}: ${answer.status} ${answer.text}`);
    return answer.json;
  }

  /** Waits until the object's status is as wanted, and returns the object. */
  async waitFor(
    name: string,
    isWanted: (status: NonNullable<Container['status']>) => boolean,
    what: string,
    deadlineMs = 90_000,
  ): Promise<Container> {
    let last: Container | undefined;
    try {
      await until(
        async () => {
          last = await this.get(name);
          return last?.status !== undefined && isWanted(last.status);
        },
        `${name} to be ${what}`,
        deadlineMs,
      );
    } catch (error) {
      throw new Error(
        `${name} did not become ${what}; its status is ${JSON.stringify(last?.status)}; the daemon's log ends with ${this.#log.slice(-2_000)}`,
        { cause: error },
      );
    }
    if (last === undefined) throw new Error(`${name} vanished`);
    return last;
  }

  async remove(name: string): Promise<void> {
    await this.api('DELETE', `${containersPath}/${name}`);
    await until(async () => (await this.get(name)) === undefined, `${name} to be gone`, 60_000);
  }

  async containerLog(name: string, query = ''): Promise<string> {
    const answer = await this.api('GET', `${containersPath}/${name}/log${query}`);
    if (answer.status !== 200) throw new Error(`log of ${name}: ${answer.status} ${answer.text}`);
    return answer.text;
  }

  async metrics(): Promise<string> {
    return await (await fetch(`${this.metricsUrl}/metrics`)).text();
  }

  /** Runs kubectl (the newest by default) and never throws for its exit code. */
  async kubectl(
    args: readonly string[],
    options: { readonly program?: string; readonly input?: string; readonly env?: Record<string, string> } = {},
  ): Promise<CommandResult> {
    return await run(
      options.program ?? kubectl(),
      ['--kubeconfig', this.kubeconfig, '--cache-dir', join(this.dataDir, 'kubectl-cache'), ...args],
      options,
    );
  }

  /** `holdfast down`: stops daemon and containers. Throws with its errors. */
  async down(): Promise<string> {
    const { code, stdout, stderr } = await run(program, ['down', ...this.flags], {}, 180_000);
    if (code !== 0) throw new Error(`holdfast down ended with ${code}: ${stderr}`);
    this.#child = undefined;
    return stdout;
  }

  async close(): Promise<void> {
    try {
      await this.down();
    } finally {
      await this.#agent?.destroy();
      await this.stop('SIGKILL');
      await rm(this.runDir, { recursive: true, force: true });
      await rm(this.dataDir, { recursive: true, force: true });
    }
  }
}

/** A new instance, not started yet. */
export async function createInstance({ flags = [], dataDir }: InstanceOptions = {}): Promise<Instance> {
  const ports = [await freePort(), await freePort()] as const;
  return new Instance({
    dataDir: dataDir ?? (await mkdtemp(join(tmpdir(), 'holdfast-test-'))),
    runDir: await mkdtemp('/run/holdfast-test-'),
    bridge: `hft${randomBytes(3).toString('hex')}`,
    subnet: await freeSubnet(),
    ports,
    flags,
  });
}

/** Runs a program to its end, at most for the deadline, and collects what it prints. */
export async function run(
  command: string,
  args: readonly string[],
  options: { readonly input?: string; readonly env?: Record<string, string>; readonly cwd?: string } = {},
  deadlineMs = kubectlDeadlineMs,
): Promise<CommandResult> {
  const child = spawn(command, [...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    timeout: deadlineMs,
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      output[name] += chunk.toString('utf8');
    });
  }
  child.stdin.on('error', () => {}); // A program that does not read its input closes it.
  child.stdin.end(options.input ?? '');
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => resolve(exitCode ?? (signal === null ? -1 : 128)));
  });
  return { code, ...output };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The caller has the text.
  }
}
