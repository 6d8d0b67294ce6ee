/** The chaos from beginning to end: thirty containers in a real instance, writes, faults, checker, report, clean-up. Effects. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { buildBusyboxImage } from '../images.ts';
import { createInstance, freePort, type Instance } from '../instance.ts';
import { assertNoLeaks, snapshotHost } from '../leaks.ts';
import { until } from '../until.ts';
import { DaemonKeeper } from './daemon-keeper.ts';
import { type Fault, kindsOf, type Scope } from './faults.ts';
import { observeMonitor, observeRunning } from './host-view.ts';
import { command, type FaultDeps, findFlawOfAny } from './injuries.ts';
import { type PlannedFault, planFaults } from './plan.ts';
import { createRandom } from './random.ts';
import type { ChaosReport, FaultOutcome } from './report.ts';
import { createRoster, guestNames, type Member, serverCount } from './roster.ts';
import { findFlaw } from './soundness.ts';
import { Watcher } from './watcher.ts';
import { WriteLedger } from './write-ledger.ts';
import { writeAllAlong } from './writer.ts';

export interface ChaosOptions {
  readonly seed: number;
  /** For so long faults are done; what was harmed then heals after it. */
  readonly forMs: number;
  readonly faults: readonly Fault[];
  /** Between two faults. */
  readonly faultPauseMs: readonly [low: number, high: number];
  /** A fault that is not healed within it is a failure. */
  readonly deadlineMs: number;
  /** Told what happens. */
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

const writePauseMs = [200, 700] as const;
const diskSize = '384m';

