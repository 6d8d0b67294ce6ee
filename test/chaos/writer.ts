/** Writes specs all along: guests are made, changed, paused from running, and deleted; residents are changed in place. */
import { setTimeout as wait } from 'node:timers/promises';
import type { Random } from './random.ts';
import { commandOf, guestNames, guestSpec, type Member, markerOf } from './roster.ts';
import type { WriteLedger } from './write-ledger.ts';

export interface WriterDeps {
  readonly ledger: WriteLedger;
  readonly random: Random;
  readonly image: string;
  readonly prefix: string;
  readonly residents: readonly Member[];
  /** Whether the store has no object of the name any more, so that it can be used again. */
  isFree(name: string): boolean;
  /** Between two writes. */
  readonly pauseMs: readonly [low: number, high: number];
  readonly signal: AbortSignal;
}

/** Ends when the signal is aborted. Throws when the store refuses a write that is right. */
export async function writeAllAlong(deps: WriterDeps): Promise<void> {
  const { random, signal, pauseMs } = deps;
  while (!signal.aborted) {
    await wait(random.between(...pauseMs), undefined, { signal }).catch(() => {}); // Aborted: the loop ends.
    if (!signal.aborted) await writeOnce(deps);
  }
}

async function writeOnce(deps: WriterDeps): Promise<void> {
  const { ledger, random, image, prefix, residents } = deps;
  // Drawn in any case, so that what the store answers changes nothing in what is written later.
  const [whom, what, chance] = [random.next(), random.next(), random.next()];
  if (whom < 0.2) {
    const { name } = residents[Math.floor((whom / 0.2) * residents.length)] ?? {};
    const sure = name === undefined ? undefined : ledger.account(name);
    if (name === undefined || sure?.sure === undefined || sure.doubtful !== undefined) return;
    // Changes nothing that a container must be replaced or started again for.
    return ledger.change(name, { backoff: { resetAfter: `${5 + Math.floor(what * 5)}s` } }, sure.sure);
  }
  const name = guestNames[Math.floor(((whom - 0.2) / 0.8) * guestNames.length)];
  if (name === undefined) return;
  const { sure, doubtful } = ledger.account(name) ?? {};
  if (doubtful !== undefined) return;
  const value = String(ledger.nextWrite);
  if (sure === undefined || sure.kind === 'deleted') {
    if (!deps.isFree(name)) return;
    return ledger.create(name, guestSpec({ image, prefix }, { name, value, chance }), { value, shouldRun: true });
  }
  if (what < 0.3) return ledger.delete(name);
  if (what < 0.6) {
    const spec = guestSpec({ image, prefix }, { name, value, chance: 0 }) as { command: readonly string[] };
    const command = commandOf(spec.command[2] ?? '', markerOf(prefix, name, value));
    return ledger.change(name, { command }, { value, shouldRun: sure.shouldRun });
  }
  if (what < 0.8) {
    const shouldRun = !sure.shouldRun;
    return ledger.change(name, { desiredState: shouldRun ? 'Running' : 'Stopped' }, { value: sure.value, shouldRun });
  }
  const resources = { limits: { pids: 40 + Math.floor(chance * 20) } };
  return ledger.change(name, { resources }, sure);
}
