/**
 * Certificates, the admin token and the admin kubeconfig, in the data directory. Made at the first start with the
 * openssl command, which costs the daemon no memory. Effects. Keys and tokens have mode 0600 from the first byte on.
 */
import { execFile } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { chmod, mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Credentials {
  readonly caCertificate: string;
  readonly certificate: string;
  readonly key: string;
  readonly adminToken: string;
  /** PEM of the key that signs the tokens of service accounts. */
  readonly signingKey: string;
}

export interface PkiOptions {
  readonly dataDir: string;
  /** The address that is listened on; the certificate is valid for it as well. */
  readonly listenHost: string;
  readonly nowMs: number;
}

/** The certificates cannot be made or read; the message says why and what to do. */
export class PkiError extends Error {
  override readonly name = 'PkiError';
}

const dayMs = 24 * 60 * 60 * 1000;
const renewBeforeMs = 30 * dayMs;
const caDays = 3650;
const serverDays = 365;

const run = promisify(execFile);

/** Reads the credentials, making or renewing what is missing, damaged or soon out of date. Throws PkiError. */
export async function ensureCredentials({ dataDir, listenHost, nowMs }: PkiOptions): Promise<Credentials> {
  const dir = join(dataDir, 'pki');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  const ca = (await readPair(dir, 'ca', nowMs)) ?? (await makeCa(dir));
  const names = subjectAltNames(listenHost);
  const present = await readPair(dir, 'server', nowMs);
  const server = present !== undefined && isUsable(present, ca, names) ? present : await makeServer(dir, ca, names);
  return {
    caCertificate: ca.certificate,
    ...server,
    adminToken: await ensureToken(dir),
    signingKey: await ensureSigningKey(dir),
  };
}

interface Pair {
  readonly certificate: string;
  readonly key: string;
}

/** undefined: missing, not a pair, or soon out of date. */
async function readPair(dir: string, name: string, nowMs: number): Promise<Pair | undefined> {
  const certificate = await readIfPresent(join(dir, `${name}.crt`));
  const key = await readIfPresent(join(dir, `${name}.key`));
  if (certificate === undefined || key === undefined) return undefined;
  try {
    const parsed = new X509Certificate(certificate);
    const isCurrent = parsed.validToDate.getTime() - nowMs > renewBeforeMs && parsed.validFromDate.getTime() <= nowMs;
    return isCurrent && parsed.checkPrivateKey(createPrivateKey(key)) ? { certificate, key } : undefined;
  } catch {
    return undefined; // damaged by a crash or by hand: it is made anew
  }
}

function isUsable({ certificate }: Pair, ca: Pair, names: readonly string[]): boolean {
  const parsed = new X509Certificate(certificate);
  const isSigned = parsed.verify(new X509Certificate(ca.certificate).publicKey);
  return isSigned && names.every((name) => isNamed(parsed, name));
}

function isNamed(certificate: X509Certificate, name: string): boolean {
  return (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;
}

function subjectAltNames(listenHost: string): readonly string[] {
  const unspecified = ['0.0.0.0', '::'];
  const names = ['localhost', '127.0.0.1', '::1', hostname(), listenHost];
  return [...new Set(names.filter((name) => name !== '' && !unspecified.includes(name)))];
}

async function makeCa(dir: string): Promise<Pair> {
  const subject = '/CN=holdfast-ca';
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature'];
  return make(dir, 'ca', async (work) => {
    await openssl([
      'req',
      '-x509',
      ...newKey(work),
      '-days',
      String(caDays),
      '-subj',
      subject,
      '-out',
      `${work}/crt`,
      ...added(extensions),
    ]);
  });
}

async function makeServer(dir: string, ca: Pair, names: readonly string[]): Promise<Pair> {
  const alternatives = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',');
  const extensions = [
    'basicConstraints=critical,CA:FALSE',
    'keyUsage=critical,digitalSignature',
    'extendedKeyUsage=serverAuth',
    `subjectAltName=${alternatives}`,
  ];
  return make(dir, 'server', async (work) => {
    await writeFile(`${work}/ca.crt`, ca.certificate, { mode: 0o600 });
    await writeFile(`${work}/ca.key`, ca.key, { mode: 0o600 });
    const issuer = ['-CA', `${work}/ca.crt`, '-CAkey', `${work}/ca.key`];
    await openssl([
      'req',
      '-x509',
      ...newKey(work),
      ...issuer,
      '-days',
      String(serverDays),
      '-subj',
      '/CN=holdfast',
      '-out',
      `${work}/crt`,
      ...added(extensions),
    ]);
  });
}

function newKey(work: string): readonly string[] {
  return [
    '-config',
    `${work}/cnf`,
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-sha256',
    '-keyout',
    `${work}/key`,
  ];
}

function added(extensions: readonly string[]): readonly string[] {
  return extensions.flatMap((extension) => ['-addext', extension]);
}

/** Makes a pair in a folder of its own, then puts key and certificate in place. */
async function make(dir: string, name: string, fill: (work: string) => Promise<void>): Promise<Pair> {
  const work = await mkdtemp(join(dir, '.new-'));
  try {
    // A configuration of our own: the host's could add extensions.
    await writeFile(`${work}/cnf`, '[req]\ndistinguished_name = name\n[name]\n', { mode: 0o600 });
    await fill(work);
    const key = await readFile(`${work}/key`, 'utf8');
    const certificate = await readFile(`${work}/crt`, 'utf8');
    // A crash between the two leaves what is not a pair, and the next start makes both anew.
    await writeDurably(join(dir, `${name}.key`), key);
    await writeDurably(join(dir, `${name}.crt`), certificate);
    return { certificate, key };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function openssl(args: readonly string[]): Promise<void> {
  try {
    await run('openssl', args, { timeout: 30_000 });
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const advice = isMissing ? 'install the Debian package openssl' : 'see the cause, and the free space of the disk';
    throw new PkiError(`cannot make a certificate with openssl; ${advice}`, { cause: error });
  }
}

async function ensureToken(dir: string): Promise<string> {
  const path = join(dir, 'admin-token');
  const present = (await readIfPresent(path))?.trim();
  // A file that was cut or filled with zeros is no token.
  if (present !== undefined && /^[\x21-\x7e]{32,}$/.test(present)) return present;
  const token = randomBytes(32).toString('base64url');
  await writeDurably(path, `${token}\n`);
  return token;
}

/** Without it, all tokens of service accounts are void: they are asked for anew. */
async function ensureSigningKey(dir: string): Promise<string> {
  const path = join(dir, 'service-accounts.key');
  const present = await readIfPresent(path);
  try {
    if (present !== undefined && createPrivateKey(present).asymmetricKeyDetails?.namedCurve === 'prime256v1')
      return present;
  } catch {
    // damaged by a crash or by hand: it is made anew
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writeDurably(path, pem);
  return pem;
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new PkiError(`cannot read ${path}; check its owner and mode`, { cause: error });
  }
}

/** Writes a file of mode 0600 so that after a crash it is there whole, or not at all. */
async function writeDurably(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    throw new PkiError(`cannot write ${path}; check the directory's owner, mode and free space`, { cause: error });
  }
}

/** Writes the kubeconfig of the administrator; returns its path. Throws PkiError. */
export async function writeAdminKubeconfig(
  dataDir: string,
  server: { readonly url: string; readonly caCertificate: string; readonly adminToken: string },
): Promise<string> {
  const path = join(dataDir, 'admin.kubeconfig');
  const authority = Buffer.from(server.caCertificate).toString('base64');
  // JSON strings are YAML strings as well.
  const lines = [
    'apiVersion: v1',
    'kind: Config',
    'clusters:',
    '  - name: holdfast',
    '    cluster:',
    `      server: ${JSON.stringify(server.url)}`,
    `      certificate-authority-data: ${authority}`,
    'users:',
    '  - name: holdfast-admin',
    '    user:',
    `      token: ${JSON.stringify(server.adminToken)}`,
    'contexts:',
    '  - name: holdfast',
    '    context: { cluster: holdfast, user: holdfast-admin, namespace: default }',
    'current-context: holdfast',
  ];
  const content = `${lines.join('\n')}\n`;
  if ((await readIfPresent(path)) !== content) await writeDurably(path, content);
  await chmod(path, 0o600);
  return path;
}
