import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findInstance, InstanceRunsError, lockInstance } from '../../cli/instance-lock.ts';

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
});
