/** Secrets on disk: encrypted, bound to their place, and refused without their key while all else is served. */
import assert from 'node:assert/strict';
import { chmod, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { getString } from '../../store/json.ts';
import { addKey, KeyRing, parseKeys, readKeyRing } from '../../store/secrets-key.ts';
import { sumOf } from '../../store/stored-row.ts';
import { configMap, type Fixture, makeDir, metaOf, namesOf, startStore } from './fixture.ts';

const secrets = '/api/v1/namespaces/default/secrets';
const configMaps = '/api/v1/namespaces/default/configmaps';
const word = 'open-sesame-open-sesame';
const encoded = Buffer.from(word).toString('base64');

function secret(name: string) {
  return { metadata: { name }, stringData: { word } };
}

describe('KeyRing', () => {
  const key = (fill: number): Buffer => Buffer.alloc(32, fill);
  const ring = (...fills: number[]): KeyRing => new KeyRing('/keys', fills.map(key));

  it('opens what it sealed, in that place alone, and each time otherwise', () => {
    const sealed = ring(1).seal('secrets', 'default/a', '{"a":1}');
    assert.notEqual(ring(1).seal('secrets', 'default/a', '{"a":1}'), sealed);
    assert.ok(!sealed.includes('"a"'));
    assert.deepEqual(ring(2, 1).open('secrets', 'default/a', sealed), { kind: 'whole', json: '{"a":1}' });
    assert.equal(ring(1).open('secrets', 'default/b', sealed).kind, 'damaged');
    assert.equal(ring(1).open('tokens', 'default/a', sealed).kind, 'damaged');
    assert.equal(ring(2).open('secrets', 'default/a', sealed).kind, 'locked');
    assert.equal(new KeyRing('/keys', []).open('secrets', 'default/a', sealed).kind, 'locked');
  });
  it('finds every change of what it sealed', () => {
    const sealed = ring(1).seal('secrets', 'default/a', '{"a":1}');
    const at = sealed.lastIndexOf(':') + 1;
    const bytes = Buffer.from(sealed.slice(at), 'base64');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const opened = ring(1).open('secrets', 'default/a', sealed.slice(0, at) + changed.toString('base64'));
      assert.equal(opened.kind, 'damaged', `bit ${bit}`);
    }
    for (let length = at; length < sealed.length - 1; length++)
      assert.equal(ring(1).open('secrets', 'default/a', sealed.slice(0, length)).kind, 'damaged', `${length}`);
  });
  it('takes keys, comments and blank lines, and says which line is none', () => {
    const line = key(1).toString('base64');
    assert.deepEqual(parseKeys(`# the new one\n${line}\n\n  ${line}\n`), [key(1), key(1)]);
    for (const bad of ['x', line.slice(1), `${line}=`, Buffer.alloc(16).toString('base64')])
      assert.throws(() => parseKeys(`${line}\n${bad}`), /^TypeError: line 2 is not 32 bytes in base64$/);
  });
});

