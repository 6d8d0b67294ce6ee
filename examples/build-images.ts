/**
 * Builds the images of the examples and imports them into the image store of one instance:
 *   node examples/build-images.ts --data-dir D --run-dir R [--cache-dir C] [--archive-dir A] [--example NAME]…
 * Images that are there and up to date are left alone, in a tenth of a second. Safe beside a running daemon.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import type { ImageRecipe } from './image-recipe.ts';
import { buildExampleImages } from './import-images.ts';
import { lampImages } from './lamp/images.ts';
import { websiteMonitorImages } from './website-monitor/images.ts';
import { wordpressImages } from './wordpress/images.ts';

/** The images that each example needs. */
const examples: Readonly<Record<string, readonly ImageRecipe[]>> = {
  'website-monitor': websiteMonitorImages,
  'website-farm': websiteMonitorImages,
  lamp: lampImages,
  wordpress: wordpressImages,
  'client-sites': [...wordpressImages, ...websiteMonitorImages],
};
const usage = `usage: build-images.ts --data-dir DIR --run-dir DIR [--cache-dir DIR] [--archive-dir DIR] [--example NAME]…
NAME: ${Object.keys(examples).join(', ')} (by default website-monitor)`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'data-dir': { type: 'string' },
      'run-dir': { type: 'string' },
      'cache-dir': { type: 'string' },
      'archive-dir': { type: 'string' },
      example: { type: 'string', multiple: true, default: ['website-monitor'] },
    },
  });
  const dataDir = values['data-dir'];
  const runDir = values['run-dir'];
  if (dataDir === undefined || runDir === undefined) throw new TypeError(usage);
  const recipes = values.example.flatMap((name) => {
    const known = Object.hasOwn(examples, name) ? examples[name] : undefined;
    if (known === undefined) throw new TypeError(`there is no example "${name}"\n${usage}`);
    return known;
  });
  const cacheDir = values['cache-dir'] ?? join(import.meta.dirname, '..', '.tools', 'debs');
  await mkdir(dataDir, { recursive: true });
  const workDir = await mkdtemp(join(dataDir, '.image-build-'));
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => abort.abort(new Error(`stopped by ${signal}`)));
  }
  try {
    await buildExampleImages({
      recipes: [...new Set(recipes)],
      dataDir,
      runDir,
      cacheDir,
      archiveDir: values['archive-dir'],
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
