/** The store as Debian's python3-kubernetes sees it: typed and dynamic clients, a watch, server-side apply. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { python } from '../tools.ts';
import { startStore } from './fixture.ts';

const script = join(import.meta.dirname, 'python-client.py');

describe('store: python3-kubernetes', () => {
  it('creates, lists, patches, watches, applies and deletes', async () => {
    const fixture = await startStore();
    try {
      const { program, env } = python();
      const options = { env: { ...process.env, ...env }, timeout: 180_000 };
      await promisify(execFile)(program, [script, fixture.store.adminKubeconfigPath], options);
    } finally {
      await fixture.close();
    }
  });
});
