/**
 * The certificates, keys and tokens in the data directory: made at the first start, renewed before they end. Effects.
 * A certificate authority is followed by the next in two steps, so that nobody is cut off: first both are trusted and told
 * of in all kubeconfigs, half a year later the next one signs, and the former is trusted until it ends.
 */
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { makeCa, makeServer, msLeft, type Pair, readIfPresent, readPair, writeDurably } from './openssl.ts';

export { PkiError } from './openssl.ts';

export interface Credentials {
  /** All authorities that are trusted, the one that signs first; PEM. */
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

const dayMs = 24 * 60 * 60 * 1000;
/** Certificates of servers and clients are renewed when so much is left. */
export const renewBeforeMs = 30 * dayMs;
/** Longer than the certificates live that an authority signs: none outlives it. */
const prepareBeforeMs = 2 * 365 * dayMs;
const switchBeforeMs = 548 * dayMs;

/** What is to be done about an authority: nothing, make the next and have it trusted, or let the next sign. Pure. */
export function decideRotation(
  leftMs: number,
  next: { readonly ageMs: number } | undefined,
): 'keep' | 'prepare' | 'switch' {
  if (leftMs > prepareBeforeMs) return 'keep';
  if (next === undefined) return 'prepare';
  const isKnown = next.ageMs > renewBeforeMs || leftMs < renewBeforeMs;
  return leftMs < switchBeforeMs && isKnown ? 'switch' : 'keep';
}

/** Reads the credentials, making or renewing what is missing, damaged or soon out of date. Throws PkiError. */
export async function ensureCredentials({ dataDir, listenHost, nowMs }: PkiOptions): Promise<Credentials> {
  const dir = join(dataDir, 'pki');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
  const { signing, trusted } = await ensureAuthorities(dir, nowMs);
  const names = subjectAltNames(listenHost);
  const present = await readPair(dir, 'server');
  const isFit = present !== undefined && isCurrent(present, signing, nowMs) && isNamedAll(present, names);
  const server = isFit ? present : await makeServer({ dir, name: 'server', nowMs }, signing, names);
  const [adminToken, signingKey] = [await ensureToken(dir), await ensureSigningKey(dir)];
  return { caCertificate: trusted.join(''), ...server, adminToken, signingKey };
}

export interface Authorities {
  readonly signing: Pair;
  /** PEM, the one that signs first. */
  readonly trusted: readonly string[];
}

/** Throws PkiError. */
export async function ensureAuthorities(dir: string, nowMs: number): Promise<Authorities> {
  await finishSwitch(dir);
  const present = await readPair(dir, 'ca');
  let ca = present !== undefined && msLeft(present, nowMs) > 0 ? present : await makeCa({ dir, name: 'ca', nowMs });
  let next = await readPair(dir, 'ca-next');
  const ageMs = next === undefined ? 0 : nowMs - new X509Certificate(next.certificate).validFromDate.getTime();
  switch (decideRotation(msLeft(ca, nowMs), next === undefined ? undefined : { ageMs })) {
    case 'prepare':
      next = await makeCa({ dir, name: 'ca-next', nowMs });
      break;
    case 'switch':
      await writeDurably(join(dir, 'ca-previous.crt'), ca.certificate);
      await rename(join(dir, 'ca-next.key'), join(dir, 'ca.key'));
      await finishSwitch(dir);
      ca = next ?? ca;
      next = undefined;
      break;
    default:
  }
  const previous = await readIfPresent(join(dir, 'ca-previous.crt'));
  const others = [next?.certificate, previous].filter((pem) => pem !== undefined && isAlive(pem, nowMs));
  return { signing: ca, trusted: [ca.certificate, ...others.filter((pem) => pem !== undefined)] };
}

/** A crash may have come between the key and the certificate of the next authority. */
async function finishSwitch(dir: string): Promise<void> {
  const certificate = await readIfPresent(join(dir, 'ca-next.crt'));
  const key = await readIfPresent(join(dir, 'ca.key'));
  if (certificate === undefined || key === undefined) return;
  try {
    if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) return;
  } catch {
    await rm(join(dir, 'ca-next.crt'), { force: true }); // damaged: the next is made anew
    return;
  }
  await rename(join(dir, 'ca-next.crt'), join(dir, 'ca.crt'));
}

function isAlive(certificate: string, nowMs: number): boolean {
  try {
    return msLeft({ certificate }, nowMs) > 0;
  } catch {
    return false; // damaged: it is not trusted
  }
}

/** Whether the authority signed it, and it lasts for some time. */
export function isCurrent(pair: Pair, ca: Pair, nowMs: number): boolean {
  const parsed = new X509Certificate(pair.certificate);
  const isSigned = parsed.verify(new X509Certificate(ca.certificate).publicKey);
  return isSigned && msLeft(pair, nowMs) > renewBeforeMs && parsed.validFromDate.getTime() <= nowMs;
}

function isNamedAll({ certificate }: Pair, names: readonly string[]): boolean {
  const parsed = new X509Certificate(certificate);
  return names.every((name) => (isIP(name) === 0 ? parsed.checkHost(name) : parsed.checkIP(name)) !== undefined);
}

function subjectAltNames(listenHost: string): readonly string[] {
  const unspecified = ['0.0.0.0', '::'];
  const names = ['localhost', '127.0.0.1', '::1', hostname(), listenHost];
  return [...new Set(names.filter((name) => name !== '' && !unspecified.includes(name)))];
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
