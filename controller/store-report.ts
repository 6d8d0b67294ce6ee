/** Tells people of the store: that it is away and back again, and what is held because it was lost. Log, events, metrics. Effects. */
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { HoldReason } from './absence.ts';
import type { Held } from './checkpoint.ts';
import { type EventRecorder, nodeSubject } from './events.ts';
import type { Outage } from './store-link.ts';

export interface StoreReport {
  away(sinceMs: number, error: unknown): void;
  back(outage: Outage): void;
  held(all: readonly Held[], news: { readonly added: readonly Held[]; readonly ended: readonly Held[] }): void;
  /** A checkpoint was written, or could not be. */
  written(result: 'success' | 'error'): void;
}

export interface StoreReportDeps {
  readonly events: EventRecorder;
  readonly nodeName: string;
  readonly metrics: Registry;
  readonly log: Logger;
}

const reasons: Readonly<Record<HoldReason, string>> = {
  OtherStore: 'the API server is another one than before',
  OlderStore: 'the API server has gone back in time',
  MassDeletion: 'more than half of what this host has would have gone at once',
  DamagedObject: 'the API server cannot read what it has stored',
};
const maxNames = 20;

export function createStoreReport({ events, nodeName, metrics, log }: StoreReportDeps): StoreReport {
  const registers = [metrics];
  const reachable = new Gauge({
    name: 'holdfast_store_reachable',
    help: '1 while the API server answers, 0 while it is away and containers are kept by the checkpoint.',
    registers,
  });
  const outages = new Counter({
    name: 'holdfast_store_outages_total',
    help: 'Times that the API server was away.',
    registers,
  });
  const heldNow = new Gauge({
    name: 'holdfast_held_objects',
    help: 'Objects that the API server has lost and whose containers go on, by why they are held.',
    labelNames: ['reason'],
    registers,
  });
  const writes = new Counter({
    name: 'holdfast_checkpoint_writes_total',
    help: 'Writes of the checkpoint by result.',
    labelNames: ['result'],
    registers,
  });
  reachable.set(1);
  for (const reason of Object.keys(reasons)) heldNow.set({ reason }, 0);
  for (const result of ['success', 'error']) writes.inc({ result }, 0);
  const node = nodeSubject(nodeName);
  return {
    away: (sinceMs, error) => {
      reachable.set(0);
      outages.inc();
      log.error(
        { err: error, since: new Date(sinceMs).toISOString() },
        'the API server is away; containers are kept as it last asked for them',
      );
    },
    back: ({ sinceMs, lastedMs }) => {
      reachable.set(1);
      const seconds = Math.round(lastedMs / 1000);
      log.info({ since: new Date(sinceMs).toISOString(), seconds }, 'the API server is back');
      const message = `the API server was away for ${seconds} s since ${new Date(sinceMs).toISOString()}; this host's containers were kept by its checkpoint, and their statuses follow now`;
      events.record(node, 'Warning', 'StoreWasAway', message);
    },
    held: (all, { added, ended }) => {
      for (const reason of Object.keys(reasons))
        heldNow.set({ reason }, all.filter(({ because }) => because === reason).length);
      const first = added[0];
      if (first !== undefined) {
        const message = `${reasons[first.because]}, and has no object for ${added.length} of this host's containers (${namesOf(added)}); they go on. Restore the store, or on the host: holdfast held`;
        log.error({ objects: added.map(({ key }) => key), reason: first.because }, message);
        events.record(node, 'Warning', 'DeletionsRefused', message);
      } else if (ended.length === 0)
        log.warn(
          { objects: all.map(({ key }) => key) },
          'objects that the store has lost are held since an earlier run',
        );
      if (ended.length > 0) {
        const message = `no longer held: ${namesOf(ended)}; ${all.length === 0 ? 'nothing is held any more' : `${all.length} still are`}`;
        log.info({ objects: ended.map(({ key }) => key), left: all.length }, message);
        events.record(node, 'Normal', 'DeletionsSettled', message);
      }
    },
    written: (result) => writes.inc({ result }),
  };
}

function namesOf(held: readonly Held[]): string {
  const names = held.slice(0, maxNames).map(({ key }) => key);
  return held.length > maxNames ? `${names.join(', ')} and ${held.length - maxNames} more` : names.join(', ');
}
