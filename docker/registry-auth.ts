/** User names and passwords for registries, as Docker's clients send them. Pure. Source: Engine API, "Authentication". */
import type { RegistryCredential } from '../runtime/index.ts';
import { badParameter } from './docker-error.ts';

const dockerHub = 'https://index.docker.io/v1/';

/** The header X-Registry-Auth. Empty: none was given. Throws DockerError. */
export function parseRegistryAuth(
  header: string | readonly string[] | undefined,
  registry: string | undefined,
): readonly RegistryCredential[] {
  const text = [header].flat()[0] ?? '';
  if (text === '') return [];
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw badParameter('invalid X-Registry-Auth header: it must be JSON in base64url');
  }
  const { username, password } = readAuth(document);
  if (username === '' && password === '') return [];
  // Clients send what they have for the registry of the image, under whatever name they keep it.
  return registry === undefined ? [] : [{ registry, username, password }];
}

/** The body of POST /auth. Throws DockerError. */
export function parseAuthConfig(body: unknown): RegistryCredential {
  const { username, password, serverAddress } = readAuth(body);
  return { registry: serverAddress === '' ? dockerHub : serverAddress, username, password };
}

interface Auth {
  readonly username: string;
  readonly password: string;
  readonly serverAddress: string;
}

function readAuth(document: unknown): Auth {
  if (document === undefined || document === null) return { username: '', password: '', serverAddress: '' };
  if (typeof document !== 'object' || Array.isArray(document)) throw badParameter('the credentials must be an object');
  const members = new Map<string, unknown>(Object.entries(document));
  const text = (name: string): string => {
    const value = members.get(name);
    if (value === undefined || value === null) return '';
    if (typeof value !== 'string' || value.includes('\0')) throw badParameter(`${name} must be a text`);
    return value;
  };
  for (const token of ['identitytoken', 'registrytoken'])
    if (text(token) !== '')
      throw badParameter(`${token}: Holdfast gives registries a user name and a password; log in with them`);
  const [, name, word] = /^([^:]*):(.*)$/s.exec(Buffer.from(text('auth'), 'base64').toString('utf8')) ?? [];
  return {
    username: text('username') === '' ? (name ?? '') : text('username'),
    password: text('password') === '' ? (word ?? '') : text('password'),
    serverAddress: text('serveraddress'),
  };
}
