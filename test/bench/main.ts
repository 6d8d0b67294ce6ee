/**
 * `make bench`: Holdfast and Debian's dockerd side by side, as a table; where it is about healing, systemd and supervisord
 * as well. As root; needs `make setup-tests` for dockerd and supervisord.
 * Flags: --samples N, --containers N, --idle-seconds N, --only holdfast|dockerd|systemd|supervisord,
 * --figures all|streams|heal|scale|store|docker. Of store: --kubeconfig FILE [--pid N] measures another API server in its place,
 * --sizes N,N… how many objects are stored when writes are timed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildBusyboxImage } from '../images.ts';
import { measureDockerCli } from './docker-cli.ts';
import { formatDocker } from './docker-figures.ts';
import { startDockerd } from './dockerd.ts';
import type { BenchImage, Engine } from './engine.ts';
import { startHoldfast } from './holdfast.ts';
import { type OpenKeeper, openSupervisord, openSystemd } from './keepers.ts';
import { healing, measure } from './measure.ts';
import { type Column, describeTargets, formatTable, noFigures } from './report.ts';
import { runWithRunInMemory } from './run-dir.ts';
import { measureScale } from './scale.ts';
import { measureStore } from './store.ts';
import { formatStore } from './store-figures.ts';

const engines: Readonly<Record<string, (image: BenchImage) => Promise<Engine>>> = {
  holdfast: startHoldfast,
  dockerd: startDockerd,
};

/** They keep plain processes and no containers, so that only healing can be compared. */
const keepers: Readonly<Record<string, () => Promise<OpenKeeper>>> = {
  systemd: openSystemd,
  supervisord: openSupervisord,
};

const { values } = parseArgs({
  options: {
    samples: { type: 'string', default: '20' },
    containers: { type: 'string', default: '50' },
    'idle-seconds': { type: 'string', default: '20' },
    only: { type: 'string' },
    figures: { type: 'string', default: 'all' },
    kubeconfig: { type: 'string' },
    pid: { type: 'string' },
    sizes: { type: 'string', default: '1000,10000,100000' },
  },
});
const count = (flag: string, text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1_000)
    throw new Error(`--${flag} is "${text}"; write 1 to 1000`);
  return value;
};
const codeOfAnother = await runWithRunInMemory();
if (codeOfAnother !== undefined) process.exit(codeOfAnother);
if (values.figures === 'scale') {
  console.log(await measureScale((line) => console.error(line)));
  process.exit();
}
if (values.figures === 'store') {
  console.log(await storeTable());
  process.exit();
}
if (values.figures === 'docker') {
  console.log(await dockerTable());
  process.exit();
}
const figuresOf = (text: string): 'all' | 'streams' | 'heal' => {
  if (text !== 'all' && text !== 'streams' && text !== 'heal')
    throw new Error(`--figures is "${text}"; write all, streams, heal, scale, store or docker`);
  return text;
};
const options = {
  figures: figuresOf(values.figures),
  samples: count('samples', values.samples),
  containers: count('containers', values.containers),
  idleMs: count('idle-seconds', values['idle-seconds']) * 1_000,
  say: (line: string) => console.error(line),
};
const isChosen = ([name]: readonly [string, unknown]): boolean => values.only === undefined || values.only === name;
const chosen = Object.entries(engines).filter(isChosen);
const chosenKeepers = options.figures === 'streams' ? [] : Object.entries(keepers).filter(isChosen);
if (chosen.length + chosenKeepers.length === 0)
  throw new Error(
    `--only is "${values.only}"; write one of ${[...Object.keys(engines), ...Object.keys(keepers)].join(', ')}`,
  );

/** Rejects at Ctrl-C, so that what was started is taken down. */
const interrupted = new Promise<never>((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => reject(new Error(`ended by ${signal}`)));
});
interrupted.catch(() => {}); // It may come while nothing is measured; then the engine that starts is measured in vain.

const dir = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
const columns: Column[] = [];
const missing: string[] = [];
try {
  const name = 'localhost/holdfast-bench:1';
  const image = { path: (await buildBusyboxImage({ dir, name })).path, name };
  for (const [engineName, start] of chosen) {
    try {
      const engine = await start(image);
      try {
        const measured = await Promise.race([measure(engine, options), interrupted]);
        columns.push({ engine: engine.name, isOurs: start === startHoldfast, figures: measured });
      } finally {
        await engine.close();
      }
    } catch (error) {
      missing.push(`${engineName}: ${describe(error)}`);
    }
  }
  for (const [keeperName, open] of chosenKeepers) {
    try {
      const keeper = await open();
      try {
        const healMs = await Promise.race([healing(keeper, options), interrupted]);
        columns.push({ engine: keeper.name, isOurs: false, figures: { ...noFigures, healMs } });
      } finally {
        await keeper.close();
      }
    } catch (error) {
      missing.push(`${keeperName}: ${describe(error)}`);
    }
  }
} finally {
  await rm(dir, { recursive: true, force: true });
}
console.log(formatTable(describeTargets(options.containers), columns));
console.log(`\n${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}; Node ${process.version}`);
if (columns.some(({ engine }) => /^(systemd|supervisord) /.test(engine)))
  console.log(
    'systemd (PID 1 of namespaces of its own here) and supervisord keep plain processes, without a container',
  );
if (options.figures === 'all' && values.only === undefined)
  console.log(`\n${await Promise.race([measureScale(options.say), interrupted])}`);
if (options.figures === 'all' && values.only === undefined)
  console.log(`\n${await Promise.race([storeTable(), interrupted])}`);
if (options.figures === 'all' && values.only === undefined)
  console.log(`\n${await Promise.race([dockerTable(), interrupted])}`);
for (const line of missing) console.log(`not measured: ${line}`);
if (missing.length > 0) process.exitCode = 1;

async function dockerTable(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  try {
    const name = 'localhost/holdfast-bench:1';
    const image = { path: (await buildBusyboxImage({ dir, name })).path, name };
    const containers = count('containers', values.containers);
    const samples = count('samples', values.samples);
    return formatDocker(
      await measureDockerCli({ image, samples, containers, say: (line) => console.error(line) }),
      containers,
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function storeTable(): Promise<string> {
  const sizes = values.sizes.split(',').map(Number);
  if (sizes.some((size) => !Number.isInteger(size) || size < 1))
    throw new Error(`--sizes is "${values.sizes}"; write numbers of objects, as in 1000,10000`);
  const { kubeconfig } = values;
  const pid = values.pid === undefined ? undefined : Number(values.pid);
  const figures = await measureStore({ kubeconfig, pid, sizes, say: (line) => console.error(line) });
  return formatStore([{ name: kubeconfig === undefined ? 'holdfast' : 'given', figures }]);
}

function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${error instanceof Error ? error.message : String(error)}${cause}`;
}
