/** Memory and group commit: what readers and watchers see, against a model of all that was written. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { coreKinds } from '../../store/core-kinds.ts';
import type { Database, StoredChange } from '../../store/database.ts';
import { type Change, Collection } from '../../store/memory.ts';
import type { KubeObject } from '../../store/resources.ts';
import { parseSelector } from '../../store/selectors.ts';
import { alreadyExists, notFound, StatusError } from '../../store/status-error.ts';
import { decideWatchEvent, serveWatch } from '../../store/watch.ts';
import { defaultQueueLimits, WatchQueues } from '../../store/watch-queues.ts';
import { Writer } from '../../store/writer.ts';
import { collectGarbage } from '../collect-garbage.ts';

const kind = { storageKey: 'things' };

function object(name: string, value: number, namespace = 'ns'): KubeObject {
  const metadata = { name, namespace, uid: name, creationTimestamp: '2026-01-01T00:00:00Z' };
  return { apiVersion: 'v1', kind: 'Thing', metadata, value };
}

/** Stands in for the disk, so that a commit can be made to fail. */
class Disk implements Database {
  readonly commits: (readonly StoredChange[])[] = [];
  failure: Error | undefined;

  loadRevisions = () => new Map<string, number>();
  loadObjects = () => [];
  close = () => {};
  commit = (changes: readonly StoredChange[]) => {
    if (this.failure !== undefined) throw this.failure;
    this.commits.push(changes);
  };
}

const quiet = { committed: () => {}, failed: () => {} };
const wide = { maxChanges: 10_000, maxBytes: 1e9 };

function makeWriter(limits = wide): { readonly writer: Writer; readonly disk: Disk } {
  const disk = new Disk();
  return { writer: new Writer(disk, limits, quiet), disk };
}

type Step = { readonly name: string; readonly value: number | undefined };

function apply(writer: Writer, { name, value }: Step): Promise<void> {
  return writer.write((transaction) => {
    const current = transaction.get(kind, 'ns', name);
    if (value !== undefined) transaction.put(kind, object(name, value));
    else if (current !== undefined) transaction.remove(kind, current);
  });
}

const steps = fc.array(
  fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd', 'e'), value: fc.option(fc.nat(9), { nil: undefined }) }),
  { maxLength: 40 },
);

