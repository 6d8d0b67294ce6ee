/**
 * The images of the chapter as archives that `docker load` takes: made of the examples' images, once for all suites.
 * Effects: writes below .tools/images/.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lampImages, provideExampleArchive, websiteMonitorImages, wordpressImages } from '../../examples/index.ts';
import { alone } from '../alone.ts';
import { run } from '../instance.ts';

const tools = join(import.meta.dirname, '..', '..', '.tools');
const recipes = [...websiteMonitorImages, ...wordpressImages, ...lampImages];

/** What the book calls an image → the example's image that stands for it. */
export const chapterImages = {
  'busybox:latest': 'localhost/busybox:latest',
  'nginx:latest': 'localhost/nginx:latest',
  'dockerinaction/ch2_mailer': 'localhost/mailer:latest',
  'dockerinaction/ch2_agent': 'localhost/agent:latest',
  'mysql:5': 'localhost/mariadb:latest',
  'wordpress:4': 'localhost/wordpress:latest',
  'tutum/lamp': 'localhost/lamp:latest',
} as const;

/** The path of a docker-archive that holds one image of the examples under its own name. */
export async function dockerArchive(name: string): Promise<string> {
  const recipe = recipes.find((known) => known.name === name);
  assert.ok(recipe !== undefined, `there is no example image ${name}`);
  return await alone('building the examples', async () => {
    const workDir = await mkdtemp(join(tmpdir(), 'holdfast-image-'));
    try {
      const archiveDir = join(tools, 'images');
      const signal = AbortSignal.timeout(240_000);
      const built = await provideExampleArchive(recipe, { cacheDir: join(tools, 'debs'), workDir, archiveDir, signal });
      const converted = built.replace(/\.tar$/, '.docker.tar');
      if (existsSync(converted)) return converted;
      const beside = `${converted}.${process.pid}.new`;
      const target = `docker-archive:${beside}:${name}`;
      const { code, stderr } = await run('skopeo', ['--insecure-policy', 'copy', `oci-archive:${built}`, target]);
      assert.equal(code, 0, stderr);
      await rename(beside, converted);
      return converted;
    } finally {
      await rm(workDir, { recursive: true, force: true });
    }
  });
}
