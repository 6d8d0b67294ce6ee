/**
 * What the crash tests do to containers. Each can be done again after a crash, as a controller would. Effects: those of
 * the runtime.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { ContainerConfig, ContainerInfo, Runtime, StreamSession } from '../../runtime/index.ts';
import { until } from '../until.ts';
import { cleanUpImages, imageScenarios } from './image-scenarios.ts';

export interface World {
  readonly runtime: Runtime;
  readonly imageID: string;
  readonly startsDir: string;
  readonly runDir: string;
  /** For files. */
  readonly workDir: string;
  /** Of an image that the host does not have. */
  readonly archive: string;
  /** HOST:PORT of one that has it; undefined: no scenario needs it. */
  readonly registry: string | undefined;
}

type State = 'none' | 'created' | 'running' | 'paused' | 'exited';

export interface Scenario {
  readonly name: string;
  /** Makes what it begins with. */
  prepare(world: World): Promise<void>;
  run(world: World): Promise<unknown>;
  /** What a runtime finds that opens after a crash within: never anything else than before or after. */
  checkFound(world: World): Promise<void>;
  /** That it did what it is for, once. */
  check(world: World): Promise<void>;
  /** After a crash it is looked at when this one is done as well. */
  readonly goesOnWith: string | undefined;
}

const never = new AbortController().signal;
const rich = 'a'.repeat(64);
const mapped = 'b'.repeat(64);

function configOf(id: string, { imageID, startsDir }: World): ContainerConfig {
  return {
    id,
    imageID,
    name: id.slice(0, 6),
    hostname: 'c',
    labels: {},
    hosts: [],
    env: [],
    dnsNames: ['c'],
    readonlyRootfs: false,
    ports: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }],
    limits: { pids: 50 },
    log: { maxSizeBytes: 100_000, maxFiles: 2 },
    cmd: ['sh', '-c', `echo started >>/starts/${id}; exec sleep 1000`],
    volumes: [{ name: 'starts', source: { kind: 'bind', path: startsDir, ensure: 'directory' } }],
    mounts: [{ volume: 'starts', path: '/starts', isReadOnly: false, copiesUp: false }],
  };
}

function richConfig(world: World): ContainerConfig {
  const base = configOf(rich, world);
  const mount = { isReadOnly: false, copiesUp: true };
  return {
    ...base,
    volumes: [
      ...(base.volumes ?? []),
      { name: 'own', source: { kind: 'own', mode: 0o777 } },
      { name: 'memory', source: { kind: 'memory' } },
      { name: 'files', source: { kind: 'files' } },
      { name: 'shared', source: { kind: 'named', name: 'shared' } },
    ],
    mounts: [
      ...(base.mounts ?? []),
      { ...mount, volume: 'own', path: '/etc' },
      { ...mount, volume: 'memory', path: '/memory' },
      { ...mount, volume: 'files', path: '/files' },
      { ...mount, volume: 'shared', path: '/home' },
      { ...mount, volume: 'shared', path: '/part', subPath: 'part/of' },
    ],
    files,
    networks: [{ name: 'a.b', isInternal: false }],
  };
}

function stateOf(info: ContainerInfo | undefined): State {
  if (info === undefined) return 'none';
  return info.state.kind === 'running' && info.state.isPaused === true ? 'paused' : info.state.kind;
}

function countStarts(id: string, { startsDir }: World): number {
  const file = join(startsDir, id);
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
}

const files = { files: [{ path: 'deep/file', dataBase64: '', mode: 0o644 }] };

/** What it has in memory only is given again. */
async function startRich({ runtime: { containers } }: World): Promise<void> {
  if ((await containers.inspect(rich))?.lacksFiles === true) await containers.update(rich, { files });
  await containers.start(rich, never);
}

interface Given {
  readonly id: string;
  /** Scenarios that come before. */
  readonly after: readonly string[];
  readonly from: State;
  readonly to: State;
  /** How often its process has begun, afterwards. */
  readonly starts: number;
  readonly goesOnWith?: string;
  run(world: World): Promise<unknown>;
  alsoCheck?(world: World): Promise<void>;
}

function scenario(name: string, { id, after, from, to, starts, goesOnWith, run, alsoCheck }: Given): Scenario {
  const check = async (world: World): Promise<void> => {
    if (to === 'running') await until(() => countStarts(id, world) >= starts, `start ${starts} of the container`);
    assert.equal(stateOf(await world.runtime.containers.inspect(id)), to, name);
    assert.equal(countStarts(id, world), starts, `starts after "${name}"`);
    await alsoCheck?.(world);
  };
  return {
    name,
    run,
    check,
    goesOnWith,
    async prepare(world) {
      for (const earlier of after) {
        const one = findScenario(earlier);
        assert.ok(one !== undefined, earlier);
        await one.run(world);
        await one.check(world);
      }
    },
    async checkFound(world) {
      const found = stateOf(await world.runtime.containers.inspect(id));
      // A removal that was cut short has ended it.
      const isFine = found === from || found === to || (to === 'none' && found === 'exited');
      assert.ok(isFine, `"${name}" was cut short: found the container ${found}, not ${from} or ${to}`);
    },
  };
}

const limits = { pids: 60, memoryBytes: 64 * 1024 * 1024 };
const started = ['create', 'start'] as const;
const stopped = [...started, 'stop'] as const;
const own = 'with ids of its own';

