/** Every command of README, docs and examples is run as it stands, against an instance with the website monitor. */
import assert from 'node:assert/strict';
import { mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Instance, run } from '../instance.ts';
import { docker, kubectl } from '../tools.ts';
import { importExampleImages } from './images.ts';
import { useInstance } from './use-instance.ts';

const root = join(import.meta.dirname, '..', '..');
const documents = [
  'README.md',
  'docs/operations.md',
  'docs/streams.md',
  'docs/configuration.md',
  'docs/images.md',
  'docs/docker.md',
  'examples/website-monitor/README.md',
  'examples/website-farm/README.md',
  'examples/lamp/README.md',
  'examples/wordpress/README.md',
  'examples/client-sites/README.md',
];

/** The shell blocks of a Markdown text. */
function blocksOf(markdown: string): string[] {
  return [...markdown.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '');
}

/**
 * A block as it can be run here: with this instance's folders and ports; `make` only says what it would do (the suites
 * are what it runs); what follows without end is followed for a moment.
 */
function adapt(block: string, { dataDir, runDir, storeUrl, metricsUrl }: Instance): string {
  return block
    .replaceAll('/var/lib/holdfast', dataDir)
    .replaceAll('/run/holdfast/', `${runDir}/`)
    .replaceAll('https://127.0.0.1:7443', storeUrl)
    .replaceAll('http://127.0.0.1:7444', metricsUrl)
    .replaceAll(/^make /gm, 'make -n ')
    .replaceAll(/^(kubectl .* -w)$/gm, 'timeout 3 $1 || test $? = 124');
}

describe('the documents', function () {
  this.timeout(420_000);
  const running = useInstance({ images: 'examples' });
  let instance: Instance;

  before(async () => {
    instance = running();
    for (const example of ['lamp', 'client-sites']) await importExampleImages(instance, example);
    await instance.kubectl(['apply', '-f', 'examples/website-monitor/']);
    await instance.kubectl(['wait', '--for=condition=Ready', 'ctr', '--all', '--timeout=60s']);
    await mkdir(join(instance.dataDir, 'bin'));
    await symlink(kubectl(), join(instance.dataDir, 'bin', 'kubectl'));
    await symlink(docker(), join(instance.dataDir, 'bin', 'docker'));
  });

  for (const name of documents) {
    it(`${name} holds only commands that work`, async () => {
      const blocks = blocksOf(await readFile(join(root, name), 'utf8'));
      assert.ok(blocks.length > 0, 'there are commands to run');
      // One shell for all blocks, as a reader has one.
      const script = `set -euo pipefail\n${blocks.map((block) => adapt(block, instance)).join('\n')}`;
      const env = {
        PATH: `${join(instance.dataDir, 'bin')}:${process.env.PATH ?? ''}`,
        KUBECONFIG: instance.kubeconfig,
        HOLDFAST_DATA_DIR: instance.dataDir,
        HOLDFAST_RUN_DIR: instance.runDir,
      };
      const { code, stdout, stderr } = await run('bash', ['-c', script], { cwd: root, env }, 240_000);
      assert.equal(code, 0, `${stderr}\n${stdout.slice(-2_000)}`);
      // Put back what the commands changed.
      await instance.kubectl(['wait', '--for=condition=Ready', 'ctr', '--all', '--timeout=60s']);
    });
  }
  it('shows a document in the README that the store takes as it is', async () => {
    const yaml = /^```yaml\n([\s\S]*?)^```$/m.exec(await readFile(join(root, 'README.md'), 'utf8'))?.[1] ?? '';
    const { code, stderr } = await instance.kubectl(['apply', '-f', '-'], { input: yaml });
    assert.equal(code, 0, stderr);
    await instance.waitFor('hello', ({ state }) => state === 'Running', 'running');
    await instance.remove('hello');
  });
});
