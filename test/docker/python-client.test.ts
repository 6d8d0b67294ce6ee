/** Debian's python3-docker 5.0.3 against the gateway. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { run } from '../instance.ts';
import { python } from '../tools.ts';
import { Book } from './book.ts';
import { startChosenEngine } from './engines.ts';

const script = join(import.meta.dirname, 'python-client.py');

describe('python3-docker', () => {
  it('runs, reads, changes, follows and removes containers, volumes, networks and images', async () => {
    const engine = await startChosenEngine();
    try {
      const book = await Book.open(engine.socketPath);
      try {
        await book.load({ 'busybox:latest': 'localhost/busybox:latest' });
        const { program, env } = python();
        const { code, stderr } = await run(program, [script, engine.socketPath], { env }, 180_000);
        assert.equal(code, 0, stderr);
      } finally {
        await book.close();
      }
    } finally {
      await engine.close();
    }
  });
});
