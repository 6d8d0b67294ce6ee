/**
 * One measurement of scale.ts in a process of its own, so that its memory is that of store and controller: `scale N` or
 * `storm N`. Prints the figures as JSON. The clients that apply and change specs run in it as well.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { containerIDOf } from '../../crds/index.ts';
import { createScaleRig, type ScaleRig } from '../scale-rig.ts';
import { summarize } from './report.ts';
import { restMs, type ScaleFigures, type StormFigures } from './scale.ts';

const [, , what, countText = '0'] = process.argv;
const count = Number(countText);
const changes = 200;
const heals = 100;

const p99 = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.ceil(0.99 * values.length) - 1] ?? Number.NaN;
const names = (word: string, many: number): string[] => Array.from({ length: many }, (_, index) => `${word}-${index}`);

/** Told of each call of the runtime. */
let heard: (operation: string, name: string) => void = () => {};

async function scale(rig: ScaleRig): Promise<ScaleFigures> {
  const all = names('c', count);
  const begunMs = performance.now();
  await rig.create(all);
  await rig.idle(900_000);
  const createMs = performance.now() - begunMs;
  if ((await rig.running()) !== count) throw new Error(`${await rig.running()} of ${count} containers run`);

  await rig.stopController();
  const resyncBegunMs = performance.now();
  await rig.startController();
  while ((await rig.metric('controller_runtime_reconcile_total')) < count)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const resyncMs = performance.now() - resyncBegunMs;
  await rig.idle();

  const times: number[] = [];
  for (let index = 0; index < changes; index += 1) {
    const name = all[(index * 7_919) % count] ?? '';
    const arrived = Promise.withResolvers<void>();
    const sentMs = performance.now();
    heard = (operation, changed) => {
      if (operation === 'update' && changed === name) arrived.resolve();
    };
    const answered = rig.call('PATCH', `/${name}`, { spec: { resources: { limits: { memory: `${100 + index}Mi` } } } });
    await arrived.promise;
    times.push(performance.now() - sentMs);
    await answered;
  }
  const { median } = summarize(times);
  const rssBytes = process.memoryUsage.rss();
  await new Promise((resolve) => setTimeout(resolve, restMs));
  const restedRssBytes = process.memoryUsage.rss();
  return { count, createMs, rssBytes, restedRssBytes, resyncMs, changeMs: median, changeP99Ms: p99(times) };
}

async function storm(rig: ScaleRig): Promise<StormFigures> {
  // Each ends once: a second end would wait as its policy says.
  const well = names('well', heals);
  await rig.create(well, () => ({ backoff: { initial: '0s', jitter: 0 } }));
  await rig.idle();
  const ids = new Map<string, string>();
  for (const name of well) ids.set(name, containerIDOf(await rig.get(name)));
  let sickStarts = 0;
  let onStart: (name: string) => void = () => {};
  heard = (operation, name) => {
    if (operation !== 'start') return;
    if (name.startsWith('sick')) sickStarts += 1;
    onStart(name);
  };
  await rig.create(names('sick', count), () => ({ backoff: { initial: '1s', max: '1s' } }));
  const lag = monitorEventLoopDelay({ resolution: 10 });
  lag.enable();
  const [begunMs, startsBefore] = [performance.now(), sickStarts];
  const times: number[] = [];
  for (let index = 0; index < heals; index += 1) {
    const name = well[index] ?? '';
    const back = Promise.withResolvers<void>();
    onStart = (started) => {
      if (started === name) back.resolve();
    };
    const endedMs = performance.now();
    rig.runtime.exit(ids.get(name) ?? '', 1);
    await back.promise;
    times.push(performance.now() - endedMs);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  lag.disable();
  const seconds = (performance.now() - begunMs) / 1_000;
  return {
    count,
    restartsPerSecond: (sickStarts - startsBefore) / seconds,
    lagP99Ms: lag.percentile(99) / 1e6,
    healMs: summarize(times).median,
    healP99Ms: p99(times),
  };
}

const rig = await createScaleRig({
  behaviourOf: (name) => (name.startsWith('sick') ? { exitAfterMs: 20, exitCode: 1 } : {}),
  before: (operation, name) => {
    heard(operation, name);
    return undefined;
  },
});
try {
  console.log(JSON.stringify(what === 'storm' ? await storm(rig) : await scale(rig)));
} finally {
  await rig.close();
}
