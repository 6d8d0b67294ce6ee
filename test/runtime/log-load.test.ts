/** What a container cannot do by logging: fill the disk, or lose what is kept of its log. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { never, TestHost, until } from './host.ts';

const mebibyte = 2 ** 20;
const pad = 'x'.repeat(90);
/** Lines of a hundred bytes, from seq alone: "1xxx…", "2xxx…". */
const print = (lines: number): string => `seq -s '${pad}\n' 1 ${lines}`;

describe('logs under load', function () {
  this.timeout(240_000);
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const logDir = (id: string): string => join(host.deps.dataDir, 'containers', id, 'log');
  const keptBytes = (id: string): number =>
    readdirSync(logDir(id)).reduce(
      (sum, name) => sum + (statSync(join(logDir(id), name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    );

  /** The numbers of the lines, in order; fails at one that is not whole or does not follow the one before. */
  async function numbers(id: string, onLine: (number: number) => boolean, follow = false): Promise<void> {
    let carry = '';
    let last: number | undefined;
    for await (const { data } of host.runtime.containers.log(id, { follow }, never)) {
      const lines = (carry + data.toString('latin1')).split('\n');
      carry = lines.pop() ?? '';
      for (const line of lines) {
        const number = Number.parseInt(line, 10);
        const isWhole = line === `${number}${pad}` || line === String(number);
        // What is kept may begin within a line.
        if (!isWhole && last === undefined && pad.endsWith(line.slice(-40))) continue;
        if (!isWhole) assert.fail(`a broken line after ${last}: ${line.slice(0, 200)}`);
        if (last !== undefined && number !== last + 1) assert.fail(`line ${number} comes after ${last}`);
        last = number;
        if (onLine(number)) return;
      }
    }
  }

  it('keeps 200 MB written at a stretch within maxFiles times maxSize, and loses no line of what is kept', async () => {
    const limits = { maxSizeBytes: 10 * mebibyte, maxFiles: 3 };
    const lines = 2_100_000;
    const { id, state } = await host.run({
      cmd: ['sh', '-c', `${print(lines)}; echo >/dev/shm/done; exec sleep 1000`],
      log: limits,
      // Some 25 MB/s, so that a busy machine does not let it write all before anybody looks.
      limits: { pids: 200, cpuMillis: 250 },
    });
    assert.ok(state.kind === 'running');
    const done = `/proc/${state.pid}/root/dev/shm/done`;
    let peakBytes = 0;
    await until(
      'all to be written',
      () => {
        peakBytes = Math.max(peakBytes, keptBytes(id));
        return statSync(done, { throwIfNoEntry: false });
      },
      120_000,
    );
    const most = limits.maxFiles * limits.maxSizeBytes;
    await until('the surplus to go', () => keptBytes(id) <= most * 1.05);
    // For a moment it may be more: one file beside the others while it is rotated, and what is written while a busy machine
    // lets nobody look. All of it would be 300 MB.
    assert.ok(peakBytes <= 4 * most, `${peakBytes / mebibyte} MiB at most`);
    let first: number | undefined;
    let count = 0;
    await numbers(id, (number) => {
      first ??= number;
      count += 1;
      return false;
    });
    assert.equal((first ?? 0) + count - 1, lines);
    assert.ok(count * 100 > mebibyte * 10, `${count} lines are kept`);
    await host.runtime.containers.signal(id, 9);
    await host.exited(id);
    await until('all to be within the bound at rest', () => keptBytes(id) <= most);
  });

  it('neither stops nor kills a container whose log has no room on the disk, and goes on when there is', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'hf-small-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=700', 'tmpfs', dir]);
    try {
      const small = await TestHost.open({ dataDir: dir });
      try {
        const log = { maxSizeBytes: 4 * mebibyte, maxFiles: 2 };
        const filler = join(dir, 'filler');
        const { id } = await small.run({
          cmd: [
            'sh',
            '-c',
            `mkfifo /dev/shm/go; read go </dev/shm/go; ${print(300_000)}; echo >/dev/shm/full; read go </dev/shm/go; echo again; exit 7`,
          ],
          log,
        });
        const { state } = (await small.runtime.containers.inspect(id)) ?? {};
        assert.ok(state?.kind === 'running');
        const shm = `/proc/${state.pid}/root/dev/shm`;
        // Before it is there, what is written is a plain file in its way.
        await until('the fifo', () => statSync(join(shm, 'go'), { throwIfNoEntry: false })?.isFIFO());
        await writeFile(filler, Buffer.alloc(24 * mebibyte)).catch(() => {}); // ENOSPC is what we want
        await writeFile(join(shm, 'go'), 'go\n');
        await until(
          '30 MB to be written nowhere',
          () => statSync(join(shm, 'full'), { throwIfNoEntry: false }),
          60_000,
        );
        assert.equal((await small.runtime.containers.inspect(id))?.state.kind, 'running');
        await rm(filler);
        await writeFile(join(shm, 'go'), 'go\n');
        const ended = await small.exited(id);
        assert.ok(ended.state.kind === 'exited' && ended.state.exit.code === 7);
        // Perhaps behind a line that was cut short.
        assert.match(await small.output(id), /again\n$/);
      } finally {
        await small.close();
      }
    } finally {
      execFileSync('umount', [dir]);
      await rm(dir, { recursive: true });
    }
  });
});
