/** The store's own work on its database, killed in the middle by SIGKILL, many times: real processes, real files. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { takeBackup } from '../../store/backup.ts';
import { type DatabaseFile, openDatabase } from '../../store/database.ts';
import { makeDir } from './fixture.ts';
import { fillDisk, mountSmallDisk, type SmallDisk } from './full-disk.ts';

/** `HOLDFAST_STORE_KILLS=500` for a longer run. */
const kills = Math.max(10, Math.ceil(Number(process.env.HOLDFAST_STORE_KILLS ?? 50) / 2));

interface Ended {
  /** What it had done, line by line. */
  readonly lines: readonly string[];
  readonly isKilled: boolean;
  /** Between its first line and its last, in milliseconds. */
  readonly tookMs: number;
}

/** Does the work, and kills it as the rule says: after so many lines, and so long after that. */
async function killDuring(work: readonly string[], rule: { lines: number; afterMs: number }): Promise<Ended> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'killed-work.ts'), ...work], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'holdfast-crash-compile-cache') },
  });
  const ended = once(child, 'exit');
  const lines: string[] = [];
  let [firstMs, lastMs] = [0, 0];
  try {
    let timer: NodeJS.Timeout | undefined;
    for await (const line of createInterface(child.stdout)) {
      lines.push(line);
      lastMs = performance.now();
      if (lines.length === 1) firstMs = lastMs;
      if (lines.length >= rule.lines) timer ??= setTimeout(() => child.kill('SIGKILL'), rule.afterMs);
    }
    const [code, signal] = await ended;
    clearTimeout(timer);
    assert.ok(code === 0 || signal === 'SIGKILL', `it ended with ${code} ${signal}`);
    return { lines, isKilled: signal === 'SIGKILL', tookMs: lastMs - firstMs };
  } finally {
    child.kill('SIGKILL');
  }
}

const keyOf = (index: number): string => `default/n${String(index).padStart(5, '0')}`;

function contentOf(database: DatabaseFile): ReadonlyMap<string, string> {
  return new Map(
    [...database.loadObjects()].map((object) => [object.key, object.json ?? `damaged: ${object.problem}`]),
  );
}

/** Opening looks at the whole structure of the file; all rows have checksums. */
function read(path: string): { readonly content: ReadonlyMap<string, string>; readonly freeBytes: number } {
  const database = openDatabase(path);
  try {
    return { content: contentOf(database), freeBytes: database.sizes().freeBytes };
  } finally {
    database.close();
  }
}

/** A database that nobody has open. */
async function copyDatabase(from: string, to: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) await rm(to + suffix, { force: true });
  for (const suffix of ['', '-wal']) {
    await copyFile(from + suffix, to + suffix).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || suffix === '') throw error; // it may have no log
    });
  }
}

