/** Access to an API server by a kubeconfig file. Effects. */
import type { KubeConfig } from '@kubernetes/client-node';
import { ConfigError } from './config.ts';

/** Throws ConfigError. */
export async function loadKubeconfig(path: string): Promise<KubeConfig> {
  // Loaded only here: it brings all of client-node's models along (75 MB).
  const { KubeConfig } = await import('@kubernetes/client-node');
  const kubeconfig = new KubeConfig();
  try {
    kubeconfig.loadFromFile(path);
  } catch (error) {
    throw new ConfigError(
      `the kubeconfig "${path}" cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  return kubeconfig;
}
