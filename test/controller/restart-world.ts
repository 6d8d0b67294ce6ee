/**
 * One container in a world of its own: decide, accountFor and their like over a clock that the test turns, with a wall clock
 * that jumps and timers that do not. It checks each start as it happens, by counts of its own.
 */
import assert from 'node:assert/strict';
import { accountFor } from '../../controller/account.ts';
import { accountForImageFailure, accountForStartFailure } from '../../controller/account-failures.ts';
import { decide, type ImageState, type Step } from '../../controller/decide.ts';
import { type Desired, labelKeys } from '../../controller/desired.ts';
import { accountForReplacement, emptyHistory, type History, withdrawStop } from '../../controller/history.ts';
import { historyFromStatus } from '../../controller/history-from-status.ts';
import { formatStatus } from '../../controller/status.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import type { ContainerInfo } from '../../runtime/index.ts';
import { container, desired, object } from './fixtures.ts';

export const fatalCode = 3;
export const successCode = 4;

export type Fault = 'image' | 'create' | 'host' | 'command';

export type Action =
  | { readonly kind: 'pass'; readonly ms: number }
  /** The process ends, if there is one. -1: nobody saw how. */
  | { readonly kind: 'end'; readonly code: number }
  /** The wall clock is set. */
  | { readonly kind: 'jump'; readonly ms: number }
  | { readonly kind: 'restart-controller' }
  | { readonly kind: 'spec'; readonly change: Partial<ContainerSpec> }
  /** The next tries of this kind fail, so many times. */
  | { readonly kind: 'fail'; readonly what: Fault; readonly times: number };

/** What went wrong last, and when, by the timers' clock; the next try must wait for it. */
interface Wait {
  readonly sinceMono: number;
  readonly attempt: number;
  /** The clock, the spec or somebody came in between: the next try may be earlier or later. */
  isDisturbed: boolean;
}

export class RestartWorld {
  mono = 0;
  offset = 1_800_000_000_000;
  spec: Partial<ContainerSpec>;
  history: History = emptyHistory;
  isStubborn = false;
  starts = 0;
  readonly #faults = new Map<Fault, number>();
  #container: ContainerInfo | undefined;
  #image: ImageState = { kind: 'unknown' };
  #timer: number | undefined;
  #step: Step = { kind: 'settled' };
  #wait: Wait | undefined;
  #failures = 0;
  #hostFailures = 0;
  #imageFailures = 0;
  /** Of the present run, by the timers' clock; undefined: the clock was set during it. */
  #startedMono: number | undefined;
  #isFatal = false;
  /** The spec was just changed, and its wake has not ended. */
  #isChanging = false;
  #desired: Desired;

  constructor(spec: Partial<ContainerSpec>) {
    this.spec = spec;
    this.#desired = desired({ spec });
    this.#wake();
  }

  get now(): number {
    return this.mono + this.offset;
  }
  get isRunning(): boolean {
    return this.#container?.state.kind === 'running';
  }
  get wanted(): Desired {
    return this.#desired;
  }
  get isFatal(): boolean {
    return this.#isFatal;
  }

