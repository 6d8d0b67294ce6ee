/**
 * The server that the suite asks: the one that the environment names, or else a store of its own. Effects.
 * HOLDFAST_CONFORMANCE_KUBECONFIG: a kubeconfig whose current context is a cluster administrator's. Or
 * HOLDFAST_CONFORMANCE_SERVER (https://host:port), HOLDFAST_CONFORMANCE_TOKEN and HOLDFAST_CONFORMANCE_CA (a PEM file).
 * HOLDFAST_CONFORMANCE_MINOR: which Kubernetes 1 it is, where GET /version does not tell.
 */
import { rm } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { Agent, type Dispatcher, request } from 'undici';
import { configMap, makeDir, startStore } from '../store/fixture.ts';

export interface Target {
  readonly call: (options: CallOptions) => Promise<Dispatcher.ResponseData>;
  /** The minor version of Kubernetes 1, if the environment says it: a server that was built by hand tells none. */
  readonly minor: number | undefined;
  /** Whether it is the suite's own store, of which everything is asked. */
  readonly isOwn: boolean;
  close(): Promise<void>;
}

export interface CallOptions {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly signal?: AbortSignal;
  /** `anonymous`: without the token or certificate. */
  readonly as: 'administrator' | 'anonymous';
}

/** Throws if the environment names a server halfway. */
export async function openTarget(environment: NodeJS.ProcessEnv): Promise<Target> {
  const config = configOf(environment);
  const minor = environment.HOLDFAST_CONFORMANCE_MINOR;
  if (config !== undefined) {
    const target = await openServer(config, async () => {});
    return { ...target, minor: minor === undefined ? undefined : Number(minor) };
  }
  const dataDir = await makeDir();
  const remove = (): Promise<void> => rm(dataDir, { recursive: true, force: true });
  try {
    // Like a server that has been up for long, it has forgotten its first versions: a restart forgets them all.
    const first = await startStore({ dataDir });
    await first.client.expect(201, 'POST', '/api/v1/namespaces/default/configmaps', { body: configMap('first') });
    await first.close();
    const fixture = await startStore({ dataDir });
    const own = new KubeConfig();
    own.loadFromFile(fixture.store.adminKubeconfigPath);
    const close = async (): Promise<void> => {
      await fixture.close();
      await remove();
    };
    return { ...(await openServer(own, close)), isOwn: true };
  } catch (error) {
    await remove();
    throw error;
  }
}

function configOf(environment: NodeJS.ProcessEnv): KubeConfig | undefined {
  const config = new KubeConfig();
  const file = environment.HOLDFAST_CONFORMANCE_KUBECONFIG ?? '';
  const server = environment.HOLDFAST_CONFORMANCE_SERVER ?? '';
  if (file !== '') config.loadFromFile(file);
  else if (server !== '') {
    const token = environment.HOLDFAST_CONFORMANCE_TOKEN;
    const caFile = environment.HOLDFAST_CONFORMANCE_CA;
    if (token === undefined || caFile === undefined) {
      throw new Error('beside HOLDFAST_CONFORMANCE_SERVER set HOLDFAST_CONFORMANCE_TOKEN and HOLDFAST_CONFORMANCE_CA');
    }
    config.loadFromClusterAndUser({ name: 'server', server, caFile, skipTLSVerify: false }, { name: 'user', token });
  } else return undefined;
  return config;
}

async function openServer(config: KubeConfig, closeServer: () => Promise<void>): Promise<Target> {
  const server = config.getCurrentCluster()?.server;
  if (server === undefined) throw new Error('the kubeconfig has no current context with a cluster');
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const { ca, cert, key, rejectUnauthorized } = options;
  const shared = {
    ...(ca === undefined ? {} : { ca }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  };
  const known = new Agent({ connect: { ...shared, ...(cert === undefined ? {} : { cert, key }) } });
  const unknown = new Agent({ connect: shared });
  const authorization = readAuthorization(options.headers);
  return {
    isOwn: false,
    minor: undefined,
    call: ({ method, path, headers, body, signal, as }) =>
      request(server.replace(/\/$/u, '') + path, {
        method: method as Dispatcher.HttpMethod, // the tables name methods of HTTP
        dispatcher: as === 'administrator' ? known : unknown,
        headers: { ...(as === 'administrator' ? authorization : {}), ...headers },
        body: body ?? null,
        bodyTimeout: 0,
        headersTimeout: 60_000,
        ...(signal === undefined ? {} : { signal }),
      }),
    close: async () => {
      await Promise.all([known.destroy(), unknown.destroy()]);
      await closeServer();
    },
  };
}

function readAuthorization(headers: RequestOptions['headers']): Readonly<Record<string, string>> {
  if (headers === undefined || Array.isArray(headers)) return {};
  const found = Object.entries(headers).find(([name]) => name.toLowerCase() === 'authorization')?.[1];
  return typeof found === 'string' ? { authorization: found } : {};
}
