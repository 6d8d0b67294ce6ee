import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findInstance, InstanceRunsError, lockInstance } from '../../cli/instance-lock.ts';

/** A process that tries to take the lock, says `held` or `refused`, and goes on until it is killed. */
function startHolder(dataDir: string): ChildProcess {
  const source = fileURLToPath(new URL('../../cli/instance-lock.ts', import.meta.url));
  const script = `
    import { lockInstance } from ${JSON.stringify(source)};
    globalThis.lock = await lockInstance(${JSON.stringify(dataDir)}).catch((error) => error.name);
    console.log(typeof globalThis.lock === 'object' ? 'held' : 'refused ' + globalThis.lock);
    setInterval(() => {}, 1000);`;
  return spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function firstWord(child: ChildProcess): Promise<string> {
  assert.ok(child.stdout);
  const [chunk] = await once(child.stdout, 'data');
  return String(chunk).trim();
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

describe('lockInstance', () => {
  let dataDir: string;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'holdfast-lock-'));
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  it('lets one in, refuses the second by name, and lets another in after the first has left', async () => {
    const first = await lockInstance(dataDir);
    await assert.rejects(
      lockInstance(dataDir),
      (error: unknown) => error instanceof InstanceRunsError && error.message.includes(dataDir),
    );
    await first.close();
    await (await lockInstance(dataDir)).close();
  });
  it('tells who holds it', async () => {
    assert.equal(await findInstance(dataDir), undefined);
    const lock = await lockInstance(dataDir);
    assert.equal(await findInstance(dataDir), process.pid);
    await lock.close();
    assert.equal(await findInstance(dataDir), undefined);
  });
  it('answers whoever asks while it closes with an end and not with an error', async () => {
    for (let round = 0; round < 50; round += 1) {
      const lock = await lockInstance(dataDir);
      const asked = findInstance(dataDir);
      await lock.close();
      assert.ok([undefined, process.pid].includes(await asked));
    }
  });
  it('cannot be kept from starting, nor told a process id, by whoever may not enter the data dir', async () => {
    const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 32);
    const squatter = createServer((socket) => socket.end('1234567'));
    await new Promise<void>((resolve) => squatter.listen(`\0holdfast-${name}`, resolve));
    try {
      assert.equal(await findInstance(dataDir), undefined);
      const lock = await lockInstance(dataDir);
      assert.equal(await findInstance(dataDir), process.pid);
      await lock.close();
    } finally {
      await new Promise((resolve) => squatter.close(resolve));
    }
  });
  it('lets exactly one of many in that start at once, and is free when that one is killed', async () => {
    const holders = Array.from({ length: 4 }, () => startHolder(dataDir));
    try {
      const words = await Promise.all(holders.map(firstWord));
      assert.deepEqual([...words].sort(), ['held', ...Array(3).fill('refused InstanceRunsError')]);
      const holder = holders[words.indexOf('held')];
      assert.equal(await findInstance(dataDir), holder?.pid);
    } finally {
      await Promise.all(holders.map(kill));
    }
    assert.equal(await findInstance(dataDir), undefined);
    await (await lockInstance(dataDir)).close();
  });
  it('believes no process id that is not the one of the holder', async () => {
    const lock = await lockInstance(dataDir);
    const file = join(dataDir, 'instance.pid');
    const mine = await readFile(file, 'utf8');
    for (const wrong of [
      '',
      'x',
      '1',
      `${process.pid} 1`,
      `${process.ppid} ${Number(mine.split(' ')[1]) + 100}`,
      '4194999 gone',
    ]) {
      await writeFile(file, wrong);
      await assert.rejects(findInstance(dataDir, 50), /does not name a process that runs/, wrong);
    }
    await lock.close();
  });
  it('is not lost when another is refused in the same process', async () => {
    const lock = await lockInstance(dataDir);
    await assert.rejects(lockInstance(dataDir), InstanceRunsError);
    assert.equal(await findInstance(dataDir), process.pid);
    const other = startHolder(dataDir);
    try {
      assert.equal(await firstWord(other), 'refused InstanceRunsError');
    } finally {
      await kill(other);
    }
    await lock.close();
  });
});