const containerScenarios: readonly Scenario[] = [
  scenario('create', {
    ...{ id: rich, after: [], from: 'none', to: 'created', starts: 0, goesOnWith: 'start' },
    run: (world) => world.runtime.containers.create(richConfig(world), never),
  }),
  scenario('start', {
    ...{ id: rich, after: ['create'], from: 'created', to: 'running', starts: 1 },
    run: startRich,
  }),
  scenario('pause', {
    ...{ id: rich, after: started, from: 'running', to: 'paused', starts: 1 },
    run: ({ runtime }) => runtime.containers.pause(rich),
  }),
  scenario('resume', {
    ...{ id: rich, after: [...started, 'pause'], from: 'paused', to: 'running', starts: 1 },
    run: ({ runtime }) => runtime.containers.resume(rich),
  }),
  scenario('update', {
    ...{ id: rich, after: started, from: 'running', to: 'running', starts: 1 },
    // As a controller, which believes the labels.
    async run({ runtime: { containers } }) {
      if ((await containers.inspect(rich))?.labels.a === 'b') return;
      await containers.update(rich, {
        ...{ limits, labels: { a: 'b' }, dnsNames: ['other'], hosts: [{ ip: '10.0.0.1', names: ['peer'] }] },
        files: { files: [{ path: 'deep/other', dataBase64: 'YQ==', mode: 0o600 }, ...files.files] },
        networks: [{ name: 'c.d', isInternal: true }],
        dns: { servers: [], searches: ['other.test'], options: [] },
      });
    },
    async alsoCheck({ runtime: { containers } }) {
      const args = ['sh', '-c', 'cat /files/deep/other; grep -c peer /etc/hosts; grep -c other.test /etc/resolv.conf'];
      const session = await containers.exec(rich, { args, hasTerminal: false, hasStdin: false }, never);
      assert.equal((await buffer(session.stdout)).toString(), 'a1\n1\n', 'what the container sees after an update');
      await session.exit;
    },
  }),
  scenario('rename', {
    ...{ id: rich, after: started, from: 'running', to: 'running', starts: 1 },
    run: ({ runtime }) => runtime.containers.update(rich, { name: 'other', labels: { name: 'other' } }),
  }),
  scenario('stop', {
    ...{ id: rich, after: started, from: 'running', to: 'exited', starts: 1 },
    async run({ runtime, runDir }) {
      await runtime.containers.signal(rich, 9);
      await until(async () => stateOf(await runtime.containers.inspect(rich)) === 'exited', 'the container to end');
      await until(() => !existsSync(join(runDir, 'containers', rich, 'process.json')), 'its run to be put away');
    },
  }),
  scenario('debug', {
    ...{ id: rich, after: stopped, from: 'exited', to: 'exited', starts: 1 },
    async run({ runtime }) {
      const request = { args: ['true'], hasTerminal: false, hasStdin: false };
      await toItsEnd(await runtime.containers.debug(rich, request, never));
    },
  }),
  scenario('copy', {
    ...{ id: rich, after: stopped, from: 'exited', to: 'exited', starts: 1 },
    async run({ runtime }) {
      await buffer((await runtime.containers.readArchive(rich, '/etc/passwd', never)).stream);
    },
  }),
  scenario('start again', {
    ...{ id: rich, after: stopped, from: 'exited', to: 'running', starts: 2 },
    run: startRich,
  }),
  scenario('exec', {
    ...{ id: rich, after: started, from: 'running', to: 'running', starts: 1 },
    async run({ runtime }) {
      for (const hasTerminal of [false, true]) {
        const request = { args: ['true'], hasTerminal, hasStdin: false };
        await toItsEnd(await runtime.containers.exec(rich, request, never));
      }
    },
  }),
  scenario('remove', {
    ...{ id: rich, after: started, from: 'running', to: 'none', starts: 1 },
    run: ({ runtime }) => runtime.containers.remove(rich),
  }),
  scenario('create a volume', {
    ...{ id: rich, after: [], from: 'none', to: 'none', starts: 0 },
    run: ({ runtime }) => runtime.volumes.create('shared', { a: 'b' }),
  }),
  scenario('remove a volume', {
    ...{ id: rich, after: ['create a volume'], from: 'none', to: 'none', starts: 0 },
    run: ({ runtime }) => runtime.volumes.remove('shared'),
  }),
  scenario(`create ${own}`, {
    ...{ id: mapped, after: [], from: 'none', to: 'created', starts: 0, goesOnWith: `start ${own}` },
    run: (world) =>
      world.runtime.containers.create({ ...configOf(mapped, world), namespaces: { user: 'mapped' } }, never),
  }),
  scenario(`start ${own}`, {
    ...{ id: mapped, after: [`create ${own}`], from: 'created', to: 'running', starts: 1 },
    run: ({ runtime }) => runtime.containers.start(mapped, never),
  }),
  scenario(`remove ${own}`, {
    ...{ id: mapped, after: [`create ${own}`, `start ${own}`], from: 'running', to: 'none', starts: 1 },
    run: ({ runtime }) => runtime.containers.remove(mapped),
  }),
];

export const scenarios: readonly Scenario[] = [...containerScenarios, ...imageScenarios];

export function findScenario(name: string): Scenario | undefined {
  return scenarios.find((one) => one.name === name);
}

async function toItsEnd(session: StreamSession): Promise<void> {
  session.stderr?.resume();
  await buffer(session.stdout);
  await session.exit;
}

/** As before the first of them. */
export async function cleanUp(world: World): Promise<void> {
  for (const id of [rich, mapped]) {
    await world.runtime.containers.remove(id);
    rmSync(join(world.startsDir, id), { force: true });
  }
  await world.runtime.volumes.remove('shared');
  await cleanUpImages(world);
}
