/** A disk that damages the database: found at the start, with a message that says the way back, or served as it was. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PassThrough, Readable } from 'node:stream';
import { runStoreCommand } from '../../cli/store-command.ts';
import { openDatabase } from '../../store/database.ts';
import { DatabaseOpenError, isCorrupt } from '../../store/database-file.ts';
import { takeSeed } from '../seed.ts';
import { configMap, makeDir, namesOf, startStore } from './fixture.ts';

const path = '/api/v1/namespaces/default/configmaps';
const files = ['store.db', 'store.db-wal', 'store.revision', 'secrets.key'] as const;

describe('store: a damaged database', () => {
  let dir: string;
  let whole: ReadonlyMap<string, Buffer>;
  let expected: ReadonlyMap<string, string>;
  let turns = 0;

  /** As a kill left it: half of the objects are in the database, half in its log. */
  before(async () => {
    dir = await makeDir();
    const fixture = await startStore({ dataDir: join(dir, 'first') });
    const make = async (index: number): Promise<void> => {
      const body = configMap(`c${index}`, { value: `${index}`.repeat(1 + ((index * 37) % 400)) });
      await fixture.client.expect(201, 'POST', path, { body });
    };
    for (let index = 0; index < 60; index++) await make(index);
    await fixture.close();
    const second = await startStore({ dataDir: join(dir, 'first') });
    for (let index = 0; index < 20; index++) {
      const body = configMap(`c${index}`, { value: `changed ${index}` });
      await second.client.expect(200, 'PUT', `${path}/c${index}`, { body });
    }
    for (let index = 60; index < 70; index++) {
      await second.client.expect(201, 'POST', path, { body: configMap(`c${index}`, { value: 'later' }) });
    }
    const read = files.map(async (name) => [name, await readFile(join(dir, 'first', name))] as const);
    whole = new Map(await Promise.all(read));
    await second.close();
    expected = await load(await lay('whole')).expected;
    assert.ok(expected.size >= 72 && (whole.get('store.db-wal')?.length ?? 0) > 8_000);
  });
  after(() => rm(dir, { recursive: true, force: true }));

  /** A data directory with the files as they were, but for some. */
  async function lay(name: string, changed: Readonly<Record<string, Buffer>> = {}): Promise<string> {
    const dataDir = join(dir, `${name}-${turns++}`);
    await mkdir(dataDir);
    for (const [file, bytes] of whole) await writeFile(join(dataDir, file), changed[file] ?? bytes);
    return dataDir;
  }

  function load(dataDir: string) {
    const database = openDatabase(join(dataDir, 'store.db'));
    try {
      const objects = [...database.loadObjects()];
      const readable = objects.flatMap<[string, string]>(({ storageKey, key, json }) =>
        json === undefined ? [] : [[`${storageKey} ${key}`, json]],
      );
      const damaged = objects
        .filter(({ json }) => json === undefined)
        .map(({ storageKey, key }) => `${storageKey} ${key}`);
      return { expected: new Map(readable), damaged: new Set(damaged), isLossKnown: database.lostSince !== undefined };
    } finally {
      database.close();
    }
  }

  /** What became of it; asserts that nothing wrong is served without a word. */
  async function judge(what: string, dataDir: string): Promise<'refused' | 'damaged' | 'gone back' | 'whole'> {
    let found: ReturnType<typeof load>;
    try {
      found = load(dataDir);
    } catch (error) {
      if (isCorrupt(error)) return 'refused'; // createStore says the rest
      assert.ok(error instanceof DatabaseOpenError, `${what}: ${String(error)}`);
      assert.ok(error.message.includes('store.db'), `${what}: ${error.message}`);
      return 'refused';
    }
    const { expected: objects, damaged, isLossKnown } = found;
    if (isLossKnown) return 'gone back';
    for (const [place, json] of expected) {
      if (!damaged.has(place)) assert.equal(objects.get(place), json, `${what}: ${place} is served wrong`);
    }
    for (const place of objects.keys()) assert.ok(expected.has(place), `${what}: ${place} was never stored`);
    return damaged.size > 0 ? 'damaged' : 'whole';
  }

  it('is never served wrong without a word, whatever bit of it is flipped', async () => {
    const seed = takeSeed(11);
    const seen = new Map<string, number>();
    const settled = join(await lay('settled'), 'store.db');
    load(dirname(settled)); // its log is in the database now
    const bases = [
      { file: 'store.db', bytes: whole.get('store.db') ?? Buffer.alloc(0), log: whole.get('store.db-wal') },
      { file: 'store.db', bytes: await readFile(settled), log: Buffer.alloc(0) },
      { file: 'store.db-wal', bytes: whole.get('store.db-wal') ?? Buffer.alloc(0), log: undefined },
    ];
    for (const { file, bytes, log } of bases) {
      for (let turn = 0; turn < 120; turn++) {
        // The headers come first, and are few: a third of the harm is for them.
        const span = turn % 3 === 0 ? 140 : bytes.length;
        const at = (seed * 7_919 + turn * 104_729) % span;
        const flipped = Buffer.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (turn % 8));
        const dataDir = await lay('flip', { ...(log === undefined ? {} : { 'store.db-wal': log }), [file]: flipped });
        const outcome = await judge(`seed ${seed}: bit ${turn % 8} of byte ${at} of ${file}`, dataDir);
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
        await rm(dataDir, { recursive: true });
      }
    }
    for (const outcome of ['refused', 'damaged', 'gone back', 'whole'])
      assert.ok((seen.get(outcome) ?? 0) > 0, `${outcome}: ${JSON.stringify([...seen])}`);
  });

  it('is never served wrong without a word, wherever a file of it is cut off', async () => {
    const seed = takeSeed(13);
    for (const file of ['store.db', 'store.db-wal', 'store.revision'] as const) {
      const bytes = whole.get(file) ?? Buffer.alloc(0);
      for (let turn = 0; turn < 40; turn++) {
        const length = (seed * 7_919 + turn * 104_729) % bytes.length;
        const dataDir = await lay('cut', { [file]: bytes.subarray(0, length) });
        const outcome = await judge(`seed ${seed}: ${file} cut off at ${length}`, dataDir);
        if (file === 'store.db-wal') assert.ok(outcome !== 'whole', `${length} bytes of the log were enough`);
        await rm(dataDir, { recursive: true });
      }
    }
  });

  it('says how to come back, and what can be read of it comes back so', async () => {
    const dataDir = await lay('salvage');
    load(dataDir); // the log is in the database now
    const database = join(dataDir, 'store.db');
    const bytes = await readFile(database);
    const at = bytes.indexOf('changed 7');
    const db = new DatabaseSync(database, { readOnly: true });
    const pageSize = Number(db.prepare('PRAGMA page_size').get()?.page_size);
    db.close();
    const page = Math.trunc(at / pageSize) * pageSize;
    await writeFile(
      database,
      Buffer.concat([bytes.subarray(0, page), Buffer.alloc(pageSize), bytes.subarray(page + pageSize)]),
    );
    await assert.rejects(startStore({ dataDir }), {
      name: 'DatabaseOpenError',
      message: /store\.db.* (?:damaged|malformed).*holdfast store restore FILE.*holdfast store backup --salvage FILE/,
    });
    const said: string[] = [];
    const deps = {
      config: { dataDir },
      stdin: Readable.from([]),
      stdout: new PassThrough().resume(),
      say: (line: string) => void said.push(line),
    };
    assert.equal(await runStoreCommand({ kind: 'check', file: undefined }, deps), 1);
    const file = join(dir, 'salvaged');
    await assert.rejects(runStoreCommand({ kind: 'backup', file, isSalvage: false }, deps), /--salvage/);
    assert.equal(await runStoreCommand({ kind: 'backup', file, isSalvage: true }, deps), 1);
    assert.match(said.join('\n'), /configmaps default\/c7 is lost/);
    await runStoreCommand({ kind: 'restore', file }, deps);
    const fixture = await startStore({ dataDir });
    try {
      const names = namesOf(await fixture.client.expect(200, 'GET', path));
      assert.ok(names.length > 40 && names.length < 70, `${names.length} of 70`);
      // What is lost is not taken for gone: it might be wanted.
      for (let index = 0; index < 70; index++) {
        const { code } = await fixture.client.call('GET', `${path}/c${index}`);
        assert.equal(code, names.includes(`c${index}`) ? 200 : 500, `c${index}`);
      }
    } finally {
      await fixture.close();
    }
  });

  it('says that it is of a later version, and leaves it alone', async () => {
    const dataDir = await lay('later');
    load(dataDir);
    const database = join(dataDir, 'store.db');
    const db = new DatabaseSync(database);
    db.exec('PRAGMA user_version = 99');
    db.close();
    await assert.rejects(startStore({ dataDir }), {
      name: 'DatabaseOpenError',
      message: /store\.db was written by a newer Holdfast \(format 99, this one knows 3\); run that version/,
    });
    const after = new DatabaseSync(database);
    after.exec('PRAGMA user_version = 3');
    after.close();
    assert.deepEqual(load(dataDir).expected, expected);
  });

  it('is finished where a kill has interrupted a restoration, and the former one is kept', async () => {
    const from = await lay('restored');
    load(from);
    for (const steps of [0, 1, 2, 3]) {
      const dataDir = await lay('interrupted');
      const database = join(dataDir, 'store.db');
      await copyFile(join(from, 'store.db'), `${database}.restored`);
      const before = await readFile(database);
      const { mtime } = await stat(`${database}.restored`);
      const aside = `${database}.before-restore-${mtime.toISOString().replaceAll(/[-:.]/gu, '')}`;
      if (steps > 0) await copyFile(database, aside);
      if (steps > 1) await copyFile(`${database}-wal`, `${aside}-wal`);
      if (steps > 2) await rm(`${database}-wal`);
      const { expected: objects } = load(dataDir);
      assert.deepEqual(objects, expected, `after ${steps} steps`);
      assert.deepEqual(await readFile(aside), before);
      assert.deepEqual(await readFile(`${aside}-wal`), whole.get('store.db-wal'));
    }
    const dataDir = await lay('unfinished');
    await writeFile(join(dataDir, 'store.db.restoring'), 'half of a databa');
    assert.deepEqual(load(dataDir).expected, expected);
    await truncate(join(dataDir, 'store.revision'), 0);
    assert.deepEqual(load(dataDir).expected, expected);
  });
});
