/** The rules of Secrets by their type. Pure. Source: k8s.io/kubernetes/pkg/apis/core/validation, ValidateSecret. */
import type { FieldError } from './field-errors.ts';
import { getPath, getString, isJsonObject, type Json } from './json.ts';
import type { KubeObject } from './resources.ts';

const dockerKeys: ReadonlyMap<string, string> = new Map([
  ['kubernetes.io/dockercfg', '.dockercfg'],
  ['kubernetes.io/dockerconfigjson', '.dockerconfigjson'],
]);

const accountAnnotation = 'kubernetes.io/service-account.name';

const required = (field: string): FieldError => ({ kind: 'required', field, detail: '' });

/** What a Secret of its type must hold, and that the type stays. No error quotes what a Secret holds. */
export function validateSecretType(object: KubeObject, previous: KubeObject | undefined): readonly FieldError[] {
  const type = getString(object, 'type') ?? 'Opaque';
  const before = previous === undefined ? undefined : getString(previous, 'type');
  const changed: readonly FieldError[] =
    before === undefined || before === type
      ? []
      : [{ kind: 'invalid', field: 'type', value: type, detail: 'field is immutable' }];
  return [...changed, ...validateContent(type, object)];
}

function validateContent(type: string, object: KubeObject): readonly FieldError[] {
  const dataOf = (key: string): Json | undefined => getPath(object, ['data', key]);
  const missing = (keys: readonly string[]): readonly FieldError[] =>
    keys.filter((key) => dataOf(key) === undefined).map((key) => required(`data[${key}]`));
  const dockerKey = dockerKeys.get(type);
  if (dockerKey !== undefined) return [...missing([dockerKey]), ...validateDocker(dockerKey, dataOf(dockerKey))];
  switch (type) {
    case 'kubernetes.io/tls':
      return missing(['tls.crt', 'tls.key']);
    case 'kubernetes.io/ssh-auth':
      return (dataOf('ssh-privatekey') ?? '') === '' ? [required('data[ssh-privatekey]')] : [];
    case 'kubernetes.io/basic-auth': {
      const absent = missing(['username', 'password']);
      return absent.length === 2 ? absent : [];
    }
    case 'kubernetes.io/service-account-token': {
      const account = object.metadata.annotations?.[accountAnnotation] ?? '';
      return account === '' ? [required(`metadata.annotations[${accountAnnotation}]`)] : [];
    }
    default:
      return [];
  }
}

function validateDocker(key: string, value: Json | undefined): readonly FieldError[] {
  if (typeof value !== 'string') return [];
  try {
    if (isJsonObject(JSON.parse(Buffer.from(value, 'base64').toString('utf8')))) return [];
  } catch {
    // Told below; the words of the parser would quote the secret.
  }
  const detail = 'must be a JSON object';
  return [{ kind: 'invalid', field: `data[${key}]`, value: '<secret contents redacted>', detail }];
}
