import assert from 'node:assert/strict';
import { appendFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ContainerNotFoundError, type LogEntry, type LogOptions, RunNotKeptError } from '../../runtime/index.ts';
import { letGo, never, TestHost, until, untilGo } from './host.ts';

describe('logs', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  function logFiles(id: string): string[] {
    return readdirSync(join(host.deps.dataDir, 'containers', id, 'log'));
  }

  async function read(id: string, options: LogOptions): Promise<string> {
    const parts: string[] = [];
    for await (const entry of host.runtime.containers.log(id, options, never)) parts.push(entry.data.toString());
    return parts.join('');
  }

  async function entriesOf(id: string): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    for await (const entry of host.runtime.containers.log(id, {}, never)) entries.push(entry);
    return entries;
  }

  /** A container that prints each line when the one before is in the log, however slow the monitor is; it has ended. */
  async function printInTurn(commands: readonly string[]): Promise<string> {
    const steps = commands.map((command, turn) => `until [ -e /dev/shm/${turn} ]; do sleep 0.01; done; ${command}`);
    const { id, state } = await host.run({ cmd: ['sh', '-c', steps.join('; ')] });
    assert.ok(state.kind === 'running');
    for (const turn of commands.keys()) {
      await until(`${turn} lines`, async () => (await entriesOf(id)).length === turn);
      writeFileSync(`/proc/${state.pid}/root/dev/shm/${turn}`, '');
    }
    await host.exited(id);
    return id;
  }

  it('keeps both streams apart, in order, with times in UTC', async () => {
    const id = await printInTurn(['echo out', 'echo err >&2', 'printf part']);
    const entries = await entriesOf(id);
    assert.deepEqual(
      entries.map(({ stream, data }) => [stream, data.toString()]),
      [
        ['stdout', 'out\n'],
        ['stderr', 'err\n'],
        ['stdout', 'part'],
      ],
    );
    for (const { time } of entries) assert.match(time, /^20[0-9]{2}-[0-9-]{5}T[0-9:]{8}\.[0-9]{9}Z$/);
  });

  it('gives the last lines, what came since a time, and nothing of a container that is not there', async () => {
    const id = await printInTurn(['echo 1', 'echo 2', 'echo 3', 'sleep 0.01; echo 4']);
    assert.equal(await read(id, { tailLines: 2 }), '3\n4\n');
    assert.equal(await read(id, { tailLines: 0 }), '');
    assert.equal(await read(id, { tailLines: 100 }), '1\n2\n3\n4\n');
    const lastMs = Date.parse((await entriesOf(id))[3]?.time ?? '');
    assert.equal(await read(id, { sinceMs: lastMs }), '4\n');
    assert.equal(await read(id, { untilMs: lastMs - 1 }), '1\n2\n3\n');
    await assert.rejects(async () => {
      for await (const _ of host.runtime.containers.log('0'.repeat(64), {}, never)) assert.fail('an entry of nothing');
    }, ContainerNotFoundError);
  });

  it('gives one stream alone, and the last lines of it', async () => {
    const lines = [1, 2, 3].flatMap((number) => [`echo out ${number}`, `echo err ${number} >&2`]);
    const id = await printInTurn([...lines, 'printf part']);
    assert.equal(await read(id, { streams: 'stderr' }), 'err 1\nerr 2\nerr 3\n');
    assert.equal(await read(id, { streams: 'stderr', tailLines: 2 }), 'err 2\nerr 3\n');
    assert.equal(await read(id, { streams: 'stdout', tailLines: 2 }), 'out 3\npart');
    assert.equal(await read(id, { tailLines: 3 }), 'out 3\nerr 3\npart');
  });

  it('gives the run that ended last alone, also after a restart of the daemon and across rotations', async function () {
    this.timeout(240_000);
    // A run prints nothing but its number and 20,000 further lines; the last one goes on.
    const script =
      'n=$(cat /n); echo $((n + 1)) >/n; echo run $n; seq 20000 | sed "s/^/$n-/"; [ $n -lt 4 ] || exec sleep 1000';
    const { id, state } = await host.run({
      cmd: ['sh', '-c', `[ -e /n ] || { echo 1 >/n; ${untilGo}; }; ${script}`],
      log: { maxSizeBytes: 400_000, maxFiles: 50 },
    });
    await assert.rejects(read(id, { previous: true }), RunNotKeptError);
    letGo(state);
    const runText = (n: number): string =>
      `run ${n}\n${Array.from({ length: 20_000 }, (_, index) => `${n}-${index + 1}\n`).join('')}`;
    await host.exited(id);
    // While none goes on, it is the last one.
    assert.equal(await read(id, { previous: true }), runText(1));
    for (const n of [2, 3, 4]) {
      await host.runtime.containers.start(id, never);
      if (n < 4) await host.exited(id);
    }
    await host.printed(id, '4-20000\n');
    // The last one goes on and is over the limit. Those that end as they are rotated may share a file.
    await until('a rotation', () => logFiles(id).length > 1);
    assert.equal(await read(id, { previous: true }), runText(3));
    assert.equal(await read(id, { previous: true, tailLines: 2, follow: true }), '3-19999\n3-20000\n');
    assert.equal(await read(id, {}), [1, 2, 3, 4].map(runText).join(''));
    await host.reopen();
    assert.equal(await read(id, { previous: true }), runText(3));
  });

  it('says so when rotation has removed the previous run', async function () {
    this.timeout(240_000);
    const { id } = await host.run({
      cmd: ['sh', '-c', '[ -e /n ] || { touch /n; echo first; exit; }; seq 60000; exec sleep 1000'],
      log: { maxSizeBytes: 300_000, maxFiles: 2 },
    });
    await host.exited(id);
    assert.equal(await read(id, { previous: true }), 'first\n');
    await host.runtime.containers.start(id, never);
    await host.printed(id, '60000\n');
    await until('the first file to go', () => !logFiles(id).includes('ctr.log.1'));
    await assert.rejects(read(id, { previous: true }), RunNotKeptError);
  });

  it('marks a run on a line of its own after a line that was cut short', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'echo whole'] });
    await host.exited(id);
    appendFileSync(
      join(host.deps.dataDir, 'containers', id, 'log', 'ctr.log'),
      '2026-11-24T07:00:00.000000000+00:00 std',
    );
    await host.runtime.containers.start(id, never);
    await host.exited(id);
    await host.runtime.containers.start(id, never);
    await host.exited(id);
    assert.equal(await read(id, {}), 'whole\nwhole\nwhole\n');
    assert.equal(await read(id, { previous: true }), 'whole\n');
  });

  it('ends a follower when the time that it asked for has passed, with all that was written until then', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'while true; do echo tick; sleep 0.02; done'] });
    await host.printed(id, 'tick\ntick');
    const untilMs = Date.now() + 500;
    const times: number[] = [];
    for await (const { time } of host.runtime.containers.log(id, { follow: true, untilMs }, never)) {
      times.push(Date.parse(time));
    }
    assert.ok(times.length > 1 && times.every((timeMs) => timeMs <= untilMs));
    assert.ok(Date.now() >= untilMs);
  });

  it('follows from one run into the next, and ends when the container is removed', async () => {
    const { id } = await host.run({ cmd: ['sh', '-c', 'echo run'] });
    const seen: string[] = [];
    const following = (async () => {
      for await (const entry of host.runtime.containers.log(id, { follow: true }, never))
        seen.push(entry.data.toString());
    })();
    await until('the first run', () => seen.length === 1);
    await host.exited(id);
    await host.runtime.containers.start(id, never);
    await until('the second run', () => seen.length === 2);
    await host.exited(id);
    await host.runtime.containers.remove(id);
    await following;
    assert.deepEqual(seen, ['run\n', 'run\n']);
  });

  it('ends a follower that is aborted while it waits', async () => {
    const { id } = await host.run({ cmd: ['sleep', '1000'] });
    const stop = new AbortController();
    const following = (async () => {
      for await (const _ of host.runtime.containers.log(id, { follow: true }, stop.signal)) assert.fail('an entry');
    })();
    setImmediate(() => stop.abort());
    await following;
  });

  it('shows a follower each new line, with no need of a next one', async () => {
    const { id } = await host.run({ cmd: ['cat'], hasStdin: true });
    const session = await host.runtime.containers.attach(id, { hasStdin: true }, never);
    session.stdout.resume();
    session.stderr?.resume();
    // How fast is a matter of make bench.
    let lines = 0;
    session.stdin?.write('tick\n');
    for await (const entry of host.runtime.containers.log(id, { follow: true }, never)) {
      assert.equal(entry.data.toString(), 'tick\n');
      lines += 1;
      if (lines === 20) break;
      session.stdin?.write('tick\n');
    }
    await session.close();
  });

  it('rotates at full load without losing or doubling a line, for a follower and for a later reader', async function () {
    this.timeout(240_000);
    const lines = 150_000;
    const { id } = await host.run({
      cmd: ['sh', '-c', `seq 1 ${lines}; exec sleep 1000`],
      log: { maxSizeBytes: 500_000, maxFiles: 100 },
    });
    // conmon reads 8 KiB at a time, so that a line may come in two entries.
    const countLines = async (follow: boolean): Promise<number> => {
      let count = 0;
      let carry = '';
      for await (const entry of host.runtime.containers.log(id, { follow }, never)) {
        carry += entry.data.toString();
        if (!carry.endsWith('\n')) continue;
        count += 1;
        assert.equal(carry, `${count}\n`);
        carry = '';
        if (follow && count === lines) break;
      }
      return count;
    };
    assert.equal(await countLines(true), lines);
    await until('a rotation', () => logFiles(id).length > 1);
    assert.equal(await countLines(false), lines);
    const tail: string[] = [];
    for await (const entry of host.runtime.containers.log(id, { tailLines: 3 }, never))
      tail.push(entry.data.toString());
    assert.deepEqual(
      tail,
      [lines - 2, lines - 1, lines].map((line) => `${line}\n`),
    );
  });

  it('keeps no more files than asked for, nor bigger ones', async function () {
    this.timeout(240_000);
    const { id } = await host.run({
      cmd: ['sh', '-c', 'i=0; while true; do i=$((i+1)); echo "line $i of some length to fill the file"; done'],
      log: { maxSizeBytes: 200_000, maxFiles: 2 },
    });
    // Any later one does as well: each is there for a moment only.
    await until('three rotations', () =>
      logFiles(id).some((name) => Number(/^ctr\.log\.([0-9]+)$/.exec(name)?.[1]) >= 3),
    );
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    await until('the surplus to go', () => logFiles(id).length <= 2);
  });

  it('cuts a log that grew while nobody was there, and keeps its end', async () => {
    const { id, state } = await host.run({
      cmd: ['sh', '-c', `${untilGo}; seq 1 20000; echo done; exec sleep 1000`],
      log: { maxSizeBytes: 10_000_000, maxFiles: 3 },
    });
    await host.runtime.containers.update(id, { log: { maxSizeBytes: 100_000, maxFiles: 3 } });
    await host.runtime.close();
    letGo(state);
    const log = join(host.deps.dataDir, 'containers', id, 'log', 'ctr.log');
    await until('the log to grow', () => statSync(log).size > 1_000_000);
    await host.open();
    const sizeBytes = (): number =>
      logFiles(id).reduce(
        (sum, name) => sum + (statSync(join(log, '..', name), { throwIfNoEntry: false })?.size ?? 0),
        0,
      );
    await until('the log to be within its bound', () => sizeBytes() <= 4 * 100_000);
    assert.match(await host.printed(id, 'done'), /\n19999\n20000\ndone\n$/);
  });
});
