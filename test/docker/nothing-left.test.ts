/** Two hundred `docker run --rm` in a row, and fifty at once, leave nothing behind on the host and in the store. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { containersPath } from '../instance.ts';
import { snapshotHost } from '../leaks.ts';
import { until } from '../until.ts';
import { Book } from './book.ts';
import { type HoldfastEngine, startHoldfastEngine } from './engines.ts';

describe('docker run --rm', function () {
  this.timeout(1_200_000);
  let engine: HoldfastEngine;
  let book: Book;
  let countsBefore: ReadonlyMap<string, number>;

  before(async () => {
    engine = await startHoldfastEngine();
    book = await Book.open(engine.socketPath);
    await book.load({ 'busybox:latest': 'localhost/busybox:latest' });
    await book.ok('docker run --rm busybox true'); // what is made once, is made
    await until(async () => (await book.ok('docker ps -aq')) === '', 'the first to be gone');
    // As many as will wait at the end.
    await until(hasAllNetworks, 'the networks that wait for containers', 60_000);
    countsBefore = await count();
  });
  after(async () => {
    await book?.close();
    await engine?.close();
  });

  const hasAllNetworks = async (): Promise<boolean> =>
    /^holdfast_runtime_netns_pool_size 8$/m.test(await engine.instance.metrics());
  const descriptors = (): number => readdirSync(`/proc/${engine.pid}/fd`).length;
  /** How many things of each kind the host has of this instance; the network namespaces that wait for containers change their names. */
  const count = async (): Promise<ReadonlyMap<string, number>> => {
    const { things } = await snapshotHost();
    const counts = new Map<string, number>([['file descriptor', descriptors()]]);
    for (const thing of things) {
      if (!thing.belongsTo(engine.instance)) continue;
      const kind = thing.text.split(' ')[0] ?? '';
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    return counts;
  };
  const assertNothingLeft = async (): Promise<void> => {
    assert.equal(await book.ok('docker ps -aq'), '');
    assert.equal(await book.ok('docker volume ls -q'), '');
    const objects = await engine.instance.api('GET', containersPath);
    assert.deepEqual(objects.json.items, []);
    let more: string[] = [];
    await until(
      async () => {
        const now = await count();
        // Connections to the store are kept for a while; one for each of the 250 runs would be more.
        more = [...now].flatMap(([kind, amount]) => {
          const room = kind === 'file descriptor' ? 100 : 0;
          const was = countsBefore.get(kind) ?? 0;
          return amount > was + room ? [`${kind}: ${amount}, and ${was} before`] : [];
        });
        return more.length === 0;
      },
      'the host to be as before',
      60_000,
    ).catch((cause: unknown) => {
      throw new Error(`left behind: ${more.join('; ')}`, { cause });
    });
  };

  it('leaves nothing when it is done two hundred times in a row, each with a volume', async () => {
    const said = await book.sh(
      'for i in $(seq 200); do docker run --rm -v /data busybox sh -c "echo run $i >/data/x; cat /data/x" || exit 1; done',
      900_000,
    );
    assert.equal(said.code, 0, said.stderr);
    assert.equal(said.stdout, Array.from({ length: 200 }, (_, index) => `run ${index + 1}\n`).join(''));
    await assertNothingLeft();
  });

  it('leaves nothing when fifty are run at once, and each has its own words and exit code', async () => {
    const script = [
      'for i in $(seq 50); do',
      '  (docker run --rm busybox sh -c "echo run $i; exit $i" >$TMP/out.$i 2>$TMP/err.$i; echo $? >$TMP/code.$i) &',
      'done',
      'wait',
      'for i in $(seq 50); do echo "$(cat $TMP/out.$i $TMP/err.$i) $(cat $TMP/code.$i)"; done',
    ].join('\n');
    const runFifty = async (): Promise<void> => {
      const { stdout } = await book.sh(script, 400_000);
      const wanted = Array.from({ length: 50 }, (_, index) => `run ${index + 1} ${index + 1}`);
      assert.deepEqual(stdout.trim().split('\n'), wanted);
    };
    await runFifty();
    await assertNothingLeft();
    // Connections to the store that were opened for so many at once are kept, and serve the next fifty.
    const kept = descriptors();
    await runFifty();
    await until(() => descriptors() <= kept + 8, `no more than the ${kept} descriptors of the first fifty`, 60_000);
    await assertNothingLeft();
  });
});