  do(action: Action): void {
    switch (action.kind) {
      case 'pass':
        return this.pass(action.ms);
      case 'end':
        if (this.isRunning) this.#end(action.code);
        return this.#wake();
      case 'jump':
        this.offset += action.ms;
        this.#disturb();
        this.#startedMono = undefined;
        // What watches the clock has everything looked at.
        return this.#wake();
      case 'restart-controller':
        return this.#restartController();
      case 'spec':
        this.spec = { ...this.spec, ...action.change };
        this.#desired = desired({ spec: this.spec });
        this.#disturb();
        if (!this.#desired.shouldRun) this.#isFatal = false;
        this.#isChanging = true;
        this.#wake();
        this.#isChanging = false;
        // What a change clears, tables tell; here the count goes on from it.
        this.#failures = this.history.failures;
        this.#hostFailures = this.history.hostFailures;
        this.#imageFailures = this.history.imageFailures;
        return this.#disturb();
      case 'fail':
        this.#faults.set(action.what, action.times);
        return;
      default:
        throw new TypeError(`unknown action: ${JSON.stringify(action satisfies never)}`);
    }
  }

  /** Time goes on, and timers go off. */
  pass(ms: number): void {
    const end = this.mono + ms;
    for (let turns = 0; this.#timer !== undefined && this.#timer <= end; turns += 1) {
      assert.ok(turns < 10_000, 'timers go off without end');
      this.mono = Math.max(this.mono, this.#timer);
      this.#wake();
    }
    this.mono = end;
  }

  heal(): void {
    this.#faults.clear();
  }

  #disturb(): void {
    if (this.#wait !== undefined) this.#wait.isDisturbed = true;
  }

  #restartController(): void {
    const { history, now } = this;
    const status = formatStatus({
      ...{ object: object({ spec: this.spec }), desired: this.#desired, container: this.#container, history },
      ...{ image: this.#image, step: this.#step, nodeName: 'host', nowMs: now },
    });
    this.history = historyFromStatus(status, 1);
    if (history.retry !== undefined && history.retry.atMs > now && this.#desired.shouldRun) {
      const { atMs, delayMs, attempt } = history.retry;
      const { retry } = this.history;
      assert.deepEqual([retry?.atMs, retry?.delayMs, retry?.attempt], [atMs, delayMs, attempt], 'the same wait');
      assert.equal(this.history.failures, history.failures, 'the same count');
    }
    // Which fault of the host it waited for is not in the status once that wait is over.
    else this.#disturb();
    this.#wake();
  }

  /** Looks, decides and acts until there is nothing to do but wait. */
  #wake(): void {
    this.#timer = undefined;
    for (let count = 0; ; count += 1) {
      assert.ok(count < 50, `it flaps: ${this.#step.kind}`);
      const { now } = this;
      this.history = accountFor(this.history, this.#desired, this.#container, now);
      this.#step = decide({
        ...{ isDeleting: false, hasFinalizer: true, mutableHash: 'm', dependencies: [], hasPredecessor: false },
        ...{ desired: this.#desired, container: this.#container, image: this.#image },
        ...{ history: this.history, nowMs: now },
      });
      if (this.#act(this.#step)) continue;
      const untilMs = this.#step.kind === 'wait' || this.#step.kind === 'settled' ? this.#step.untilMs : undefined;
      if (untilMs !== undefined) this.#timer = this.mono + Math.max(1, untilMs - now);
      return;
    }
  }

  /** Returns whether something changed. */
  #act(step: Step): boolean {
    switch (step.kind) {
      case 'ensure-image':
        this.#checkTry();
        if (this.#isFailing('image')) {
          this.#imageFailures += 1;
          this.#waits(this.#imageFailures);
          const failure = { reason: 'ErrImagePull', message: 'no' };
          this.history = accountForImageFailure(this.history, this.#desired, failure, this.now);
        } else this.#image = { kind: 'present', imageID: 'sha256:1' };
        return true;
      case 'create':
        this.#checkTry();
        if (this.#isFailing('create')) this.#failByHost('create');
        else
          this.#container = container(
            { kind: 'created' },
            { labels: { [labelKeys.specHash]: this.#desired.specHash, [labelKeys.mutableHash]: 'm' } },
          );
        return true;
      case 'start':
        this.#start();
        return true;
      case 'remove':
        this.#container = undefined;
        this.#image = { kind: 'unknown' };
        this.history = accountForReplacement(this.history);
        this.#forget();
        return true;
      case 'stop':
        this.history = { ...this.history, stop: { sinceMs: this.now, killAtMs: step.killAtMs, isWithdrawn: false } };
        if (!this.isStubborn) this.#finish(143);
        return true;
      case 'kill':
        this.history = {
          ...this.history,
          stop: { sinceMs: this.now, killAtMs: this.now, ...this.history.stop, isWithdrawn: false },
        };
        this.#finish(137);
        return true;
      case 'wait':
      case 'settled':
        if (step.kind === 'settled' && this.#desired.shouldRun) this.history = withdrawStop(this.history);
        return false;
      default:
        throw new Error(`a step that this world does not know: ${JSON.stringify(step)}`);
    }
  }

  #isFailing(what: Fault): boolean {
    const left = this.#faults.get(what) ?? 0;
    this.#faults.set(what, left - 1);
    return left > 0;
  }

  #start(): void {
    assert.ok(!this.isRunning, 'a second start while it runs');
    this.#checkTry();
    this.starts += 1;
    if (this.#isFailing('host')) return this.#failByHost('start');
    if (this.#isFailing('command')) {
      this.#failures += 1;
      this.#waits(this.#failures);
      const failure = { of: 'start', reason: 'RunContainerError', message: 'no', exitCode: 127 } as const;
      this.#container = this.#withState({
        ...{ kind: 'exited', startedAtMs: undefined },
        exit: { code: 127, signal: undefined, oomKilled: false, finishedAtMs: this.now },
      });
      const dated = { ...failure, finishedAtMs: this.now };
      this.history = accountForStartFailure(this.history, this.#desired, dated, this.now);
      return;
    }
    this.#wait = undefined;
    this.#hostFailures = 0;
    this.#imageFailures = 0;
    this.#startedMono = this.mono;
    this.#container = this.#withState({ kind: 'running', pid: this.starts, startedAtMs: this.now });
  }

  #failByHost(of: 'create' | 'start'): void {
    this.#hostFailures += 1;
    this.#waits(this.#hostFailures);
    const failure = { of, reason: 'CreateContainerError', message: 'no', exitCode: undefined };
    this.history = accountForStartFailure(this.history, this.#desired, failure, this.now);
  }

  #withState(state: ContainerInfo['state']): ContainerInfo {
    assert.ok(this.#container !== undefined, 'there is a container');
    return { ...this.#container, state };
  }

  #waits(attempt: number): void {
    this.#wait = { sinceMono: this.mono, attempt, isDisturbed: this.#isChanging };
  }

  #forget(): void {
    this.#wait = undefined;
    this.#isFatal = false;
    this.#failures = 0;
    this.#hostFailures = 0;
    this.#imageFailures = 0;
  }

  /** It ends by itself; the count is followed here by the rule alone. */
  #end(code: number): void {
    // The shortest run there is; ends are told apart by their times.
    this.mono += 1;
    const ranForMs = this.#startedMono === undefined ? undefined : this.mono - this.#startedMono;
    const before = this.#failures;
    this.#finish(code);
    const { shouldRun } = this.#desired;
    const { stop } = this.history;
    // A stop that was taken back explains an end before its deadline.
    const wasAsked = stop !== undefined && (!stop.isWithdrawn || this.now <= stop.killAtMs);
    this.history = accountFor(this.history, this.#desired, this.#container, this.now);
    if (!shouldRun || wasAsked) return this.#forget();
    const isLong = ranForMs !== undefined && ranForMs >= this.#desired.restart.backoff.resetAfterMs;
    if (ranForMs !== undefined) assert.equal(this.history.failures, isLong ? 1 : before + 1, 'exits in a row');
    this.#failures = this.history.failures;
    this.#isFatal = code === fatalCode;
    this.#waits(this.#failures);
  }

  #finish(code: number): void {
    const { state } = this.#container ?? { state: { kind: 'created' } };
    if (state.kind !== 'running') return;
    const exit = { code, signal: code > 128 ? code - 128 : undefined, oomKilled: false, finishedAtMs: this.now };
    this.#container = this.#withState({ kind: 'exited', startedAtMs: state.startedAtMs, exit });
    this.#startedMono = undefined;
    if (!this.#desired.shouldRun) this.#forget();
  }

  /** Never after what is fatal, and no sooner nor later than the wait says. */
  #checkTry(): void {
    assert.ok(!this.#isFatal, 'a start after a fatal exit');
    const wait = this.#wait;
    this.#wait = undefined;
    if (wait === undefined || wait.isDisturbed) return;
    const { initialMs, factor, maxMs, jitter } = this.#desired.restart.backoff;
    const isLoop = initialMs === 0 && wait.attempt > 1;
    const baseMs = Math.min(maxMs, (isLoop ? 100 : initialMs) * factor ** (wait.attempt - (isLoop ? 2 : 1)));
    const waitedMs = this.mono - wait.sinceMono;
    const [least, most] = [Math.floor(baseMs * (1 - jitter)), Math.min(maxMs, Math.ceil(baseMs * (1 + jitter)))];
    // A timer is set for a millisecond at the least.
    const text = `waited ${waitedMs} ms before try ${wait.attempt + 1}, not ${least} to ${most}`;
    assert.ok(waitedMs >= least && waitedMs <= Math.max(1, most), text);
  }
}
