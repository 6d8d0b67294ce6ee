/**
 * The independent checker: looks at host and store all along, and notes what must never be: a container that runs twice,
 * an acknowledged write that is gone, data that is gone, a run too many; and what must not last. Effects: reads only.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Instance } from '../instance.ts';
import { isSameAlive, observeRuns, type Run } from './host-view.ts';
import { type Complaint, idOf, judge } from './judge.ts';
import type { Member } from './roster.ts';
import { observeStore, type StoredObject, type WriteLedger } from './write-ledger.ts';

export interface WatcherDeps {
  readonly instance: Instance;
  readonly ledger: WriteLedger;
  readonly residents: readonly Member[];
  readonly ledgersDir: string;
  readonly prefix: string;
  /** A container that should run and does not, or the other way round, for longer than this is a failure. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

const lookEveryMs = 150;
const askEveryMs = 1_000;

export class Watcher {
  readonly #deps: WatcherDeps;
  /** What was wrong at the last look, and since when. */
  readonly #since = new Map<string, { readonly complaint: Complaint; readonly sinceMs: number }>();
  readonly #mayRest: ReadonlySet<string>;
  readonly #births = new Map<string, string>();
  runs: readonly Run[] = [];
  stored: ReadonlyMap<string, StoredObject> | undefined;
  looks = 0;
  readonly doubled = new Set<string>();
  /** Containers or their data that were lost, or did not come or go in time. */
  readonly failures = new Set<string>();

  constructor(deps: WatcherDeps) {
    this.#deps = deps;
    const ending = deps.residents.filter(({ duty }) => duty.kind === 'crashes' || duty.kind === 'finishes');
    this.#mayRest = new Set(ending.map(({ name }) => name));
  }

  /** What is wrong now; not each of it is a failure. */
  get complaints(): readonly Complaint[] {
    return [...this.#since.values()].map(({ complaint }) => complaint);
  }

  runOf(name: string): Run | undefined {
    return this.runs.find((run) => run.name === name);
  }

  /** Until the signal is aborted. */
  async watch(): Promise<void> {
    const { signal } = this.#deps;
    const asking = this.#askAllAlong();
    while (!signal.aborted) {
      this.look();
      await wait(lookEveryMs, undefined, { signal }).catch(() => {}); // Aborted: the loop ends.
    }
    await asking;
  }

  async #askAllAlong(): Promise<void> {
    const { signal } = this.#deps;
    while (!signal.aborted) {
      await this.ask();
      await wait(askEveryMs, undefined, { signal }).catch(() => {}); // Aborted: the loop ends.
    }
  }

  async ask(): Promise<void> {
    const { instance, ledger } = this.#deps;
    const askedAtMs = performance.now();
    this.stored = await observeStore(instance);
    if (this.stored !== undefined) ledger.compare(this.stored, askedAtMs);
  }

  look(): void {
    const { ledger, prefix, deadlineMs } = this.#deps;
    this.runs = observeRuns(prefix);
    this.looks += 1;
    const now = performance.now();
    const complaints = judge({ accounts: ledger.accounts, runs: this.runs, mayRest: this.#mayRest });
    const present = new Set(complaints.map(idOf));
    for (const id of this.#since.keys()) if (!present.has(id)) this.#since.delete(id);
    for (const complaint of complaints) {
      const id = idOf(complaint);
      // One may have ended before the other was seen: only those that are all alive after that ran at once.
      if (complaint.kind === 'doubled' && complaint.runs.every(isSameAlive))
        this.doubled.add(`${complaint.name}: processes ${complaint.runs.map(({ pid }) => pid).join(', ')}`);
      const changedAtMs = ledger.account(complaint.name)?.changedAtMs ?? 0;
      const { sinceMs } = this.#since.get(id) ?? { sinceMs: now };
      this.#since.set(id, { complaint, sinceMs });
      if (now - Math.max(sinceMs, changedAtMs) > deadlineMs) this.failures.add(`${id} for more than ${deadlineMs} ms`);
    }
    this.#countRuns();
  }

  /** A job that is done must not be done again. */
  #countRuns(): void {
    for (const { name, duty } of this.#deps.residents) {
      if (duty.kind !== 'finishes') continue;
      const count = this.ledgerLines(name, 'runs').length;
      if (count > duty.runs) this.doubled.add(`${name}: ran ${count} times instead of ${duty.runs}`);
    }
  }

  /** What a server said that it wrote when its volume was empty: it never changes. */
  noteBirth(name: string, birth: string): void {
    const first = this.#births.get(name) ?? birth;
    this.#births.set(name, first);
    if (first !== birth) this.failures.add(`the data of ${name} was lost: it wrote ${first} first and has ${birth}`);
  }

  ledgerLines(name: string, file: string): readonly string[] {
    try {
      return readFileSync(join(this.#deps.ledgersDir, name, file), 'utf8')
        .split('\n')
        .slice(0, -1);
    } catch {
      return []; // never written
    }
  }
}