describe('Writer', () => {
  it('shows at each revision of the history what was there then', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const { writer } = makeWriter();
        const model = new Map<string, number | undefined>();
        const snapshots = new Map<number, Record<string, unknown>>([[writer.revision, {}]]);
        for (const step of all) {
          await apply(writer, step);
          model.set(step.name, step.value);
          const present = [...model].filter(([, value]) => value !== undefined).sort();
          snapshots.set(writer.revision, Object.fromEntries(present));
        }
        for (const [atRevision, want] of snapshots) {
          const list = [...writer.collection(kind).list('ns', { atRevision })];
          assert.deepEqual(
            Object.fromEntries(list.map(({ object: { metadata, value } }) => [metadata.name, value])),
            want,
          );
          assert.deepEqual(
            list.map(({ key }) => key),
            list.map(({ key }) => key).toSorted(),
          );
        }
      }),
      { numRuns: 50 },
    );
  });

  it('tells watchers of every change in order, from any revision on', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(40), async (all, skip) => {
        const { writer } = makeWriter();
        await Promise.all(all.slice(0, skip).map((step) => apply(writer, step)));
        const seen = new Map(
          [...writer.collection(kind).list('ns')].map(({ object: { metadata, value } }) => [metadata.name, value]),
        );
        const from = writer.revision;
        const live: Change[] = [];
        writer.collection(kind).subscribe((change) => live.push(change));
        await Promise.all(all.slice(skip).map((step) => apply(writer, step)));
        assert.deepEqual(writer.collection(kind).changesSince(from), live);
        let last = from;
        for (const change of live) {
          assert.ok(change.revision > last);
          last = change.revision;
          const { metadata, value } = change.entry.object;
          assert.equal(change.kind === 'ADDED', !seen.has(metadata.name));
          if (change.kind === 'DELETED') seen.delete(metadata.name);
          else seen.set(metadata.name, value);
        }
        const present = [...writer.collection(kind).list('ns')].map(
          ({ object: { metadata, value } }) => [metadata.name, value] as const,
        );
        assert.deepEqual([...seen].sort(), present);
      }),
      { numRuns: 50 },
    );
  });

  it('puts writes of the same moment into one commit, each seeing those before it', async () => {
    const { writer, disk } = makeWriter();
    const increment = () =>
      writer.write((transaction) => {
        const before = transaction.get(kind, 'ns', 'n')?.object.value ?? 0;
        return transaction.put(kind, object('n', Number(before) + 1)).object.value;
      });
    const results = await Promise.all(Array.from({ length: 20 }, increment));
    assert.deepEqual(
      results,
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
    assert.equal(disk.commits.length, 1);
    assert.equal(disk.commits[0]?.length, 20);
  });

  it('takes back only what the failing write of a batch put', async () => {
    const { writer, disk } = makeWriter();
    const bad = writer.write((transaction) => {
      transaction.put(kind, object('a', 2));
      transaction.put(kind, object('b', 2));
      throw notFound({ group: '', plural: 'things' }, 'x');
    });
    const first = apply(writer, { name: 'a', value: 1 });
    const last = writer.write((transaction) => transaction.get(kind, 'ns', 'b'));
    await assert.rejects(bad, { code: 404 });
    await first;
    assert.equal(await last, undefined);
    assert.equal(writer.collection(kind).get('ns/a')?.object.value, 1);
    assert.deepEqual(
      disk.commits.flat().map(({ key, revision }) => [key, revision]),
      [['ns/a', 2]],
    );
  });

  it('shows nothing of a batch that did not reach the disk, and goes on afterwards', async () => {
    const { writer, disk } = makeWriter();
    await apply(writer, { name: 'a', value: 1 });
    const seen: Change[] = [];
    writer.collection(kind).subscribe((change) => seen.push(change));
    const { revision } = writer;
    disk.failure = Object.assign(new Error('database or disk is full'), { errcode: 13 });
    const failed = await Promise.allSettled([
      apply(writer, { name: 'a', value: 2 }),
      apply(writer, { name: 'b', value: 2 }),
      writer.write((transaction) => {
        // Refused for what the same batch did, which then never was.
        if (transaction.get(kind, 'ns', 'b') !== undefined) throw alreadyExists({ group: '', plural: 'things' }, 'b');
      }),
    ]);
    for (const result of failed) {
      assert.ok(result.status === 'rejected' && result.reason instanceof StatusError);
      assert.equal(result.reason.code, 507);
    }
    assert.equal(writer.revision, revision);
    assert.equal(writer.collection(kind).get('ns/a')?.object.value, 1);
    assert.deepEqual(seen, []);
    disk.failure = undefined;
    await apply(writer, { name: 'a', value: 3 });
    assert.equal(writer.revision, revision + 1);
    assert.deepEqual(
      seen.map((change: Change) => [change.kind, change.revision]),
      [['MODIFIED', revision + 1]],
    );
  });

  it('keeps a bounded history, and refuses what is older', async () => {
    const { writer } = makeWriter({ maxChanges: 10, maxBytes: 1e9 });
    const begin = writer.revision;
    for (let value = 0; value < 600; value++) await apply(writer, { name: 'a', value });
    assert.throws(() => writer.collection(kind).changesSince(begin), { code: 410, reason: 'Expired' });
    assert.throws(() => [...writer.collection(kind).list('ns', { atRevision: begin })], { code: 410 });
    assert.equal(writer.collection(kind).changesSince(writer.revision - 10).length, 10);
    assert.throws(() => writer.collection(kind).changesSince(writer.revision - 11), { code: 410 });
  });

  it('bounds the history in bytes as well', async () => {
    const { writer } = makeWriter({ maxChanges: 1000, maxBytes: 2_000 });
    for (let value = 0; value < 100; value++) await apply(writer, { name: 'a', value });
    const kept = writer.collection(kind).changesSince(writer.revision - 5);
    assert.equal(kept.length, 5);
    assert.throws(() => writer.collection(kind).changesSince(writer.revision - 50), { code: 410 });
  });

  it('holds no change that it has forgotten', async () => {
    const { writer } = makeWriter({ maxChanges: 2, maxBytes: 1e9 });
    const begin = writer.revision;
    await apply(writer, { name: 'a', value: 1 });
    const forgotten = new WeakRef(writer.collection(kind).changesSince(begin)[0] ?? {});
    for (let value = 2; value < 6; value++) await apply(writer, { name: 'a', value });
    await new Promise((resolve) => setImmediate(resolve)); // a WeakRef holds on until its turn of the loop ends
    collectGarbage();
    assert.equal(forgotten.deref(), undefined);
  });

  it('stores nothing in a preview', async () => {
    const { writer, disk } = makeWriter();
    const entry = await writer.preview((transaction) => transaction.put(kind, object('a', 1)));
    assert.equal(entry.object.metadata.resourceVersion, undefined);
    assert.equal(disk.commits.length, 0);
    assert.equal(writer.collection(kind).size, 0);
  });

  it('commits what waits when it is closed, and then takes no more', async () => {
    const { writer, disk } = makeWriter();
    const waiting = apply(writer, { name: 'a', value: 1 });
    writer.close();
    await waiting;
    assert.equal(disk.commits.length, 1);
    await assert.rejects(apply(writer, { name: 'a', value: 2 }), { code: 503 });
  });
});

