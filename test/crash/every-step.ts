/**
 * A daemon that is killed, by SIGKILL, before every single change that it makes to its host while it opens, creates,
 * starts, pauses, updates, stops, copies and removes: the next one finishes or undoes what it was at. The list of changes
 * comes from a run that is not killed.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { removeHostState } from '../../runtime/index.ts';
import { TestHost } from '../runtime/host.ts';
import type { ActorPlan, ActorReport, CrashPoint, Looks, TracedStep } from './actor.ts';
import { scenarios } from './scenarios.ts';

const script = fileURLToPath(new URL('./actor.ts', import.meta.url));
/** Instances at work at once. */
const hostCount = 2;

interface Ended {
  readonly reports: readonly ActorReport[];
  readonly signal: NodeJS.Signals | null;
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
    this.#ended = new Promise((resolve) => child.once('close', (_, signal) => resolve({ reports, signal, said })));
  }

  act(plan: ActorPlan): Promise<Ended> {
    this.#child.stdin?.end(`${JSON.stringify(plan)}\n`);
    return this.#ended;
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** One instance, at which one program after another is killed. */
class Stage {
  readonly host: TestHost;
  readonly #startsDir: string;
  #next = new Actor();

  private constructor(host: TestHost) {
    this.host = host;
    this.#startsDir = join(host.dir, 'starts');
  }

  static async open(): Promise<Stage> {
    const host = await TestHost.open({ netnsPoolSize: 1 });
    await host.runtime.close();
    const stage = new Stage(host);
    await mkdir(stage.#startsDir);
    return stage;
  }

  act(plan: Pick<ActorPlan, 'finish' | 'crash' | 'looks' | 'trace'>): Promise<Ended> {
    const actor = this.#next;
    this.#next = new Actor();
    const { dataDir, runDir, bridge, subnet } = this.host.deps;
    return actor.act({
      ...plan,
      dataDir,
      runDir,
      bridge,
      subnet,
      imageID: this.host.image.id,
      startsDir: this.#startsDir,
    });
  }

  async close(): Promise<void> {
    await this.#next.close();
    await this.host.close();
  }
}

interface Candidate extends CrashPoint {
  /** The lines of ours that lead to it. */
  readonly sites: string;
}

/** Where one can die in a scenario: before each step; of one that is repeated, before the first and the last. */
function candidatesOf(steps: readonly TracedStep[], scenario: string): Candidate[] {
  const found = new Map<string, Candidate[]>();
  for (const { scenario: of, name: step, sites, isBackground } of steps) {
    if (of !== scenario || (isBackground && scenario !== 'stop')) continue;
    const [first, last] = found.get(step) ?? [];
    const one = { scenario, step, nth: (last?.nth ?? first?.nth ?? 0) + 1, sites: sites.slice(0, 3).join(' ') };
    found.set(step, first === undefined ? [one] : [first, one]);
  }
  return [...found.values()].flat();
}

/** All of them, or those that no other stands for: a step is as another if the same lines of ours lead to it. */
function choosePoints(candidates: readonly Candidate[], which: 'all' | 'distinct'): readonly Candidate[] {
  if (which === 'all') return candidates;
  const seen = new Set<string>();
  return candidates.filter(({ sites }) => {
    const isNew = !seen.has(sites);
    seen.add(sites);
    return isNew;
  });
}

const text = ({ scenario, step, nth }: CrashPoint): string => `${scenario}: ${step} (${nth})`;

describe('a daemon that is killed at every step', function () {
  this.timeout(900_000);
  const stages: Stage[] = [];
  let looks: Looks = {};
  let points: readonly CrashPoint[] = [];
  before(async () => {
    stages.push(...(await Promise.all(Array.from({ length: hostCount }, () => Stage.open()))));
    const [first] = stages;
    assert.ok(first !== undefined);
    await removeHostState(first.host.deps);
    const names = scenarios.map(({ name }) => name);
    const { reports, said } = await first.act({ trace: names });
    const done = reports.find((report) => report.kind === 'done');
    assert.ok(done !== undefined, said);
    looks = done.looks;
    const candidates = ['open', ...names].flatMap((name) => candidatesOf(done.steps, name));
    for (const name of ['open', ...names])
      assert.ok(
        candidates.some(({ scenario }) => scenario === name),
        name,
      );
    points = choosePoints(candidates, process.env.HOLDFAST_CRASH_STEPS === 'all' ? 'all' : 'distinct');
  });
  after(async () => {
    await Promise.all(stages.map((stage) => stage.close()));
  });

  it('is followed by one that finishes or undoes what it was at', async () => {
    const left = points.map((point) => ({ point, tries: 0 }));
    const problems: string[] = [];
    const work = async (stage: Stage): Promise<void> => {
      let last: CrashPoint | undefined;
      /** What waits for the last crash to be dealt with. */
      for (let next = left.shift(); next !== undefined || last !== undefined; next = left.shift()) {
        const isOpening = next?.point.scenario === 'open';
        let isKilled = false;
        if (last !== undefined || !isOpening) {
          const crash = isOpening ? undefined : next?.point;
          const { reports, said } = await stage.act({ finish: last?.scenario, looks, crash });
          const isFinished = last === undefined || reports[0]?.kind === 'finished';
          if (last !== undefined && !isFinished) problems.push(`killed at "${text(last)}", then:\n${said}`);
          isKilled = reports.at(-1)?.kind === 'dies';
          last = undefined;
          if (!isFinished || (crash !== undefined && !isKilled)) await removeHostState(stage.host.deps);
          // It never came to its own turn.
          if (!isFinished && next !== undefined) {
            left.unshift(next);
            continue;
          }
        }
        if (next === undefined) continue;
        if (isOpening) {
          await removeHostState(stage.host.deps);
          const { reports } = await stage.act({ looks, crash: next.point });
          isKilled = reports.at(-1)?.kind === 'dies';
        }
        if (isKilled) last = next.point;
        // What happens meanwhile may take another course; never to come there is another matter.
        else if (next.tries < 2) left.push({ ...next, tries: next.tries + 1 });
        else problems.push(`"${text(next.point)}" was not reached`);
      }
    };
    await Promise.all(stages.map(work));
    assert.equal(problems.length, 0, `${problems.length} of ${points.length}:\n${problems.join('\n')}`);
  });
});
