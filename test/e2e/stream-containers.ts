/** The containers that streams are tested with, in an instance of their own, and 10 MiB to send. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import type { Instance } from '../instance.ts';
import { useInstance } from './use-instance.ts';

export const tenMebibytes = 10 * 1024 * 1024;
export const image = { image: 'localhost/busybox:latest', imagePullPolicy: 'Never', terminationGracePeriodSeconds: 0 };

export interface StreamContainers {
  readonly instance: Instance;
  readonly config: KubeConfig;
  /** Of the suite; `bytes` in it is a file of them. */
  readonly dir: string;
  readonly bytes: Buffer;
}

/**
 * Registers the hooks of a suite; the returned function gives its tests what runs by then: `web` with ports 7000 (echo) and 7002
 * (a page, on loopback only), `shell` with a terminal, `reader` that answers each line on both outputs, `done` that has ended.
 */
export function useStreamContainers(): () => StreamContainers {
  const started = useInstance();
  let given: StreamContainers | undefined;
  before(async () => {
    const instance = started();
    const config = new KubeConfig();
    config.loadFromFile(instance.kubeconfig);
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-streams-'));
    const bytes = randomBytes(tenMebibytes);
    given = { instance, config, dir, bytes };
    await writeFile(join(dir, 'bytes'), bytes);
    // One port sends back what comes; the other listens on loopback only, as many programs do.
    const servers = 'nc -ll -p 7000 -e cat & echo page >/tmp/page; httpd -p 127.0.0.1:7002 -h /tmp;';
    const script = `trap "exit 0" TERM; ${servers} echo ready; while :; do sleep 1; done`;
    await instance.create('web', {
      ...image,
      command: ['sh', '-c', script],
      ports: [{ name: 'echo', containerPort: 7000 }],
    });
    await instance.create('shell', {
      ...image,
      command: ['env', 'PS1=inside> ', 'sh'],
      stdin: true,
      tty: true,
    });
    await instance.create('reader', {
      ...image,
      command: ['sh', '-c', 'while read l; do echo "got $l"; echo "err $l" >&2; done; exit 9'],
      stdin: true,
    });
    await instance.create('done', { ...image, command: ['sh', '-c', 'echo over; exit 3'], restartPolicy: 'Never' });
    for (const name of ['web', 'shell', 'reader']) {
      await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
    }
    await instance.waitFor('done', ({ state }) => state === 'Exited', 'over');
  });
  after(async () => {
    if (given !== undefined) await rm(given.dir, { recursive: true, force: true });
  });
  return () => {
    if (given === undefined) throw new Error('the containers are there only while the tests of the suite run');
    return given;
  };
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
