/** Runs a program in a container by client-node, and collects what it says. */
import { PassThrough, type Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Exec, type KubeConfig, type V1Status } from '@kubernetes/client-node';

/** In the container `web` of the namespace default. */
export async function execute(
  config: KubeConfig,
  command: readonly string[],
  { input }: { readonly input?: Readable } = {},
): Promise<{ stdout: Buffer; stderr: Buffer; status: V1Status }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const outputs = Promise.all([buffer(stdout), buffer(stderr)]);
  const status = await new Promise<V1Status>((resolve, reject) => {
    new Exec(config)
      .exec('default', 'web', 'web', [...command], stdout, stderr, input ?? null, false, resolve)
      .catch(reject);
  });
  const [out, error] = await outputs;
  return { stdout: out, stderr: error, status };
}
