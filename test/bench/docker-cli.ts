/**
 * The docker command against Holdfast and against dockerd, both up at the same time and asked by turns, so that a busy
 * machine slows both. Effects; what was started is taken down.
 */

import { startDockerd } from '../dockerd.ts';
import { createInstance, run } from '../instance.ts';
import { docker } from '../tools.ts';
import type { DockerColumn, DockerFigure } from './docker-figures.ts';
import type { BenchImage } from './engine.ts';
import { summarize } from './report.ts';

export interface DockerCliOptions {
  readonly image: BenchImage;
  readonly samples: number;
  /** That run while `docker ps` is timed, and are removed by one command. */
  readonly containers: number;
  readonly say: (line: string) => void;
}

interface Side {
  readonly name: string;
  /** Milliseconds that the command takes. Throws if it fails. */
  time(args: readonly string[]): Promise<number>;
  close(): Promise<void>;
}

/** Holdfast has room for --containers 1000 in it. */
const subnet = '10.98.0.0/16';
const warmUps = 2;

export async function measureDockerCli(options: DockerCliOptions): Promise<readonly DockerColumn[]> {
  const sides: Side[] = [];
  try {
    sides.push(await startHoldfastSide());
    sides.push(await startDockerdSide());
    for (const side of sides) await side.time(['load', '-q', '-i', options.image.path]);
    return await byTurns(sides, options);
  } finally {
    for (const side of sides) await side.close();
  }
}

async function startHoldfastSide(): Promise<Side> {
  const instance = await createInstance({ flags: ['--log-level', 'warn', '--subnet', subnet] });
  try {
    await instance.start();
  } catch (error) {
    await instance.close();
    throw error;
  }
  return { name: 'Holdfast', time: timer(`${instance.runDir}/docker.sock`), close: () => instance.close() };
}

async function startDockerdSide(): Promise<Side> {
  const daemon = await startDockerd();
  return { name: `dockerd ${daemon.version}`, time: timer(daemon.socketPath), close: daemon.close };
}

function timer(socketPath: string): Side['time'] {
  const program = docker();
  return async (args) => {
    const beganMs = performance.now();
    const { code, stderr } = await run(program, args, { env: { DOCKER_HOST: `unix://${socketPath}` } }, 300_000);
    if (code !== 0) throw new Error(`docker ${args.slice(0, 4).join(' ')} ended with ${code}: ${stderr.trim()}`);
    return performance.now() - beganMs;
  };
}

async function byTurns(
  sides: readonly Side[],
  { image, samples, containers, say }: DockerCliOptions,
): Promise<readonly DockerColumn[]> {
  const times = new Map(sides.map(({ name }) => [name, new Map<DockerFigure, number[]>()]));
  const take = async (figure: DockerFigure, side: Side, args: readonly string[], isCounted: boolean) => {
    const ms = await side.time(args);
    if (!isCounted) return;
    const figures = times.get(side.name);
    figures?.set(figure, [...(figures.get(figure) ?? []), ms]);
  };
  const sleeper = (name: string): readonly string[] => ['run', '-d', '--name', name, image.name, 'sleep', '1000000'];
  say(`docker run -d, run --rm, exec: ${samples} of each`);
  for (const side of sides) await side.time(sleeper('target'));
  for (let sample = -warmUps; sample < samples; sample += 1) {
    for (const side of sides) {
      await take('runMs', side, sleeper('one'), sample >= 0);
      await side.time(['rm', '-f', 'one']);
      await take('runToEndMs', side, ['run', '--rm', image.name, 'true'], sample >= 0);
      await take('execMs', side, ['exec', 'target', 'true'], sample >= 0);
    }
  }
  say(`docker ps with ${containers}, and their removal`);
  const names = Array.from({ length: containers - 1 }, (_, index) => `many-${index}`);
  for (const side of sides) for (const name of names) await side.time(sleeper(name));
  for (let sample = -warmUps; sample < samples; sample += 1)
    for (const side of sides) await take('listMs', side, ['ps'], sample >= 0);
  for (const side of sides) await take('removeMs', side, ['rm', '-f', 'target', ...names], true);
  return sides.map(({ name }) => {
    const taken = [...(times.get(name) ?? [])].map(([figure, all]) => [figure, summarize(all)]);
    return { engine: name, figures: Object.fromEntries(taken) };
  });
}