/** Runs it and cleans up, whatever happens. Throws if the chaos could not begin, was ended, or the host was left unclean. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const hostBefore = await snapshotHost();
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-chaos-'));
  const diskDir = join(dir, 'disk');
  await mkdir(diskDir);
  const errors: unknown[] = [];
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      errors.push(error);
      return undefined;
    }
  };
  const report = await attempt(async () => {
    await command('mount', '-t', 'tmpfs', '-o', `size=${diskSize},mode=0755`, 'chaos', diskDir);
    const instance = await createInstance({ dataDir: join(diskDir, 'data'), flags: ['--log-level', 'warn'] });
    const inside = await attempt(async () => {
      await instance.start();
      return await chaosIn(instance, { dir, diskDir }, options);
    });
    await attempt(() => instance.close());
    await attempt(() => assertNoLeaks(hostBefore, instance));
    await attempt(() => command('umount', diskDir));
    return inside;
  });
  await attempt(() => rm(dir, { recursive: true, force: true }));
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, errors.join('; '));
  if (report === undefined) throw new Error('the chaos ended without a report');
  return report;
}

async function chaosIn(
  instance: Instance,
  { dir, diskDir }: { readonly dir: string; readonly diskDir: string },
  options: ChaosOptions,
): Promise<ChaosReport> {
  const { seed, deadlineMs, say } = options;
  const ending = new AbortController();
  const prefix = `chaos-${instance.bridge}`;
  const ledgersDir = join(dir, 'ledgers');
  await mkdir(ledgersDir);
  const { reference: image } = await buildBusyboxImage({ dir });
  const hostPorts: number[] = [];
  while (hostPorts.length < serverCount) hostPorts.push(await freePort());
  const residents = createRoster({ image, prefix, ledgersDir, hostPorts });
  const ledger = new WriteLedger(instance);
  const watcher = new Watcher({ instance, ledger, residents, ledgersDir, prefix, deadlineMs, signal: ending.signal });
  const daemon = new DaemonKeeper(instance);
  const deps: FaultDeps = { instance, daemon, watcher, residents, diskDir };
  const background: Promise<void>[] = [];
  try {
    for (const { name, spec, duty } of residents)
      await ledger.create(name, spec, { value: '0', shouldRun: duty.kind !== 'rests' });
    background.push(watcher.watch());
    say(`${residents.length} containers start, and room is left for ${guestNames.length} that come and go`);
    await untilSound(residents, deps, deadlineMs);
    const writing = writeAllAlong({
      ledger,
      random: createRandom(seed, 'writes'),
      image,
      prefix,
      residents,
      isFree: (name) => watcher.stored !== undefined && !watcher.stored.has(name),
      pauseMs: writePauseMs,
      signal: ending.signal,
    });
    // Its failure must be heard of when it is awaited, not before.
    writing.catch(() => {});
    const outcomes = await doFaults(deps, options);
    const interim = outcomes.filter(({ healedAfterMs }) => healedAfterMs === undefined).length;
    say(`all faults were done, ${interim} of them not healed; writing ends, and all is looked at again`);
    ending.abort();
    const failures: string[] = [];
    await writing.catch((error: unknown) => failures.push(`writing failed: ${String(error)}`));
    await Promise.all(background);
    failures.push(...(await lookAtTheEnd(deps, ledger, deadlineMs)));
    return {
      seed,
      seconds: Math.round(options.forMs / 1000),
      containers: residents.length + guestNames.length,
      outcomes,
      writes: { acknowledged: ledger.acknowledged, doubted: ledger.doubted },
      looks: watcher.looks,
      daemonStarts: daemon.starts,
      lostWrites: ledger.lost,
      doubled: [...watcher.doubled],
      failures: [
        ...failures,
        ...watcher.failures,
        ...daemon.ownEnds.map((log) => `the daemon ended by itself: ${log}`),
      ],
    };
  } finally {
    ending.abort();
    await Promise.all(background);
    await daemon.close();
  }
}

async function untilSound(members: readonly Member[], deps: FaultDeps, deadlineMs: number): Promise<void> {
  let flaw: string | undefined;
  const isSound = async (): Promise<boolean> => {
    flaw = await findFlawOfAny(members, deps);
    return flaw === undefined;
  };
  await until(isSound, 'all containers to do their duty', deadlineMs).catch((error: unknown) => {
    throw new Error(`the containers did not start: ${flaw}; the daemon's log: ${deps.instance.log.slice(-2_000)}`, {
      cause: error,
    });
  });
}

/** Does each fault at its time, if what it hits is well by then; faults of one scope wait for each other. */
async function doFaults(deps: FaultDeps, options: ChaosOptions): Promise<readonly FaultOutcome[]> {
  const { seed, forMs, faults, faultPauseMs, say, signal } = options;
  const plan = planFaults({ seed, forMs, kinds: kindsOf(faults, deps.residents), pauseMs: faultPauseMs });
  const beganMs = performance.now();
  const lanes = new Map<Scope | string, Promise<unknown>>();
  const outcomes: Promise<FaultOutcome>[] = [];
  for (const [index, planned] of plan.entries()) {
    const fault = faults.find(({ kind }) => kind === planned.kind);
    if (fault === undefined) throw new Error(`no fault is called ${planned.kind}`);
    await wait(Math.max(0, beganMs + planned.atMs - performance.now()), undefined, { signal });
    const lane = planned.target ?? fault.scope;
    const outcome = (lanes.get(lane) ?? Promise.resolve()).then(async () => {
      const result = await doFault(fault, planned, deps, options);
      const end =
        result.healedAfterMs === undefined ? `NOT HEALED: ${result.flaw}` : `${Math.round(result.healedAfterMs)} ms`;
      say(
        `${(planned.atMs / 1000).toFixed(1)} s (${index + 1} of ${plan.length}): ${planned.kind} ${planned.target ?? ''} ${end}`,
      );
      return result;
    });
    lanes.set(lane, outcome);
    outcomes.push(outcome);
  }
  return await Promise.all(outcomes);
}

