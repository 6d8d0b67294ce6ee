/** `holdfast store backup`, `restore`, `check` and `rotate-key`, on a store that runs and on files. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { lockInstance } from '../../cli/instance-lock.ts';
import { parseStoreCommand, type StoreCommand } from '../../cli/store-args.ts';
import { runStoreCommand } from '../../cli/store-command.ts';
import { BackupReader } from '../../store/index.ts';
import { getString, type JsonObject } from '../../store/json.ts';
import { takeSeed } from '../seed.ts';
import { configMap, type Fixture, makeDir, metaOf, namesOf, startStore, type Watching } from '../store/fixture.ts';

const path = '/api/v1/namespaces/default/configmaps';
const secrets = '/api/v1/namespaces/default/secrets';

describe('parseStoreCommand', () => {
  const cases: { args: string[]; want: StoreCommand | undefined; rest: string[] }[] = [
    { args: [], want: undefined, rest: [] },
    { args: ['--data-dir', '/x'], want: undefined, rest: ['--data-dir', '/x'] },
    { args: ['backup', '-'], want: { kind: 'backup', file: '-', isSalvage: false }, rest: [] },
    {
      args: ['backup', '--data-dir', '/x', 'f', '--salvage'],
      want: { kind: 'backup', file: 'f', isSalvage: true },
      rest: ['--data-dir', '/x'],
    },
    { args: ['restore', 'f', '--data-dir=/x'], want: { kind: 'restore', file: 'f' }, rest: ['--data-dir=/x'] },
    { args: ['check'], want: { kind: 'check', file: undefined }, rest: [] },
    { args: ['rotate-key'], want: { kind: 'rotate-key' }, rest: [] },
  ];
  for (const { args, want, rest } of cases)
    it(`reads ${args.join(' ') || 'nothing'}`, () =>
      assert.deepEqual(parseStoreCommand(args), { command: want, rest }));
  for (const [args, problem] of [
    [['backup'], /needs a file/],
    [['restore', 'a', 'b'], /one file/],
    [['rotate-key', 'a'], /no file/],
    [['bakcup', 'a'], /no command "store bakcup"/],
  ] as const)
    it(`refuses ${args.join(' ')}`, () => assert.throws(() => parseStoreCommand(args), problem));
});

describe('holdfast store', () => {
  let dataDir: string;
  let work: string;
  let fixture: Fixture;
  let said: string[];
  const run = (command: StoreCommand, more: { stdin?: Readable; stdout?: PassThrough; dataDir?: string } = {}) => {
    said = [];
    return runStoreCommand(command, {
      config: { dataDir: more.dataDir ?? dataDir, secretsKeyFile: undefined },
      stdin: more.stdin ?? Readable.from([]),
      stdout: more.stdout ?? new PassThrough().resume(),
      say: (line) => void said.push(line),
    });
  };

  before(async () => {
    work = await makeDir();
    dataDir = await makeDir();
    fixture = await startStore({ dataDir });
  });
  after(async () => {
    await fixture.close();
    for (const dir of [work, dataDir]) await rm(dir, { recursive: true, force: true });
  });

  /** What there was at each revision, by the store's own events. */
  class Chronicle {
    readonly #events: { revision: number; name: string; value: string | undefined }[] = [];
    async follow(watch: Watching): Promise<void> {
      for await (const { type, object } of watch) {
        const value = type === 'DELETED' ? undefined : getString(object, 'data', 'value');
        this.#events.push({
          revision: Number(metaOf(object).resourceVersion),
          name: String(metaOf(object).name),
          value,
        });
      }
    }
    at(revision: number): Map<string, string> {
      const state = new Map<string, string>();
      for (const event of this.#events.filter((one) => one.revision <= revision)) {
        if (event.value === undefined) state.delete(event.name);
        else state.set(event.name, event.value);
      }
      return new Map([...state].sort());
    }
    get length(): number {
      return this.#events.length;
    }
  }

  const valuesOf = (list: JsonObject): Map<string, string> =>
    new Map(
      (list.items as readonly JsonObject[])
        .map((item) => [String(metaOf(item).name), getString(item, 'data', 'value') ?? ''] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );

  it('saves what there is at one moment while 64 clients write, and brings exactly that back', async () => {
    const { client } = fixture;
    const list = await client.expect(200, 'GET', path);
    const chronicle = new Chronicle();
    const watch = await client.watch(`${path}?watch=1&resourceVersion=${String(metaOf(list).resourceVersion)}`);
    const following = chronicle.follow(watch).catch(() => undefined); // closed below
    for (let index = 0; index < 1_000; index += 100) {
      const some = Array.from({ length: 100 }, (_, at) => configMap(`many-${index + at}`, { value: 'first' }));
      await Promise.all(some.map((body) => client.expect(201, 'POST', path, { body })));
    }
    let isOver = false;
    const write = async (id: number): Promise<void> => {
      for (let turn = 0; !isOver; turn++) {
        const name = `many-${(id * 31 + turn * 7) % 1_000}`;
        const body = configMap(name, { value: `${id}-${turn}` });
        if (turn % 3 === 2) await client.call('DELETE', `${path}/${name}`);
        else if ((await client.call('PUT', `${path}/${name}`, { body })).code === 404)
          await client.call('POST', path, { body });
      }
    };
    const writing = Promise.all(Array.from({ length: 64 }, (_, id) => write(id)));
    const file = join(work, 'backup');
    assert.equal(await run({ kind: 'backup', file, isSalvage: false }), 0);
    isOver = true;
    await writing;
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal(await run({ kind: 'check', file }), 0, said.join('\n'));
    const [, revision] = /objects at revision (\d+)/.exec(said.join('\n')) ?? [];
    const last = await client.expect(201, 'POST', path, { body: configMap('last', { value: 'last' }) });
    const lastRevision = Number(metaOf(last).resourceVersion);
    while (!chronicle.at(lastRevision).has('last')) await new Promise((resolve) => setImmediate(resolve));
    watch.close();
    await following;
    assert.ok(chronicle.length > 1_064);

    const gauge = /holdfast_store_last_backup_timestamp_seconds [1-9]/;
    assert.match(await fixture.metrics.metrics(), gauge);
    await fixture.close();
    assert.equal(await run({ kind: 'restore', file }), 0, said.join('\n'));
    fixture = await startStore({ dataDir });
    const restored = await fixture.client.expect(200, 'GET', path);
    assert.deepEqual(valuesOf(restored), chronicle.at(Number(revision)));
    const now = Number(metaOf(restored).resourceVersion);
    assert.ok(now > lastRevision, `${now} is not above ${lastRevision}, which was given out before`);
    assert.equal(await run({ kind: 'check', file: undefined }), 0, said.join('\n'));
  });

  it('lets whoever watched before a restoration begin anew, also where nothing ever was', async () => {
    const { client } = fixture;
    const before = await client.expect(200, 'GET', path);
    const file = join(work, 'again');
    await run({ kind: 'backup', file, isSalvage: false });
    const made = await client.expect(201, 'POST', path, { body: configMap('lost', { value: 'x' }) });
    await fixture.close();
    await run({ kind: 'restore', file });
    assert.match(said.join('\n'), /the former database is .*store\.db\.before-restore-/);
    fixture = await startStore({ dataDir });
    for (const { resourceVersion } of [metaOf(before), metaOf(made)]) {
      for (const kind of ['configmaps', 'secrets', 'events', 'pods']) {
        const watch = await fixture.client.watch(
          `/api/v1/namespaces/default/${kind}?watch=1&resourceVersion=${String(resourceVersion)}`,
        );
        const { type, object } = await watch.next();
        watch.close();
        assert.deepEqual([type, object.code, object.reason], ['ERROR', 410, 'Expired'], kind);
      }
    }
    await fixture.client.expect(404, 'GET', `${path}/lost`);
    const system = metaOf(await fixture.client.expect(200, 'GET', '/api/v1/namespaces/kube-system'));
    assert.match(String(getString(system, 'annotations', 'holdfast.dev/store-restored')), /^20.* at revision \d+$/);
    const next = await fixture.client.expect(201, 'POST', path, { body: configMap('next', {}) });
    assert.ok(Number(metaOf(next).resourceVersion) > Number(metaOf(made).resourceVersion));
  });

  it('goes on higher, too, when an older file was put in the place of the database', async () => {
    await fixture.close();
    const database = join(dataDir, 'store.db');
    await copyFile(database, join(work, 'older'));
    fixture = await startStore({ dataDir });
    const made = metaOf(await fixture.client.expect(201, 'POST', path, { body: configMap('newer', {}) }));
    await fixture.close();
    await copyFile(join(work, 'older'), database);
    fixture = await startStore({ dataDir });
    const list = metaOf(await fixture.client.expect(200, 'GET', path));
    assert.ok(Number(list.resourceVersion) > Number(made.resourceVersion));
    const watch = await fixture.client.watch(`${path}?watch=1&resourceVersion=${String(made.resourceVersion)}`);
    assert.equal((await watch.next()).object.code, 410);
    watch.close();
  });

  it('writes to a pipe and reads from one, and refuses to restore while a daemon works on the data dir', async () => {
    const stdout = new PassThrough();
    const parts: Buffer[] = [];
    stdout.on('data', (part: Buffer) => parts.push(part));
    await run({ kind: 'backup', file: '-', isSalvage: false }, { stdout });
    const text = Buffer.concat(parts);
    const other = join(work, 'other');
    await mkdir(other, { mode: 0o700 });
    const lock = await lockInstance(other);
    const restore = () => run({ kind: 'restore', file: '-' }, { stdin: Readable.from([text]), dataDir: other });
    await assert.rejects(restore(), { name: 'InstanceRunsError' });
    await lock.close();
    assert.ok(!existsSync(join(other, 'store.db')));
    assert.equal(await restore(), 0);
    const second = await startStore({ dataDir: other });
    assert.deepEqual(
      namesOf(await second.client.expect(200, 'GET', path)),
      namesOf(await fixture.client.expect(200, 'GET', path)),
    );
    await second.close();
  });

  it('keeps every letter, wherever a part of the stream ends, and whatever may pass for the end of a line', async () => {
    const text = 'ä€\u2028\u2029\u0085\r'.repeat(40_000);
    for (const name of ['letters-a', 'letters-b']) {
      await fixture.client.expect(201, 'POST', path, { body: configMap(name, { text }) });
    }
    const file = join(work, 'letters');
    const other = join(work, 'of-letters');
    await mkdir(other, { mode: 0o700 });
    assert.equal(await run({ kind: 'backup', file, isSalvage: false }), 0);
    assert.equal(await run({ kind: 'restore', file }, { dataDir: other }), 0);
    const second = await startStore({ dataDir: other });
    const found = await second.client.expect(200, 'GET', `${path}/letters-b`);
    assert.ok(getString(found, 'data', 'text') === text);
    await second.close();
  });

  it('finds every backup that was cut short or altered', async () => {
    const file = join(work, 'whole');
    await fixture.client.expect(200, 'DELETE', path);
    await run({ kind: 'backup', file, isSalvage: false });
    const whole = await readFile(file);
    const seed = takeSeed(7);
    const read = (bytes: Buffer): unknown => {
      const reader = new BackupReader();
      const lines = bytes.toString('utf8').split('\n');
      assert.equal(lines.pop(), '', 'cut short within a line');
      for (const line of lines) reader.line(line);
      return reader.finish();
    };
    assert.ok(read(whole));
    for (let turn = 0; turn < 200; turn++) {
      const at = Math.trunc(((seed * 7_919 + turn * 104_729) % 1_000_003) * (whole.length / 1_000_003));
      assert.throws(() => read(whole.subarray(0, at)), `cut at ${at}`);
      const flipped = Buffer.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (turn % 8));
      assert.throws(() => read(flipped), `bit ${turn % 8} of byte ${at}`);
    }
    await writeFile(join(work, 'torn'), whole.subarray(0, whole.length / 2));
    await assert.rejects(run({ kind: 'restore', file: join(work, 'torn') }, { dataDir: join(work, 'none') }), {
      name: 'StoreCommandError',
      message: /is no whole backup: .*cut short/,
    });
    assert.ok(!existsSync(join(work, 'none', 'store.db')));
  });

  it('leaves nothing of a backup for which there is no space', async () => {
    const small = join(work, 'small');
    await mkdir(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]);
    try {
      const body = configMap('large', { value: 'x'.repeat(200_000) });
      await fixture.client.expect(201, 'POST', path, { body });
      const file = join(small, 'backup');
      await writeFile(file, 'the former one');
      await assert.rejects(run({ kind: 'backup', file, isSalvage: false }), {
        name: 'StoreCommandError',
        message: /could not be written to .*ENOSPC.*nothing is left of it/,
      });
      assert.deepEqual(await readdir(small), ['backup']);
      assert.equal(await readFile(file, 'utf8'), 'the former one');
    } finally {
      execFileSync('umount', [small]);
    }
  });

  it('encrypts Secrets with a new key in the background, and older backups with the older one still open', async () => {
    const body = { metadata: { name: 'word' }, stringData: { word: 'open-sesame' } };
    await fixture.client.expect(201, 'POST', secrets, { body });
    const older = join(work, 'older-key');
    await run({ kind: 'backup', file: older, isSalvage: false });
    const [, before] = /encrypted \(key ([0-9a-f]+)\)/.exec(said.join('\n')) ?? [];
    assert.equal(await run({ kind: 'rotate-key' }), 0);
    const [, after] = /the key ([0-9a-f]+) is the first/.exec(said.join('\n')) ?? [];
    assert.notEqual(after, before);
    for (;;) {
      const stdout = new PassThrough().resume();
      await run({ kind: 'backup', file: '-', isSalvage: false }, { stdout });
      const [, ids] = /encrypted \(key ([^)]*)\)/.exec(said.join('\n')) ?? [];
      if (ids === after) break;
      assert.equal(ids, before);
    }
    await fixture.close();
    await run({ kind: 'restore', file: older });
    fixture = await startStore({ dataDir });
    const word = await fixture.client.expect(200, 'GET', `${secrets}/word`);
    assert.equal(Buffer.from(getString(word, 'data', 'word') ?? '', 'base64').toString(), 'open-sesame');
    const elsewhere = join(work, 'elsewhere');
    await mkdir(elsewhere);
    assert.equal(await run({ kind: 'restore', file: older }, { dataDir: elsewhere }), 1);
    assert.match(said.join('\n'), new RegExp(`Secrets cannot be read until .*secrets\\.key holds the key ${before}`));
  });
});
