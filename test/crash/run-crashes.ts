/**
 * A daemon is killed, by SIGKILL, before every single change that it makes to its host: the next one finishes or undoes
 * what it was at. The list of changes comes from a run that is not killed; what a next one does that this one had no
 * reason to do is found as it happens, and there one is killed as well. Effects: starts and kills programs.
 */
import type { ActorReport, Looks } from './actor.ts';
import {
  type Choice,
  candidatesOf,
  choosePlaces,
  describePlace,
  opening,
  type Place,
  signatureOf,
  type TracedStep,
} from './points.ts';
import { Stage } from './stage.ts';

export interface CrashesInput {
  /** Names of scenarios; `opening` is one, too. */
  readonly scenarios: readonly string[];
  readonly choice: Choice;
  /** Whether programs that recover from a crash are killed, too. */
  readonly recoveries: 'killed' | 'left alone';
  say(line: string): void;
  readonly signal: AbortSignal;
}

export interface CrashesReport {
  /** Lines of ours, FILE:LINE, that changed the host in programs that nobody killed, or in those that recovered. */
  readonly changing: ReadonlySet<string>;
  /** Those that came to be run and found nothing to change. */
  readonly idle: ReadonlySet<string>;
  /** How many places there were to choose from. */
  readonly candidates: number;
  readonly killed: number;
  readonly killedRecovering: number;
  readonly problems: readonly string[];
  /** Where nobody came again: what happens depends on how far others have come. */
  readonly unreached: readonly string[];
}

interface Point extends Place {
  /** Where the one is killed that recovers from it. */
  readonly recovery?: Place;
  readonly tries: number;
}

const maxTries = 3;

function describe({ recovery, ...place }: Point): string {
  return recovery === undefined ? describePlace(place) : `${describePlace(place)}; then ${describePlace(recovery)}`;
}

export async function runCrashes(input: CrashesInput): Promise<CrashesReport> {
  const stage = await Stage.open(input.scenarios);
  try {
    return await new Crashes(stage, input).run();
  } finally {
    await stage.close();
  }
}

class Crashes {
  readonly #stage: Stage;
  readonly #input: CrashesInput;
  readonly #changing = new Set<string>();
  readonly #idle = new Set<string>();
  readonly #problems: string[] = [];
  readonly #unreached: string[] = [];
  readonly #left: Point[] = [];
  /** What one need not be killed at again. */
  readonly #seen = new Set<string>();
  #looks: Looks = {};
  #killed = 0;
  #killedRecovering = 0;

  constructor(stage: Stage, input: CrashesInput) {
    this.#stage = stage;
    this.#input = input;
  }

  async run(): Promise<CrashesReport> {
    const candidates = await this.#trace();
    const places = choosePlaces(candidates, this.#input.choice);
    this.#left.push(...places.map(({ signature: _, ...place }) => ({ ...place, tries: 0 })));
    this.#input.say(`${places.length} of ${candidates.length} steps`);
    let last: Point | undefined;
    for (;;) {
      this.#input.signal.throwIfAborted();
      const next = this.#left.shift();
      if (next === undefined && last === undefined) break;
      last = await this.#go(last, next);
    }
    return {
      changing: this.#changing,
      idle: this.#idle,
      candidates: candidates.length,
      killed: this.#killed,
      killedRecovering: this.#killedRecovering,
      problems: this.#problems,
      unreached: this.#unreached,
    };
  }

  /** All steps of a program that is left alone. */
  async #trace(): Promise<readonly ReturnType<typeof candidatesOf>[number][]> {
    const { scenarios } = this.#input;
    const { reports, said } = await this.#stage.act({ trace: scenarios.filter((name) => name !== opening) });
    const done = reports.find((report) => report.kind === 'done');
    if (done === undefined) throw new Error(`the program that was left alone failed: ${said}`);
    this.#looks = done.looks;
    this.#note(done);
    const found = scenarios.map((name) => candidatesOf(done.steps, name));
    const without = found.findIndex((one) => one.length === 0);
    if (without >= 0) throw new Error(`the scenario ${scenarios[without]} has no steps`);
    for (const traced of done.steps) this.#seen.add(signatureOf(traced));
    return found.flat();
  }

  /** Has what is left of `last` finished, and a program killed at `next`; returns the point that is to be finished then. */
  async #go(last: Point | undefined, next: Point | undefined): Promise<Point | undefined> {
    const isAtOpening = next?.scenario === opening;
    if (last !== undefined || !isAtOpening) {
      const crash = isAtOpening ? undefined : placeOf(next);
      const { reports, said } = await this.#stage.act({ finish: last?.scenario, looks: this.#looks, crash });
      if (last !== undefined && !this.#judge(last, reports[0], said)) {
        await this.#stage.reset();
        // It never came to its own turn.
        if (next !== undefined) this.#left.unshift(next);
        return undefined;
      }
      if (crash !== undefined && next !== undefined)
        return await this.#afterKill(next, reports.at(-1)?.kind === 'dies', said);
    }
    if (next === undefined) return undefined;
    await this.#stage.reset();
    const { reports, said } = await this.#stage.act({ looks: this.#looks, crash: placeOf(next) });
    return await this.#afterKill(next, reports.at(-1)?.kind === 'dies', said);
  }

  #judge(last: Point, report: ActorReport | undefined, said: string): boolean {
    if (report?.kind !== 'finished') {
      this.#problems.push(`killed at "${describe(last)}", then:\n${said}`);
      this.#input.say(`PROBLEM ${this.#problems.length}: ${this.#problems.at(-1)}`);
      return false;
    }
    const { steps } = report;
    this.#note(report);
    if (this.#input.recoveries === 'killed') this.#findRecoveries(last, steps);
    return true;
  }

  #note({ steps, idle }: Pick<Extract<ActorReport, { kind: 'finished' }>, 'steps' | 'idle'>): void {
    for (const { sites } of steps) for (const site of sites) this.#changing.add(site);
    for (const site of idle) this.#idle.add(site);
  }

  /** The steps of a recovery that no program took before. */
  #findRecoveries({ recovery, ...place }: Point, steps: readonly TracedStep[]): void {
    for (const { signature, ...found } of candidatesOf(steps, opening)) {
      if (this.#seen.has(signature)) continue;
      this.#seen.add(signature);
      if (place.scenario === opening) continue;
      this.#left.unshift({ ...place, tries: 0, recovery: found });
    }
  }

  async #afterKill(point: Point, isKilled: boolean, said: string): Promise<Point | undefined> {
    if (!isKilled) {
      await this.#stage.reset();
      // What happens meanwhile may take another course; never to come there is another matter.
      if (point.tries + 1 < maxTries) this.#left.push({ ...point, tries: point.tries + 1 });
      else this.#unreached.push(`${describe(point)}${said === '' ? '' : `: ${said}`}`);
      return undefined;
    }
    this.#killed += 1;
    this.#input.say(describe(point));
    const { recovery } = point;
    if (recovery === undefined) return point;
    const { reports } = await this.#stage.act({ finish: point.scenario, looks: this.#looks, crash: recovery });
    if (reports.at(-1)?.kind === 'dies') {
      this.#killedRecovering += 1;
      return point;
    }
    if (point.tries + 1 < maxTries) this.#left.push({ ...point, tries: point.tries + 1 });
    else this.#unreached.push(describe(point));
    await this.#stage.reset();
    return undefined;
  }
}

function placeOf(point: Point | undefined): Place | undefined {
  return point === undefined ? undefined : { scenario: point.scenario, step: point.step, nth: point.nth };
}
