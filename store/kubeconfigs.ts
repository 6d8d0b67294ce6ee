/** Kubeconfig files: the administrator's, and one for each host that was given one; rewritten when what they hold changes. Effects. */
import { chmod, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hostPrefix, hostsGroup } from './access/index.ts';
import { makeClient, type Pair, PkiError, readIfPresent, readPair, writeDurably } from './openssl.ts';
import { ensureAuthorities, isCurrent } from './pki.ts';

type Identity = { readonly name: string; readonly token: string } | { readonly name: string; readonly pair: Pair };

/** Writes the kubeconfig of the administrator; returns its path. Throws PkiError. */
export async function writeAdminKubeconfig(
  dataDir: string,
  server: { readonly url: string; readonly caCertificate: string; readonly adminToken: string },
): Promise<string> {
  const path = join(dataDir, 'admin.kubeconfig');
  await write(path, server, { name: 'holdfast-admin', token: server.adminToken });
  return path;
}

async function write(
  path: string,
  { url, caCertificate }: { readonly url: string; readonly caCertificate: string },
  identity: Identity,
): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const credentials =
    'token' in identity
      ? [`      token: ${JSON.stringify(identity.token)}`]
      : [
          `      client-certificate-data: ${base64(identity.pair.certificate)}`,
          `      client-key-data: ${base64(identity.pair.key)}`,
        ];
  // JSON strings are YAML strings as well.
  const lines = [
    'apiVersion: v1',
    'kind: Config',
    'clusters:',
    '  - name: holdfast',
    '    cluster:',
    `      server: ${JSON.stringify(url)}`,
    `      certificate-authority-data: ${base64(caCertificate)}`,
    'users:',
    `  - name: ${identity.name}`,
    '    user:',
    ...credentials,
    'contexts:',
    '  - name: holdfast',
    `    context: { cluster: holdfast, user: ${identity.name}, namespace: default }`,
    'current-context: holdfast',
  ];
  const content = `${lines.join('\n')}\n`;
  if ((await readIfPresent(path)) !== content) await writeDurably(path, content);
  await chmod(path, 0o600);
}

/** With `system:host:` before it, it is a common name, which has 64 characters at most (RFC 5280, ub-common-name). */
const hostName = /^[a-z0-9]([-a-z0-9.]{0,50}[a-z0-9])?$/u;

/**
 * Writes the kubeconfig of a host's controller, with a client certificate for it; returns its path. A certificate that
 * lasts is kept. `url` undefined: as in the present file, or in the administrator's. Throws PkiError.
 */
export async function writeHostKubeconfig(
  dataDir: string,
  { host, url, nowMs }: { readonly host: string; readonly url: string | undefined; readonly nowMs: number },
): Promise<string> {
  if (!hostName.test(host))
    throw new PkiError(`"${host}" is no name of a host; use at most 52 small letters, digits, - and .`);
  const pki = join(dataDir, 'pki');
  const dir = join(dataDir, 'hosts');
  const path = join(dir, `${host}.kubeconfig`);
  const server = url ?? (await serverIn(path)) ?? (await serverIn(join(dataDir, 'admin.kubeconfig')));
  if (server === undefined) throw new PkiError(`the store in ${dataDir} was never started; start it, or give --server`);
  const { signing, trusted } = await ensureAuthorities(pki, nowMs);
  const name = `${filePrefix}${host}`;
  const present = await readPair(pki, name);
  const pair =
    present !== undefined && isCurrent(present, signing, nowMs)
      ? present
      : await makeClient({ dir: pki, name, nowMs }, signing, `${hostPrefix}${host}`, hostsGroup);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await write(path, { url: server, caCertificate: trusted.join('') }, { name: `holdfast-host-${host}`, pair });
  return path;
}

const filePrefix = 'host-';

/** Renews what hosts were given, where it is to be. Returns the names of the hosts. Throws PkiError. */
export async function renewHostKubeconfigs(dataDir: string, nowMs: number): Promise<readonly string[]> {
  const files = await readdir(join(dataDir, 'pki'));
  const hosts = files
    .filter((file) => file.startsWith(filePrefix) && file.endsWith('.crt'))
    .map((file) => file.slice(filePrefix.length, -'.crt'.length));
  for (const host of hosts) await writeHostKubeconfig(dataDir, { host, url: undefined, nowMs });
  return hosts;
}

async function serverIn(path: string): Promise<string | undefined> {
  return /^ +server: "([^"]+)"$/mu.exec((await readIfPresent(path)) ?? '')?.[1];
}