describe('store: kill -9 of its work on the database', function () {
  this.timeout(120_000 + kills * 10_000);
  let dir: string;
  before(async () => {
    dir = await makeDir();
  });
  after(() => rm(dir, { recursive: true, force: true }));

  it(`loses nothing when it is killed while it gives back free pages, ${kills} times`, async () => {
    const prepared = join(dir, 'prepared.db');
    const database = openDatabase(prepared);
    const make = (index: number, revision: number) => {
      const json = JSON.stringify({ index, filler: 'x'.repeat(3_000) });
      return { storageKey: 'configmaps', key: keyOf(index), revision, json };
    };
    database.commit(Array.from({ length: 6_000 }, (_, index) => make(index, index + 2)));
    // What stays is spread over the whole file, so that its pages must be moved.
    const gone = Array.from({ length: 6_000 }, (_, index) => index).filter((index) => index % 10 !== 0);
    database.commit(gone.map((index) => ({ ...make(index, 10_000 + index), json: undefined })));
    const kept = contentOf(database);
    assert.equal(kept.size, 600);
    const before = database.sizes().freeBytes;
    database.close();
    const path = join(dir, 'compact.db');
    // The revisions so far: the first number that is written is the next.
    const last = 15_999;
    let acknowledged = last;
    let inTheMiddle = 0;
    let leftBytes = 0;
    for (let round = 0; round < kills; round++) {
      // Each goes on with what the one before left, while that is more than one does that is killed late.
      if (leftBytes < before / 2) {
        await copyDatabase(prepared, path);
        acknowledged = last;
      }
      const rule = { lines: 1 + ((round * 7) % 23), afterMs: (round * 3) % 5 };
      const { lines, isKilled } = await killDuring(['compact', path], rule);
      for (const line of lines) if (/^\d+$/u.test(line)) acknowledged = Number(line);
      const { content, freeBytes } = read(path);
      if (isKilled && freeBytes > 200_000) inTheMiddle++;
      const counter = content.get('default/counter');
      const value = counter === undefined ? last : Number(JSON.parse(counter).value);
      assert.ok(value === acknowledged || value === acknowledged + 1, `round ${round}: ${value}, not ${acknowledged}`);
      acknowledged = value; // what was written and not said: the next round goes on from there
      const others = new Map([...content].filter(([key]) => key !== 'default/counter'));
      assert.deepEqual(others, kept);
      leftBytes = freeBytes;
    }
    assert.ok(inTheMiddle >= kills / 2, `only ${inTheMiddle} of ${kills} were killed in the middle`);
    const { lines } = await killDuring(['compact', path], { lines: Number.POSITIVE_INFINITY, afterMs: 0 });
    assert.equal(lines.at(-1), 'done');
    assert.ok(read(path).freeBytes < 1_000_000 && before > 10_000_000);
  });

  it(`has what was, or what is restored, whole, whenever a restoration is killed, ${kills} times`, async () => {
    const database = openDatabase(join(dir, 'old.db'));
    const backup: string[] = [];
    const make = (index: number, revision: number, what: string) => {
      const json = JSON.stringify({ index, what, filler: 'x'.repeat(1_000) });
      return { storageKey: 'configmaps', key: keyOf(index), revision, json };
    };
    database.commit(Array.from({ length: 3_000 }, (_, index) => make(index, index + 2, 'restored')));
    const facts = { instance: undefined, nowMs: 0, revision: () => 3_001 };
    for await (const lines of takeBackup(database, facts)) backup.push(lines);
    const restored = contentOf(database);
    database.commit(Array.from({ length: 3_000 }, (_, index) => make(index, 4_000 + index, 'present')));
    const present = contentOf(database);
    database.close();
    await writeFile(join(dir, 'backup'), backup.join(''));
    let place = 0;
    const lay = async (): Promise<string> => {
      const own = join(dir, `restore-${place++}`);
      await mkdir(own);
      const path = join(own, 'store.db');
      await copyDatabase(join(dir, 'old.db'), path);
      return path;
    };
    const first = await lay();
    const whole = await killDuring(['restore', first, join(dir, 'backup')], {
      lines: Number.POSITIVE_INFINITY,
      afterMs: 0,
    });
    assert.equal(whole.lines.at(-1), 'done');
    assert.deepEqual(read(first).content, restored);
    const outcomes = { present: 0, restored: 0 };
    for (let round = 0; round < kills; round++) {
      const path = await lay();
      // It is killed anywhere between its beginning and a little after its end; in each fifth round once it says that it is done,
      // since the end comes later on a machine that has become busy.
      const rule =
        round % 5 === 4
          ? { lines: 2, afterMs: round % 4 }
          : { lines: 1, afterMs: (whole.tookMs * 1.2 * round) / kills };
      const { isKilled } = await killDuring(['restore', path, join(dir, 'backup')], rule);
      const { content } = read(path);
      const isRestored = content.get(keyOf(0)) === restored.get(keyOf(0));
      assert.deepEqual(content, isRestored ? restored : present, `round ${round}`);
      if (!isKilled) assert.ok(isRestored);
      outcomes[isRestored ? 'restored' : 'present']++;
      // Whatever was left behind, it can be done anew.
      if (round % 5 === 0) {
        const again = await killDuring(['restore', path, join(dir, 'backup')], {
          lines: Number.POSITIVE_INFINITY,
          afterMs: 0,
        });
        assert.equal(again.lines.at(-1), 'done');
        assert.deepEqual(read(path).content, restored);
      }
      await rm(join(path, '..'), { recursive: true });
    }
    console.log(`      ${outcomes.present} times nothing had happened, ${outcomes.restored} times it was done`);
    assert.ok(outcomes.present > 0 && outcomes.restored > 0, JSON.stringify(outcomes));
  });
});

describe('store: a disk that is full when the log is to go into the database', () => {
  let disk: SmallDisk;
  before(async () => {
    disk = await mountSmallDisk(24);
  });
  after(() => disk.close());

  it('keeps in its log what was acknowledged, over a restart too, and puts it into the database when there is space', async () => {
    const path = join(disk.path, 'store.db');
    let database = openDatabase(path);
    const expected = new Map<string, string>();
    let revision = 1;
    const put = (index: number, size: number): void => {
      const json = JSON.stringify({ revision: ++revision, filler: 'x'.repeat(size) });
      database.commit([{ storageKey: 'configmaps', key: keyOf(index), revision, json }]);
      expected.set(keyOf(index), json);
    };
    const sizeOf = async (suffix: string): Promise<number> => (await stat(path + suffix)).size;
    // The log has had its full length, so that it takes writes without more of the disk.
    for (let index = 0; index < 900; index++) put(index, 3_500);
    const ballast = join(disk.path, 'ballast');
    const before = await sizeOf('');
    await fillDisk(ballast);
    let written = 0;
    await assert.rejects(async () => {
      for (let index = 1_000; index < 20_000; index++) {
        put(index, 3_500);
        written++;
      }
    }, /full|disk I\/O/u);
    // All that it took is more than the log had when it was to go into the database, which could not grow for it.
    assert.ok(written > 50, `only ${written} writes were taken`);
    assert.deepEqual(contentOf(database), expected);
    database.close();
    assert.ok((await sizeOf('-wal')) > 1_000_000, 'the log was given up');
    database = openDatabase(path);
    assert.deepEqual(contentOf(database), expected);
    assert.throws(() =>
      database.commit([{ storageKey: 'x', key: 'y', revision: ++revision, json: 'x'.repeat(9_000_000) }]),
    );
    assert.deepEqual(contentOf(database), expected);
    await rm(ballast);
    put(0, 10);
    database.close();
    database = openDatabase(path);
    assert.deepEqual(contentOf(database), expected);
    database.close();
    assert.ok((await sizeOf('')) > before);
  });
});
