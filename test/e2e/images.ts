/** The examples' images in a test instance's image store, as `make images` puts them there. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildExampleImages, websiteMonitorImages } from '../../examples/index.ts';
import { alone } from '../alone.ts';
import { type Instance, run } from '../instance.ts';

const root = join(import.meta.dirname, '..', '..');
/** The larger ones take a minute the first time: those who need no more than busybox do not wait for them. */
const locks = { busybox: 'building busybox', examples: 'building the examples' };
/** Every suite has an instance of its own: what one has built the others only import. */
const archiveDir = join(root, '.tools', 'images');

/** localhost/busybox:latest alone, which is all that most suites run. */
export async function importBusybox({ dataDir, runDir }: Pick<Instance, 'dataDir' | 'runDir'>): Promise<void> {
  const recipes = websiteMonitorImages.filter(({ name }) => name === 'localhost/busybox:latest');
  assert.equal(recipes.length, 1);
  const workDir = await mkdtemp(join(dataDir, '.image-build-'));
  try {
    await alone(locks.busybox, () =>
      buildExampleImages({
        ...{ recipes, dataDir, runDir, archiveDir, workDir },
        cacheDir: join(root, '.tools', 'debs'),
        signal: AbortSignal.timeout(120_000),
        log: pino({ level: 'warn' }, pino.destination(2)),
        report: () => {},
      }),
    );
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

/** Builds what is missing (the packages are downloaded once, into .tools/) and imports all of them. */
export async function importExampleImages(
  { dataDir, runDir }: Pick<Instance, 'dataDir' | 'runDir'>,
  example = 'website-monitor',
): Promise<void> {
  const args = [
    join(root, 'examples', 'build-images.ts'),
    ...['--data-dir', dataDir, '--run-dir', runDir, '--example', example],
    ...['--archive-dir', archiveDir],
  ];
  const { code, stderr } = await alone(locks.examples, () => run(process.execPath, args, { cwd: root }, 240_000));
  assert.equal(code, 0, stderr);
}
