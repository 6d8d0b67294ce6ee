/** The checkpoint on a real disk: what was written is there again, whatever became of the file's end, and it stays small. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { type Checkpoint, openCheckpoint } from '../../controller/checkpoint.ts';
import { openJournal, parseJournal } from '../../controller/checkpoint-journal.ts';
import { emptyHistory, type History } from '../../controller/history.ts';
import { laterHistory } from '../../controller/later-history.ts';
import { openSourceMemory } from '../../controller/source-memory.ts';
import type { Source } from '../../controller/sources.ts';
import { containerIDOf } from '../../crds/index.ts';
import { until } from '../until.ts';
import { object } from './fixtures.ts';

const log = pino({ level: 'silent' });

describe('the checkpoint', () => {
  let dir: string;
  let entries: Map<string, { history: History }>;
  let writes: string[];
  const path = (): string => join(dir, 'checkpoint');
  const open = (): Promise<Checkpoint> =>
    openCheckpoint({ dir, entries, log, delayMs: 1, onWritten: (result) => writes.push(result) });
  const names = (checkpoint: Checkpoint): string[] => checkpoint.objects.map(({ metadata }) => metadata.name).sort();

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-checkpoint-'));
    entries = new Map();
    writes = [];
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('has all again that was noted, and nothing that was forgotten', async () => {
    const first = await open();
    const [web, agent] = [object({ name: 'web' }), object({ name: 'agent', spec: { image: 'agent:2' } })];
    const history: History = { ...emptyHistory, restartCount: 7, failures: 2, seenExitMs: 9 };
    for (const one of [web, agent, object({ name: 'gone' })]) first.noteObject(one);
    first.forgetObject('uid-of-gone');
    first.noteStore({ uid: 'store', version: '12' });
    const held = { uid: 'uid-of-web', key: 'default/web', because: 'OtherStore', sinceMs: 5 } as const;
    first.noteHeld(held);
    first.noteHeld({ ...held, uid: 'other' });
    first.forgetHeld('other');
    entries.set(containerIDOf(web), { history });
    await first.close();
    entries = new Map();
    const second = await open();
    assert.deepEqual(names(second), ['agent', 'web']);
    assert.equal(second.objects.find(({ metadata }) => metadata.name === 'agent')?.spec.image, 'agent:2');
    assert.deepEqual(second.historyOf(containerIDOf(web)), history);
    assert.deepEqual([second.held, second.store], [[held], { uid: 'store', version: '12' }]);
    await second.close();
  });
  it('writes an object only when something other than its status changed', async () => {
    const checkpoint = await open();
    checkpoint.noteObject(object());
    await until(() => writes.length === 1, 'the first write');
    const { size } = await stat(path());
    checkpoint.noteObject(object({ status: { restartCount: 3 } }));
    await until(() => writes.length === 2, 'the second look');
    assert.equal((await stat(path())).size, size);
    checkpoint.noteObject(object({ spec: { image: 'web:2' } }));
    await until(() => writes.length === 3, 'the third write');
    assert.ok((await stat(path())).size > size);
    await checkpoint.close();
  });
  it('lets nobody else read it', async () => {
    const checkpoint = await open();
    checkpoint.noteObject(object());
    await checkpoint.close();
    assert.equal((await stat(path())).mode & 0o777, 0o600);
  });
  it('keeps all lines that are whole, wherever the file was cut, and goes on after them', async () => {
    const first = await open();
    for (const name of ['a', 'b', 'c']) first.noteObject(object({ name }));
    await first.close();
    const whole = await readFile(path());
    for (const length of [0, 1, 30, Math.floor(whole.length / 2), whole.length - 1, whole.length]) {
      await writeFile(path(), whole);
      await truncate(path(), length);
      const kept = whole.subarray(0, length).toString().split('\n').length - 2;
      const cut = await open();
      // A last line that lacks nothing but its end is whole as well.
      const count = length === whole.length - 1 ? 3 : Math.max(0, kept);
      assert.equal(cut.objects.length, count, `cut at ${length} of ${whole.length}`);
      cut.noteObject(object({ name: 'new' }));
      await cut.close();
      const after = await open();
      assert.equal(after.objects.length, count + 1, `added after a cut at ${length}`);
      await after.close();
    }
  });
  it('survives any byte that a disk spoils: an object is as it was written, or not there', async () => {
    const first = await open();
    for (const name of ['a', 'b', 'c']) first.noteObject(object({ name }));
    await first.close();
    const whole = await readFile(path());
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const spoilt = Buffer.from(whole);
        spoilt[at] = (spoilt[at] ?? 0) ^ mask;
        const { records } = parseJournal(spoilt.toString('utf8'));
        for (const [name, value] of records)
          assert.deepEqual(value, JSON.parse(JSON.stringify(object({ name: name.replace('object uid-of-', '') }))));
        assert.ok(records.size >= 1 && records.size <= 3);
      }),
    );
  });
  it('does not read what another version wrote, and does not destroy it either', async () => {
    const { journal } = await openJournal(dir, 'checkpoint');
    await journal.append([{ name: 'format', value: 2 }]);
    await journal.close();
    const text = (await readFile(path(), 'utf8')).split('\n').slice(1).join('\n');
    await writeFile(path(), text);
    const checkpoint = await open();
    assert.deepEqual(checkpoint.objects, []);
    await checkpoint.close();
    assert.equal(await readFile(`${path()}.of-another-version`, 'utf8'), text);
  });
  it('stays as small as what it has, however often that changes', async () => {
    const { journal } = await openJournal(dir, 'checkpoint');
    const value = 'x'.repeat(10_000);
    let replaced = 0;
    for (let count = 0; count < 200; count += 1) {
      await journal.append([{ name: 'object a', value: `${value}${count}` }]);
      if (!journal.isDue) continue;
      replaced += 1;
      await journal.replace([{ name: 'object a', value: `${value}${count}` }]);
    }
    await journal.close();
    assert.ok(replaced > 0 && (await stat(path())).size < 300_000);
    assert.equal((await openJournal(dir, 'checkpoint')).records.get('object a'), `${value}199`);
  });
  it('is whole again with the next write after somebody removed it', async () => {
    const first = await open();
    first.noteObject(object({ name: 'web' }));
    await until(() => writes.length === 1, 'the first write');
    await rm(dir, { recursive: true });
    first.noteObject(object({ name: 'agent' }));
    await until(() => writes.length === 2, 'the second write');
    first.noteObject(object({ name: 'late' }));
    await first.close();
    const second = await open();
    assert.deepEqual(names(second), ['agent', 'late', 'web']);
    await second.close();
  });
  it('tells of a disk that takes nothing, and writes all of it when it can', async () => {
    const checkpoint = await openCheckpoint({
      dir: join(dir, 'later'),
      entries,
      log,
      delayMs: 1,
      onWritten: (result) => writes.push(result),
    });
    await rm(join(dir, 'later'), { recursive: true });
    checkpoint.noteObject(object());
    await until(() => writes.includes('error'), 'the failure');
    await openJournal(join(dir, 'later'), 'checkpoint');
    await checkpoint.close();
    assert.equal((await openJournal(join(dir, 'later'), 'checkpoint')).records.size, 1);
  });
});

describe('the last known Secrets', () => {
  it('are there again with all their bytes, and those that went are not in the file', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-secrets-'));
    try {
      let present = new Map<string, Source>();
      const source = (text: string): Source => ({
        type: 'Opaque',
        data: new Map([['key', Buffer.from(text)]]),
        binaryKeys: new Set(['key']),
      });
      const open = () => openSourceMemory({ dir, log, present: () => present, onWritten: () => {}, delayMs: 1 });
      const first = await open();
      present = new Map([
        ['Secret default/a', source('\u0000öld')],
        ['Secret default/b', source('other')],
      ]);
      first.changed();
      await first.close();
      const second = await open();
      assert.deepEqual(second.recall('Secret default/a'), source('\u0000öld'));
      present = new Map([['Secret default/b', source('other')]]);
      second.changed();
      await second.close();
      const path = join(dir, 'secrets');
      assert.ok(!(await readFile(path, 'utf8')).includes(Buffer.from('\u0000öld').toString('base64')));
      assert.equal((await stat(path)).mode & 0o777, 0o600);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe('laterHistory', () => {
  const status: History = { ...emptyHistory, restartCount: 4, seenExitMs: 10, seenStartMs: 5 };
  const cases: { it: string; checkpointed: History | undefined; want: 'checkpoint' | 'status' }[] = [
    { it: 'takes the status without a checkpoint', checkpointed: undefined, want: 'status' },
    { it: 'takes the checkpoint where both tell the same', checkpointed: { ...status }, want: 'checkpoint' },
    {
      it: 'takes the checkpoint that saw a later exit',
      checkpointed: { ...status, seenExitMs: 11 },
      want: 'checkpoint',
    },
    { it: 'takes the status that counted more', checkpointed: { ...status, restartCount: 3 }, want: 'status' },
    { it: 'takes the status that saw a later start', checkpointed: { ...status, seenStartMs: 4 }, want: 'status' },
  ];
  for (const { it: title, checkpointed, want } of cases)
    it(title, () => assert.equal(laterHistory(checkpointed, status), want === 'status' ? status : checkpointed));
});
