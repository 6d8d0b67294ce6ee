/**
 * How long the store's own work on its database holds the event loop: backups, giving back free pages, sealing anew.
 * Run it with Node; it prints a table. A directory on the disk in question may be named. Effects.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { takeBackup } from '../../store/backup.ts';
import { type DatabaseFile, openDatabase } from '../../store/database.ts';

const shapes = [
  { objects: 10_000, bytes: 1_000 },
  { objects: 10_000, bytes: 20_000 },
  { objects: 300, bytes: 900_000 },
];
const pagesAtOnce = 32;
const rowsAtOnce = 50;

for (const shape of shapes) {
  const dir = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'holdfast-bench-slices-'));
  const database = openDatabase(join(dir, 'store.db'));
  try {
    const revision = fill(database, shape);
    const backup = await timeBackup(database, revision);
    const reseal = timeReseal(database);
    remove(database, shape, revision);
    const vacuum = timeVacuum(database);
    console.log(`${shape.objects} objects of ${shape.bytes} bytes`);
    for (const [what, times] of Object.entries({ backup, 'giving back pages': vacuum, 'sealing anew': reseal })) {
      console.log(
        `  ${what}: p50 ${times.p50.toFixed(1)} ms, p99 ${times.p99.toFixed(1)} ms, at most ${times.max.toFixed(1)} ms`,
      );
    }
  } finally {
    database.close();
    await rm(dir, { recursive: true });
  }
}

interface Times {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

function keyOf(index: number): { readonly storageKey: string; readonly key: string } {
  return { storageKey: index % 2 === 0 ? 'configmaps' : 'secrets', key: `default/n${String(index).padStart(6, '0')}` };
}

function fill(database: DatabaseFile, { objects, bytes }: (typeof shapes)[number]): number {
  const json = JSON.stringify({ data: 'x'.repeat(bytes) });
  for (let index = 0; index < objects; index++) database.commit([{ ...keyOf(index), revision: index + 2, json }]);
  return objects + 2;
}

/** Nine in ten. */
function remove(database: DatabaseFile, { objects }: (typeof shapes)[number], revision: number): void {
  const gone = Array.from({ length: objects }, (_, index) => index).filter((index) => index % 10 !== 0);
  database.commit(gone.map((index) => ({ ...keyOf(index), revision: revision + index, json: undefined })));
}

async function timeBackup(database: DatabaseFile, revision: number): Promise<Times> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  for await (const _lines of takeBackup(database, { instance: undefined, nowMs: 0, revision: () => revision })) {
    await setImmediate();
  }
  delay.disable();
  return { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 };
}

function timeReseal(database: DatabaseFile): Times {
  database.rotateKey();
  let after: string | undefined = '';
  const next = (): boolean => {
    after = database.resealAfter(after ?? '', rowsAtOnce);
    return after !== undefined;
  };
  return timeSlices(next);
}

function timeVacuum(database: DatabaseFile): Times {
  return timeSlices(() => {
    database.giveBack(pagesAtOnce);
    return database.sizes().freeBytes > 1024 * 1024;
  });
}

function timeSlices(slice: () => boolean): Times {
  const times: number[] = [];
  for (let isMore = true; isMore; ) {
    const begun = performance.now();
    isMore = slice();
    times.push(performance.now() - begun);
  }
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