describe('store: Secrets at rest', () => {
  let dataDir: string;
  let keyFile: string;
  let fixture: Fixture | undefined;
  const database = (): string => join(dataDir, 'store.db');
  const open = async (overrides = {}): Promise<Fixture> => {
    await fixture?.close();
    fixture = await startStore({ dataDir, ...overrides });
    return fixture;
  };
  const close = async (): Promise<void> => {
    await fixture?.close();
    fixture = undefined;
  };
  /** Files of the data directory that hold the word in the clear. */
  const findPlain = async (): Promise<string[]> => {
    const files = (await readdir(dataDir, { withFileTypes: true, recursive: true })).filter((one) => one.isFile());
    const found: string[] = [];
    for (const { parentPath, name } of files) {
      const bytes = await readFile(join(parentPath, name));
      if (bytes.includes(encoded) || bytes.includes(word)) found.push(name);
    }
    return found;
  };

  beforeEach(async () => {
    dataDir = await makeDir();
    keyFile = join(dataDir, 'secrets.key');
  });
  afterEach(async () => {
    await close();
    await rm(dataDir, { recursive: true, force: true });
  });

  it('are nowhere in the clear, while the store runs and when it has ended', async () => {
    const { client } = await open();
    for (let index = 0; index < 20; index++) await client.expect(201, 'POST', secrets, { body: secret(`s${index}`) });
    await client.expect(200, 'DELETE', `${secrets}/s3`);
    assert.deepEqual(await findPlain(), []);
    assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
    await close();
    assert.deepEqual(await findPlain(), []);
    const again = await open();
    const found = await again.client.expect(200, 'GET', `${secrets}/s4`);
    assert.equal(getString(found, 'data', 'word'), encoded);
  });

  it('are encrypted when a database from before comes along, and no page keeps them in the clear', async () => {
    const { client } = await open();
    await client.expect(201, 'POST', configMaps, { body: configMap('plain', { a: 'b' }) });
    const made = await client.expect(201, 'POST', secrets, { body: secret('old') });
    const uid = metaOf(made).uid;
    await close();
    makeOld(database(), 'default/old', JSON.stringify(made));
    assert.deepEqual(await findPlain(), ['store.db']);
    const { client: later } = await open();
    assert.deepEqual(await findPlain(), []);
    assert.equal(metaOf(await later.expect(200, 'GET', `${secrets}/old`)).uid, uid);
    assert.equal(getString(await later.expect(200, 'GET', `${configMaps}/plain`), 'data', 'a'), 'b');
    await close();
    assert.deepEqual(await findPlain(), []);
    assert.ok((await readdir(dataDir)).includes('store.db.before-schema-3.backup'));
  });

  for (const [what, harm] of [
    ['missing', () => rm(keyFile)],
    ['another', async () => rm(keyFile).then(() => void addKey(keyFile))],
    ['unreadable', () => writeFile(keyFile, 'nonsense\n')],
  ] as const) {
    it(`are refused and not overwritten when the key is ${what}, and all else is served`, async () => {
      const first = await open();
      await first.client.expect(201, 'POST', secrets, { body: secret('kept') });
      await first.client.expect(201, 'POST', configMaps, { body: configMap('plain', {}) });
      await close();
      const key = await readFile(keyFile);
      await harm();
      const changed = await readFile(keyFile).catch(() => undefined); // missing is one of the cases
      const { client } = await open();
      const place = `${secrets}/kept`;
      const merge = { 'content-type': 'application/merge-patch+json' };
      for (const answer of [
        await client.call('GET', place),
        await client.call('PUT', place, { body: secret('kept') }),
        await client.call('PATCH', place, { body: { stringData: { a: 'b' } }, headers: merge }),
        await client.call('DELETE', place),
        await client.call('POST', secrets, { body: secret('kept') }),
      ]) {
        assert.equal(answer.code, 500, answer.text);
        assert.match(String(answer.body.message), /secrets\.key/);
        assert.ok(!answer.text.includes(encoded) && !answer.text.includes('nonsense'));
      }
      assert.deepEqual(namesOf(await client.expect(200, 'GET', secrets)), []);
      await client.expect(what === 'another' ? 201 : 500, 'POST', secrets, { body: secret('new') });
      await client.expect(200, 'GET', `${configMaps}/plain`);
      await client.expect(201, 'POST', configMaps, { body: configMap('more', {}) });
      await close();
      assert.deepEqual(await readFile(keyFile).catch(() => undefined), changed, 'the key file is left alone');
      await writeFile(keyFile, what === 'another' ? Buffer.concat([key, changed ?? key]) : key);
      const last = await open();
      assert.equal(getString(await last.client.expect(200, 'GET', place), 'data', 'word'), encoded);
    });
  }

  it('are found when one row has been put in the place of another', async () => {
    const { client } = await open();
    for (const name of ['a', 'b']) await client.expect(201, 'POST', secrets, { body: secret(name) });
    await close();
    const db = new DatabaseSync(database());
    const row = db.prepare("SELECT json, revision FROM objects WHERE key = 'default/a'").get();
    const text = String(row?.json);
    const revision = String(row?.revision);
    const sum = Number(sumOf({ storageKey: 'secrets', key: 'default/b', revision, text }));
    db.prepare("UPDATE objects SET json = ?, revision = ?, sum = ? WHERE key = 'default/b'").run(
      text,
      Number(revision),
      sum,
    );
    db.close();
    const { client: later } = await open();
    await later.expect(200, 'GET', `${secrets}/a`);
    const { reason, message } = await later.expect(500, 'GET', `${secrets}/b`);
    assert.equal(reason, 'StorageReadError');
    assert.match(String(message), /cannot be decrypted/);
  });

  it('have their key elsewhere if that is wanted', async () => {
    const elsewhere = await makeDir();
    try {
      const secretsKeyFile = join(elsewhere, 'key');
      const { client } = await open({ secretsKeyFile });
      await client.expect(201, 'POST', secrets, { body: secret('a') });
      assert.ok(!(await readdir(dataDir)).includes('secrets.key'));
      assert.equal(readKeyRing(secretsKeyFile).ids.length, 1);
      await close();
      await rename(secretsKeyFile, keyFile);
      await chmod(keyFile, 0o600);
      assert.deepEqual(namesOf(await (await open()).client.expect(200, 'GET', secrets)), ['a']);
    } finally {
      await rm(elsewhere, { recursive: true });
    }
  });
});

/** Makes the database one of the first version, with this object in the clear. */
function makeOld(path: string, key: string, json: string): void {
  const db = new DatabaseSync(path);
  db.exec(`
    PRAGMA auto_vacuum = NONE;
    CREATE TABLE old (
      storage_key TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, json TEXT NOT NULL,
      PRIMARY KEY (storage_key, key)
    ) STRICT;
    INSERT INTO old SELECT storage_key, key, revision, json FROM objects;
    DROP TABLE objects;
    DROP TABLE meta;
    ALTER TABLE old RENAME TO objects;
    ALTER TABLE revisions DROP COLUMN sum;
    PRAGMA user_version = 1;
  `);
  db.prepare('UPDATE objects SET json = ? WHERE key = ?').run(json, key);
  db.exec('PRAGMA journal_mode = DELETE; VACUUM');
  db.close();
}
