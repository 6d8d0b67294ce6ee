/**
 * Makes keys and certificates with the openssl command, which costs the daemon no memory, and reads them again. Effects.
 * Keys have mode 0600 from the first byte on.
 */
import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The certificates cannot be made or read; the message says why and what to do. */
export class PkiError extends Error {
  override readonly name = 'PkiError';
}

export interface Pair {
  readonly certificate: string;
  readonly key: string;
}

const run = promisify(execFile);
const dayMs = 24 * 60 * 60 * 1000;
const caDays = 3650;
/** Of the certificates of servers and clients. */
const leafDays = 365;

/** undefined: missing, or not a pair. */
export async function readPair(dir: string, name: string): Promise<Pair | undefined> {
  const certificate = await readIfPresent(join(dir, `${name}.crt`));
  const key = await readIfPresent(join(dir, `${name}.key`));
  if (certificate === undefined || key === undefined) return undefined;
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key)) ? { certificate, key } : undefined;
  } catch {
    return undefined; // damaged by a crash or by hand: it is made anew
  }
}

/** Milliseconds until a certificate ends; below 0: it has. */
export function msLeft({ certificate }: Pick<Pair, 'certificate'>, nowMs: number): number {
  return new X509Certificate(certificate).validToDate.getTime() - nowMs;
}

export interface MakeOptions {
  readonly dir: string;
  /** Of its files, without .crt and .key. */
  readonly name: string;
  readonly nowMs: number;
}

/** openssl reckons from the system's clock, which may be behind the one that counts here. */
function daysFrom(nowMs: number, days: number): string {
  return String(days + Math.max(0, Math.ceil((nowMs - Date.now()) / dayMs)));
}

export async function makeCa({ dir, name, nowMs }: MakeOptions): Promise<Pair> {
  // Clients that trust two authorities tell them apart by their names.
  const subject = `/CN=holdfast-ca@${Math.floor(nowMs / 1000)}`;
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature'];
  return make(dir, name, async (work) => {
    await openssl([
      'req',
      '-x509',
      ...newKey(work),
      '-days',
      daysFrom(nowMs, caDays),
      '-subj',
      subject,
      '-out',
      `${work}/crt`,
      ...added(extensions),
    ]);
  });
}

/** `names`: host names and addresses that it is valid for. */
export function makeServer(options: MakeOptions, ca: Pair, names: readonly string[]): Promise<Pair> {
  const alternatives = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',');
  return makeLeaf(options, ca, '/CN=holdfast', ['extendedKeyUsage=serverAuth', `subjectAltName=${alternatives}`]);
}

/** `user` and `group` have no slash. */
export function makeClient(options: MakeOptions, ca: Pair, user: string, group: string): Promise<Pair> {
  return makeLeaf(options, ca, `/O=${group}/CN=${user}`, ['extendedKeyUsage=clientAuth']);
}

function makeLeaf(
  { dir, name, nowMs }: MakeOptions,
  ca: Pair,
  subject: string,
  extensions: readonly string[],
): Promise<Pair> {
  const all = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', ...extensions];
  return make(dir, name, async (work) => {
    await writeFile(`${work}/ca.crt`, ca.certificate, { mode: 0o600 });
    await writeFile(`${work}/ca.key`, ca.key, { mode: 0o600 });
    const issuer = ['-CA', `${work}/ca.crt`, '-CAkey', `${work}/ca.key`];
    const validity = ['-days', daysFrom(nowMs, leafDays)];
    const out = ['-subj', subject, '-out', `${work}/crt`];
    await openssl(['req', '-x509', ...newKey(work), ...issuer, ...validity, ...out, ...added(all)]);
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

/** Throws PkiError. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new PkiError(`cannot read ${path}; check its owner and mode`, { cause: error });
  }
}

/** Writes a file of mode 0600 so that after a crash it is there whole, or not at all. */
export async function writeDurably(path: string, content: string): Promise<void> {
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
