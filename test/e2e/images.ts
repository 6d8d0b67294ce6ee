/** The examples' images in a test instance's image store, as `make images` puts them there. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type Instance, run } from '../instance.ts';

const root = join(import.meta.dirname, '..', '..');

/** Builds what is missing (the packages are downloaded once, into .tools/) and imports all of them. */
export async function importExampleImages(
  { dataDir, runDir }: Pick<Instance, 'dataDir' | 'runDir'>,
  example = 'website-monitor',
): Promise<void> {
  const { code, stderr } = await run(
    process.execPath,
    [
      join(root, 'examples', 'build-images.ts'),
      ...['--data-dir', dataDir, '--run-dir', runDir, '--example', example],
      // Every suite has an instance of its own: what one has built the others only import.
      ...['--archive-dir', join(root, '.tools', 'images')],
    ],
    { cwd: root },
    240_000,
  );
  assert.equal(code, 0, stderr);
}
