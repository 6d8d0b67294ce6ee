/**
 * Builds the images of the examples and imports them into the image store of one instance:
 *   node examples/build-images.ts --data-dir D --run-dir R [--cache-dir C]
 * Images that are there and up to date are left alone, in a tenth of a second. Safe beside a running daemon.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { buildExampleImages } from './import-images.ts';

const usage = 'usage: build-images.ts --data-dir DIR --run-dir DIR [--cache-dir DIR]';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { 'data-dir': { type: 'string' }, 'run-dir': { type: 'string' }, 'cache-dir': { type: 'string' } },
  });
  const dataDir = values['data-dir'];
  const runDir = values['run-dir'];
  if (dataDir === undefined || runDir === undefined) throw new TypeError(usage);
  const cacheDir = values['cache-dir'] ?? join(import.meta.dirname, '..', '.tools', 'debs');
  await mkdir(dataDir, { recursive: true });
  const workDir = await mkdtemp(join(dataDir, '.image-build-'));
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => abort.abort(new Error(`stopped by ${signal}`)));
  }
  try {
    await buildExampleImages({
      dataDir,
      runDir,
      cacheDir,
      workDir,
      signal: abort.signal,
      log: pino({ level: 'warn' }, pino.destination(2)),
      report: (line) => console.log(line),
    });
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  console.error(`cannot build the images of the examples: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
