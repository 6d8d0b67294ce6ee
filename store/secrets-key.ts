/**
 * Secrets at rest: AES-256-GCM under a key of a file that only its owner can read. The file may hold several keys, one a
 * line: the first seals, each opens what it has sealed, so that keys can be changed. A sealed text names its key, and is
 * bound to the place of its object, so that none can be put in another's place. Effects: reads and writes the file.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { putInPlace } from './durable-file.ts';
import { lockedWords } from './status-error.ts';

interface Key {
  /** Of the key itself, so that a wrong key never has the name of the right one. */
  readonly id: string;
  readonly bytes: Buffer;
}

export type OpenedText =
  | { readonly kind: 'whole'; readonly json: string }
  /** `locked`: a key that is not at hand may open it. */
  | { readonly kind: 'damaged' | 'locked'; readonly problem: string };

/** A Secret is to be stored, and there is no key to seal it with. */
export class NoKeyError extends Error {
  override readonly name = 'NoKeyError';
}

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const sealedPrefix = 'holdfast:aesgcm:v1:';

/** Whether a stored text is sealed; JSON never begins so. */
export function isSealed(text: string): boolean {
  return text.startsWith(sealedPrefix);
}

/** The key that a sealed text needs; undefined: it is not sealed. */
export function keyIdOf(text: string): string | undefined {
  return isSealed(text) ? text.slice(sealedPrefix.length).split(':', 1)[0] : undefined;
}

export class KeyRing {
  readonly path: string;
  /** Why there is no key; undefined: there is one. */
  readonly problem: string | undefined;
  /** There is no key file: one may be made if nothing was sealed yet. */
  readonly isMissing: boolean;
  readonly #keys: readonly Key[];

  constructor(path: string, keys: readonly Buffer[], problem?: string, isMissing = false) {
    this.path = path;
    this.isMissing = isMissing;
    this.#keys = keys.map((bytes) => ({ id: idOf(bytes), bytes }));
    this.problem = keys.length > 0 ? undefined : (problem ?? `there is no key in ${path}`);
  }

  get ids(): readonly string[] {
    return this.#keys.map(({ id }) => id);
  }

  /** Whether this is as it should be on disk: sealed with the first key. */
  isCurrent(text: string): boolean {
    const [first] = this.#keys;
    return first === undefined || keyIdOf(text) === first.id;
  }

  /** Throws NoKeyError. */
  seal(storageKey: string, key: string, json: string): string {
    const [first] = this.#keys;
    if (first === undefined) throw new NoKeyError(this.problem);
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', first.bytes, nonce).setAAD(placeOf(storageKey, key));
    const parts = [nonce, cipher.update(json, 'utf8'), cipher.final(), cipher.getAuthTag()];
    return `${sealedPrefix}${first.id}:${Buffer.concat(parts).toString('base64')}`;
  }

  open(storageKey: string, key: string, text: string): OpenedText {
    const id = keyIdOf(text);
    if (id === undefined) return { kind: 'whole', json: text };
    const found = this.#keys.find((one) => one.id === id);
    if (found === undefined) {
      const why = this.problem ?? `${this.path} does not hold that key`;
      return { kind: 'locked', problem: `${lockedWords} ${id}, and ${why}` };
    }
    try {
      const sealed = Buffer.from(text.slice(sealedPrefix.length + id.length + 1), 'base64');
      const decipher = createDecipheriv('aes-256-gcm', found.bytes, sealed.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(placeOf(storageKey, key)).setAuthTag(sealed.subarray(-tagBytes));
      const body = sealed.subarray(nonceBytes, -tagBytes);
      return { kind: 'whole', json: Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8') };
    } catch {
      // What node:crypto says of it helps nobody: it is not what was sealed for this place.
      return { kind: 'damaged', problem: `it cannot be decrypted with its key ${id}` };
    }
  }
}

/** Reads the file; whatever is wrong with it is the ring's problem. */
export function readKeyRing(path: string): KeyRing {
  if (!existsSync(path)) {
    return new KeyRing(path, [], `the key file ${path} is not there; put it back and restart`, true);
  }
  try {
    return new KeyRing(path, parseKeys(readFileSync(path, 'utf8')));
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    return new KeyRing(path, [], `the key file ${path} cannot be read (${what}); put it right and restart`);
  }
}

/** Puts a new key in front of those that the file has; makes the file if it is not there. Throws what the disk throws. */
export function addKey(path: string): KeyRing {
  const old = existsSync(path) ? parseKeys(readFileSync(path, 'utf8')) : [];
  const keys = [randomBytes(keyBytes), ...old];
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, keys.map((bytes) => `${bytes.toString('base64')}\n`).join(''));
  } finally {
    closeSync(fd);
  }
  putInPlace(temporary, path);
  return new KeyRing(path, keys);
}

/** Pure. Throws TypeError that names the line, and never what is in it. */
export function parseKeys(text: string): readonly Buffer[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.flatMap((line, index) => {
    if (line === '' || line.startsWith('#')) return [];
    const bytes = Buffer.from(line, 'base64');
    if (bytes.length === keyBytes && bytes.toString('base64') === line) return [bytes];
    throw new TypeError(`line ${index + 1} is not ${keyBytes} bytes in base64`);
  });
}

function idOf(bytes: Buffer): string {
  return createHash('sha256').update('holdfast secrets key\0').update(bytes).digest('hex').slice(0, 12);
}

function placeOf(storageKey: string, key: string): Buffer {
  return Buffer.from(`${storageKey}\0${key}`);
}
