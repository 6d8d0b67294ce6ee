/**
 * A program for stage.ts: opens a runtime and does one thing to a container. It is told on its input in what an
 * earlier one was killed, which it finishes first, and where to die itself; or that it is to tell of all steps.
 */
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { type HostLook, observeHost } from './host-look.ts';
import { opening, type Place, type TracedStep } from './points.ts';
import { context, watchSteps } from './step-hook.ts';

/** What the host looks like, by scenario. */
export type Looks = Readonly<Record<string, HostLook>>;

export interface ActorPlan {
  readonly dataDir: string;
  readonly runDir: string;
  readonly bridge: string;
  readonly subnet: string;
  readonly imageID: string;
  /** For files that the scenarios need. */
  readonly workDir: string;
  /** See World. */
  readonly archive: string;
  readonly registry: string | undefined;
  readonly registriesConf: string | undefined;
  /** Folder of the host in which a container writes a line at each start. */
  readonly startsDir: string;
  /** What an earlier program was killed at. */
  readonly finish?: string | undefined;
  /** Before which step to die; undefined: after all is done, by itself. */
  readonly crash?: Place | undefined;
  /** From programs that nobody killed. */
  readonly looks?: Looks | undefined;
  /** Scenarios of which to tell the steps. */
  readonly trace?: readonly string[] | undefined;
}

/** One line of its output. */
export type ActorReport =
  /** What it was opened with, and what it finished, are as they should be. */
  | { readonly kind: 'finished'; readonly steps: readonly TracedStep[]; readonly idle: readonly string[] }
  /** It is killed next. */
  | { readonly kind: 'dies' }
  | {
      readonly kind: 'done';
      readonly steps: readonly TracedStep[];
      /** Lines of ours that found nothing to change. */
      readonly idle: readonly string[];
      readonly looks: Looks;
    };

const places: Record<string, string> = {};
const steps: TracedStep[] = [];
const idle = new Set<string>();
const counts = new Map<string, number>();
let scenario: string | undefined;
let crash: Place | undefined;
const tell = (report: ActorReport): void => {
  writeSync(1, `${JSON.stringify(report)}\n`);
};

await watchSteps(places, (step) => {
  if (scenario === undefined) return;
  if (step.isIdle) {
    for (const site of step.sites) idle.add(site);
    return;
  }
  const isBackground = scenario !== opening && context.getStore() !== 'operation';
  steps.push({ ...step, scenario, isBackground });
  if (scenario !== crash?.scenario || step.name !== crash.step) return;
  const nth = (counts.get(step.name) ?? 0) + 1;
  counts.set(step.name, nth);
  if (nth !== crash.nth) return;
  scenario = undefined;
  tell({ kind: 'dies' });
  process.kill(process.pid, 'SIGKILL');
});
// Only now, so that what they import is watched.
const { createRuntime } = await import('../../runtime/index.ts');
const { cleanUp, findScenario } = await import('./scenarios.ts');

const [line] = await once(createInterface({ input: process.stdin }), 'line');
const plan = JSON.parse(String(line)) as ActorPlan; // from stage.ts
Object.assign(places, {
  DATA: plan.dataDir,
  RUN: plan.runDir,
  BRIDGE: plan.bridge,
  STARTS: plan.startsDir,
  WORK: plan.workDir,
  REGISTRY: plan.registry ?? 'none',
});

const isKilledAtOpening = plan.crash?.scenario === opening;
if (isKilledAtOpening) crash = plan.crash;
scenario = opening;
const runtime = await createRuntime({
  ...plan,
  log: pino({ level: process.env.TEST_LOG ?? 'silent' }, pino.destination(2)),
  metrics: new Registry(),
  netnsPoolSize: 1,
});
const world = { ...plan, runtime };
const looks: Record<string, HostLook> = {};
const look = async (name: string): Promise<void> => {
  looks[name] = await observeHost(plan, { places, wanted: plan.looks?.[name] });
};
if (plan.finish !== undefined) {
  const killed = findScenario(plan.finish);
  if (killed !== undefined) {
    await killed.checkFound(world);
    await killed.run(world);
    await killed.check(world);
    // What its creation did not come to is made by its start.
    const seen = findScenario(killed.goesOnWith ?? killed.name) ?? killed;
    if (seen !== killed) await seen.run(world);
    await look(seen.name);
    await seen.check(world);
    // From here on it does what no daemon does.
    scenario = undefined;
    await cleanUp(world);
  }
  await look('clean');
  tell({ kind: 'finished', steps, idle: [...idle] });
} else if (isKilledAtOpening || plan.trace !== undefined) {
  await look('clean');
}
scenario = undefined;
for (const name of plan.trace ?? (plan.crash === undefined || isKilledAtOpening ? [] : [plan.crash.scenario])) {
  const one = findScenario(name);
  if (one === undefined) throw new TypeError(`there is no scenario ${name}`);
  await one.prepare(world);
  crash = plan.crash;
  scenario = name;
  await context.run('operation', () => one.run(world));
  await look(name);
  scenario = undefined;
  await one.check(world);
  await cleanUp(world);
}
await runtime.close();
tell({ kind: 'done', steps, idle: [...idle], looks });
process.exit(0);