describe('serveWatch', () => {
  const changes = (from: number, count: number, json: string): readonly Change[] =>
    Array.from({ length: count }, (_, index) => ({
      revision: from + index,
      kind: 'ADDED',
      entry: { key: `ns/n${from + index}`, revision: from + index, object: object(`n${from + index}`, 1), json },
      previous: undefined,
      frames: new Map(),
    }));
  const begin = (reads: 'reads' | 'does not read', sinceRevision: number | undefined) => {
    const collection = new Collection(0, { maxChanges: 100, maxBytes: 1e6 });
    for (const change of changes(1, 3, '{}')) collection.apply(change);
    const stop = new AbortController();
    const sent: string[] = [];
    const sink = Object.assign(new EventEmitter(), {
      writableLength: 0,
      isDestroyed: false,
      write: (chunk: Buffer) => sent.push(chunk.toString()) > 0 && reads === 'reads',
      end: () => {},
      destroy: () => {
        sink.isDestroyed = true;
      },
    });
    const watched = coreKinds[0];
    assert.ok(watched !== undefined);
    const form = { encoding: 'json', as: 'object', count: 'single', metaVersion: 'v1' } as const;
    const bookmarks = { periodic: false, afterInitial: false };
    const selector = parseSelector(undefined, undefined, watched);
    const queues = new WatchQueues({ limits: defaultQueueLimits, monotonic: () => 0, onCut: () => {} });
    const done = serveWatch(
      {
        kind: watched,
        namespace: undefined,
        selector,
        sinceRevision,
        bookmarks,
        form,
        includeObject: 'None',
        omitsManagedFields: false,
        timeoutMs: 60_000,
      },
      { collection, revision: () => 3, now: () => 0, queues },
      sink,
      stop.signal,
    );
    return { collection, sink, sent, stop, done };
  };

  it('cuts off a client for which too many bytes wait while it does not read its first objects', async () => {
    const { collection, sink, done } = begin('does not read', undefined);
    for (const change of changes(4, 7, 'x'.repeat(1024 * 1024))) collection.apply(change);
    assert.equal(sink.isDestroyed, false);
    for (const change of changes(11, 2, 'x'.repeat(1024 * 1024))) collection.apply(change);
    assert.equal(sink.isDestroyed, true);
    await done;
  });

  it('leaves nothing encoded in the history', async () => {
    const { collection, sent, stop, done } = begin('reads', 0);
    for (const change of changes(4, 2, '{}')) collection.apply(change);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(sent.length, 5);
    assert.deepEqual(
      collection.changesSince(0).map(({ frames }) => frames.size),
      [0, 0, 0, 0, 0],
    );
    stop.abort();
    await done;
  });
});

