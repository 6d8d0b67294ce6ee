/** The database's file: versions from before, its size, a disk that is read-only, and a backup that nobody waits for. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { takeBackup } from '../../store/backup.ts';
import { BackupReader } from '../../store/backup-format.ts';
import { openDatabase, type StoredChange } from '../../store/database.ts';
import { sumOf } from '../../store/stored-row.ts';
import { makeDir } from './fixture.ts';

const row = (index: number, revision: number, value: string): StoredChange => ({
  ...{ storageKey: index % 4 === 0 ? 'secrets' : 'configmaps', key: `default/o${index}`, revision },
  json: JSON.stringify({
    metadata: { name: `o${index}`, namespace: 'default', resourceVersion: `${revision}` },
    value,
  }),
});

/** What each older version had, as SQL; its rows are put in by their columns. */
const versions: readonly { version: number; tables: string; hasSums: boolean }[] = [
  {
    version: 1,
    hasSums: false,
    tables: `
      CREATE TABLE objects (
        storage_key TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY (storage_key, key)
      ) STRICT;
      CREATE TABLE revisions (storage_key TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT;`,
  },
  {
    version: 2,
    hasSums: true,
    tables: `
      CREATE TABLE objects (
        storage_key TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, json TEXT NOT NULL,
        sum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (storage_key, key)
      ) STRICT;
      CREATE TABLE revisions (storage_key TEXT PRIMARY KEY, revision INTEGER NOT NULL, sum INTEGER NOT NULL DEFAULT 0) STRICT;
      CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;`,
  },
];

describe('openDatabase', () => {
  let dir: string;
  before(async () => {
    dir = await makeDir();
  });
  after(() => rm(dir, { recursive: true, force: true }));
  const place = async (name: string): Promise<string> => {
    await mkdir(join(dir, name));
    return join(dir, name, 'store.db');
  };

  for (const { version, tables, hasSums } of versions) {
    it(`takes over a database of version ${version} whole, and keeps a backup of what it was`, async () => {
      const path = await place(`version-${version}`);
      const changes = Array.from({ length: 40 }, (_, index) => row(index, index + 2, `hunter2-${index}`));
      const db = new DatabaseSync(path);
      db.exec(`PRAGMA journal_mode = WAL; ${tables} PRAGMA user_version = ${version};`);
      const put = db.prepare('INSERT INTO objects (storage_key, key, revision, json) VALUES (?, ?, ?, ?)');
      const sum = hasSums ? db.prepare('UPDATE objects SET sum = ? WHERE key = ?') : undefined;
      for (const { storageKey, key, revision, json = '' } of changes) {
        put.run(storageKey, key, revision, json);
        sum?.run(Number(sumOf({ storageKey, key, revision: `${revision}`, text: json })), key);
      }
      for (const kind of ['configmaps', 'secrets']) {
        db.prepare('INSERT INTO revisions (storage_key, revision) VALUES (?, 41)').run(kind);
        const text = { storageKey: kind, key: '', revision: '41', text: '' };
        if (hasSums) db.prepare('UPDATE revisions SET sum = ? WHERE storage_key = ?').run(Number(sumOf(text)), kind);
      }
      db.close();
      for (const time of ['first', 'second']) {
        const database = openDatabase(path);
        const found = [...database.loadObjects()].map(({ key, json }) => [key, json]);
        assert.deepEqual(found.sort(), changes.map(({ key, json }) => [key, json]).sort(), time);
        assert.equal(database.loadRevisions().get('secrets'), 41);
        assert.equal(database.lostSince, undefined);
        database.close();
      }
      const reader = new BackupReader();
      const kept = await readFile(`${path}.before-schema-3.backup`, 'utf8');
      for (const line of kept.trimEnd().split('\n')) reader.line(line);
      const { header, rows, damaged } = reader.finish();
      assert.deepEqual([header.schema, rows.length, damaged.length], [version, 40, 0]);
      for (const file of [path, `${path}.before-schema-3.backup`]) {
        const text = await readFile(file, 'latin1');
        assert.match(text, /hunter2-1\\?"/, file);
        assert.doesNotMatch(text, /hunter2-4\\?"/, `${file} has a Secret in the clear`);
      }
    });
  }

  it('gives back what mass deletion leaves free, in slices, and keeps its log short', async () => {
    const path = await place('shrinks');
    const database = openDatabase(path);
    let revision = 1;
    const commit = (make: (index: number, revision: number) => StoredChange): void => {
      for (let index = 0; index < 4_000; index += 100) {
        database.commit(Array.from({ length: 100 }, (_, at) => make(index + at, ++revision)));
      }
    };
    commit((index, at) => row(index, at, 'x'.repeat(2_000)));
    assert.ok(database.sizes().logBytes < 12 * 1024 * 1024, `${database.sizes().logBytes} bytes of log`);
    commit((index, at) => ({ ...row(index, at, ''), json: undefined }));
    const before = database.sizes();
    let slices = 0;
    for (; database.sizes().freeBytes > 0; slices++) database.giveBack(64);
    assert.ok(slices > 10, `${slices} slices`);
    database.close();
    const { size } = await stat(path);
    assert.ok(before.databaseBytes > 8_000_000 && size < 200_000, `${before.databaseBytes} bytes, then ${size}`);
  });

  it('takes a backup in slices, each small, however many objects there are', async () => {
    const path = await place('slices');
    const database = openDatabase(path);
    database.commit(Array.from({ length: 3_000 }, (_, index) => row(index, index + 2, 'x'.repeat(500))));
    const reader = new BackupReader();
    let slices = 0;
    const facts = { instance: undefined, nowMs: 0, revision: () => 3_001 };
    for await (const lines of takeBackup(database, facts)) {
      slices++;
      assert.ok(lines.split('\n').length <= 203);
      for (const line of lines.trimEnd().split('\n')) reader.line(line);
    }
    assert.ok(slices > 15);
    assert.equal(reader.finish().rows.length, 3_000);
    database.close();
  });

  it('takes fewer rows at once where they are large', async () => {
    const path = await place('large-slices');
    const database = openDatabase(path);
    for (let index = 0; index < 40; index++) {
      database.commit([row(index, index + 2, 'x'.repeat(index % 4 === 0 ? 400_000 : 100_000))]);
    }
    const reader = new BackupReader();
    const sizes: number[] = [];
    for await (const lines of takeBackup(database, { instance: undefined, nowMs: 0, revision: () => 41 })) {
      sizes.push(lines.length);
      for (const line of lines.trimEnd().split('\n')) reader.line(line);
    }
    assert.equal(reader.finish().rows.length, 40);
    // A slice ends behind the row that makes 256 KB full.
    assert.ok(Math.max(...sizes) < 256 * 1024 + 400_000 + 10_000, `a slice of ${Math.max(...sizes)} bytes`);
    database.close();
  });

  it('says so when its file system is read-only', async () => {
    const mountPoint = join(dir, 'read-only');
    await mkdir(mountPoint);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mountPoint]);
    try {
      openDatabase(join(mountPoint, 'store.db')).close();
      execFileSync('mount', ['-o', 'remount,ro', mountPoint]);
      assert.throws(() => openDatabase(join(mountPoint, 'store.db')), {
        name: 'DatabaseOpenError',
        message: /store\.db: EROFS.*read-only: check the disk, and mount it anew/,
      });
    } finally {
      execFileSync('umount', [mountPoint]);
    }
  });
});