async function doFault(
  fault: Fault,
  { kind, target, atMs, lastsMs }: PlannedFault,
  deps: FaultDeps,
  { deadlineMs, signal }: ChaosOptions,
): Promise<FaultOutcome> {
  const outcome = { kind, target, plannedAtMs: atMs };
  const member = deps.residents.find(({ name }) => name === target);
  let flaw: string | undefined = 'it was not looked at';
  const everyMs = fault.scope === 'container' ? 50 : 500;
  const seen: string[] = [];
  const untilNoFlaw = async (find: () => Promise<string | undefined>): Promise<void> => {
    const beganMs = performance.now();
    const endMs = beganMs + deadlineMs;
    for (;;) {
      const before = flaw;
      flaw = await find();
      if (flaw === undefined) return;
      if (flaw !== before) seen.push(`${Math.round(performance.now() - beganMs)} ms: ${flaw}`);
      if (performance.now() > endMs) throw new Error(`not within ${deadlineMs} ms`);
      await wait(everyMs, undefined, { signal });
    }
  };
  try {
    const before = member === undefined ? async () => undefined : () => findFlaw(member, deps);
    await untilNoFlaw(before);
    const injury = await fault.inject({ target: member, lastsMs }, deps);
    flaw = undefined;
    await untilNoFlaw(injury.findFlaw);
    return { ...outcome, healedAfterMs: performance.now() - injury.atMs, flaw: undefined };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return {
      ...outcome,
      healedAfterMs: undefined,
      flaw: `${flaw ?? ''} (${why}); seen before: ${seen.slice(-12).join(', ')}; ${await tell(target, deps)}`,
    };
  }
}

/** What controller and daemon say, for whoever looks into a fault that was not healed. */
async function tell(target: string | undefined, { instance }: FaultDeps): Promise<string> {
  const status = target === undefined ? undefined : (await instance.get(target).catch(() => undefined))?.status;
  const { state, reason, message } = status ?? {};
  return `status ${JSON.stringify({ state, reason, message })}; the daemon's log ends with ${instance.log.slice(-1_500)}`;
}

/** When nothing is written and no fault is done any more, everything must be exactly as it should be. */
async function lookAtTheEnd(deps: FaultDeps, ledger: WriteLedger, deadlineMs: number): Promise<readonly string[]> {
  const { watcher, instance } = deps;
  let wrong: readonly string[] = [];
  const isRight = async (): Promise<boolean> => {
    await watcher.ask();
    watcher.look();
    wrong = await findRemains(deps, ledger);
    return wrong.length === 0;
  };
  try {
    await until(isRight, 'all to be right at the end', deadlineMs);
    return [];
  } catch {
    return wrong.map((what) => `at the end: ${what}; the daemon's log: ${instance.log.slice(-1_000)}`);
  }
}

async function findRemains(deps: FaultDeps, ledger: WriteLedger): Promise<readonly string[]> {
  const { watcher, instance, residents } = deps;
  if (watcher.stored === undefined) return ['the store does not answer'];
  const flaw = await findFlawOfAny(residents, deps);
  const complaints = watcher.complaints.map(({ kind, name }) => `${name} is ${kind}`);
  const doubtful = ledger.accounts.filter((account) => account.doubtful !== undefined);
  // Names that were written and are gone must be gone from the store, and strangers must not be in it.
  const wanted = new Set(ledger.accounts.flatMap(({ name, sure }) => (sure?.kind === 'present' ? [name] : [])));
  const strange = [...watcher.stored.keys()].filter((name) => !wanted.has(name));
  const running = await observeRunning(join(instance.runDir, 'oci'));
  const known = new Set(watcher.runs.flatMap((one) => observeMonitor(one)?.id ?? []));
  return [
    ...(flaw === undefined ? [] : [flaw]),
    ...complaints,
    ...doubtful.map(({ name }) => `the last write to ${name} is in doubt`),
    ...strange.map((name) => `the store has ${name}, which was deleted`),
    // Those that crash come and go between the two looks.
    ...(running.size <= known.size + 2
      ? []
      : [`crun runs ${running.size} containers, of which ${known.size} are wanted`]),
  ];
}