describe('WatchQueues', () => {
  const kib = 1024;
  const begin = () => {
    let nowMs = 0;
    const cut: string[] = [];
    const queues = new WatchQueues({
      limits: { perWatcher: 1_000 * kib, allWatchers: 2_000 * kib },
      monotonic: () => nowMs,
      onCut: (resource) => cut.push(resource),
    });
    const write = (name: string, kibibytes: number) => {
      const queue = known.get(name) ?? { writableLength: 0, isDestroyed: false, destroy: () => {} };
      queue.destroy = () => {
        queue.isDestroyed = true;
      };
      known.set(name, queue);
      queue.writableLength = kibibytes * kib;
      queues.written(queue, name);
      return queue;
    };
    const known = new Map<string, { writableLength: number; isDestroyed: boolean; destroy: () => void }>();
    return { queues, cut, write, later: (ms: number) => (nowMs += ms) };
  };

  it('cuts off one for which too much waits, at once', () => {
    const { write, cut } = begin();
    assert.equal(write('a', 1_000).isDestroyed, false);
    assert.equal(write('a', 1_001).isDestroyed, true);
    assert.deepEqual(cut, ['a']);
  });

  it('cuts off those with the most where too much waits for all together', () => {
    const { write, cut, later } = begin();
    for (const name of ['a', 'b', 'c']) write(name, 600);
    write('most', 700);
    later(1_000);
    for (const name of ['d', 'e']) write(name, 300);
    assert.deepEqual(cut, ['most', 'a']);
  });

  it('lets be who has been behind for less than a second: all have got a large event', () => {
    const { write, cut, later } = begin();
    for (let count = 0; count < 100; count++) write(`w${count}`, 900);
    assert.deepEqual(cut, []);
    later(999);
    write('w0', 950);
    assert.deepEqual(cut, []);
    later(1);
    for (let count = 0; count < 100; count++) write(`w${count}`, 10);
    write('w0', 900);
    assert.deepEqual(cut, []);
  });

  it('counts no longer what was read meanwhile, and who has left', () => {
    const { write, cut, later, queues } = begin();
    const [a, b] = [write('a', 900), write('b', 900)];
    later(1_000);
    a.writableLength = 0;
    write('c', 900);
    assert.deepEqual(cut, []);
    queues.forget(b);
    write('d', 900);
    assert.deepEqual(cut, []);
    later(1_000);
    write('e', 900);
    assert.deepEqual(cut, ['c']);
  });
});

describe('decideWatchEvent', () => {
  const entry = (value: number) => ({ key: 'ns/a', revision: value, object: object('a', value), json: '' });
  const change = (kindOf: Change['kind'], before: number | undefined, after: number): Change => ({
    revision: 9,
    kind: kindOf,
    entry: entry(after),
    previous: before === undefined ? undefined : entry(before),
    frames: new Map(),
  });
  // Visible are values of 5 and more.
  const cases: { it: string; given: Change; want: ReturnType<typeof decideWatchEvent> }[] = [
    {
      it: 'an object that comes in view by creation is added',
      given: change('ADDED', undefined, 5),
      want: { type: 'ADDED', shows: 'present' },
    },
    { it: 'an object created out of view is not shown', given: change('ADDED', undefined, 1), want: undefined },
    {
      it: 'an object that comes in view by a change is added',
      given: change('MODIFIED', 1, 5),
      want: { type: 'ADDED', shows: 'present' },
    },
    {
      it: 'an object that stays in view is modified',
      given: change('MODIFIED', 5, 6),
      want: { type: 'MODIFIED', shows: 'present' },
    },
    {
      it: 'an object that leaves the view is deleted, as it last was there',
      given: change('MODIFIED', 5, 1),
      want: { type: 'DELETED', shows: 'previous' },
    },
    { it: 'an object that stays out of view is not shown', given: change('MODIFIED', 1, 2), want: undefined },
    {
      it: 'an object that is removed in view is deleted',
      given: change('DELETED', 5, 5),
      want: { type: 'DELETED', shows: 'present' },
    },
    { it: 'an object that is removed out of view is not shown', given: change('DELETED', 1, 1), want: undefined },
    {
      it: 'an object whose last change came with its removal is not shown',
      given: change('DELETED', 1, 5),
      want: undefined,
    },
  ];
  for (const { it: title, given, want } of cases) {
    it(title, () =>
      assert.deepEqual(
        decideWatchEvent(given, ({ object: { value } }) => Number(value) >= 5),
        want,
      ),
    );
  }
});
