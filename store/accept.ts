/** Content negotiation: which form of an object or list a client wants. Pure. */
import { notAcceptable, StatusError } from './status-error.ts';

export interface AnswerForm {
  readonly encoding: 'json' | 'yaml';
  /** Objects as they are, rows of a table for kubectl, or metadata only. */
  readonly as: 'object' | 'table' | 'metadata';
  /** Of `metadata`: whether the client expects one object or a list of them. */
  readonly count: 'single' | 'list';
  /** Version of meta.k8s.io for tables and metadata. */
  readonly metaVersion: 'v1' | 'v1beta1';
}

interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

/** Splits an Accept header into its media ranges, the most wanted first; bad parts are left out. */
export function parseAccept(header: string): readonly MediaRange[] {
  const ranges = header.split(',').map((part) => {
    const [type = '', ...rest] = part.split(';').map((piece) => piece.trim());
    const parameters = new Map(
      rest.map((piece) => {
        const [key = '', value = ''] = piece.split('=', 2);
        return [key.trim().toLowerCase(), value.trim().replaceAll('"', '')] as const;
      }),
    );
    const quality = Number(parameters.get('q') ?? 1);
    return { type: type.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 0 : quality };
  });
  return ranges.filter(({ type, quality }) => type !== '' && quality > 0).toSorted((a, b) => b.quality - a.quality);
}

const plain: AnswerForm = { encoding: 'json', as: 'object', count: 'single', metaVersion: 'v1' };
const jsonTypes = new Set(['application/json', '*/*', 'application/*']);
const yamlTypes = new Set(['application/yaml', 'text/yaml', 'application/x-yaml']);

/** Throws StatusError 406. */
export function negotiateAnswer(header: string | undefined): AnswerForm {
  if (header === undefined || header.trim() === '' || header === '*/*') return plain;
  for (const { type, parameters } of parseAccept(header)) {
    const isJson = jsonTypes.has(type);
    if (!isJson && !yamlTypes.has(type)) continue;
    const encoding = isJson ? 'json' : 'yaml';
    const as = parameters.get('as');
    if (as === undefined) return { ...plain, encoding };
    const version = parameters.get('v');
    if (parameters.get('g') !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1')) continue;
    if (as === 'Table') return { ...plain, encoding, as: 'table', metaVersion: version };
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') {
      const count = as === 'PartialObjectMetadata' ? 'single' : 'list';
      return { encoding, as: 'metadata', count, metaVersion: version };
    }
  }
  throw notAcceptable(['application/json', 'application/yaml']);
}

/** Which aggregated discovery format a client prefers over the plain one, if any. */
export function negotiateDiscovery(header: string | undefined): 'v2' | 'v2beta1' | undefined {
  for (const { type, parameters } of parseAccept(header ?? '')) {
    if (!jsonTypes.has(type)) continue;
    const version = parameters.get('v');
    if (parameters.get('as') === undefined) return undefined;
    if (parameters.get('g') !== 'apidiscovery.k8s.io' || parameters.get('as') !== 'APIGroupDiscoveryList') continue;
    if (version === 'v2' || version === 'v2beta1') return version;
  }
  return undefined;
}

/** Throws StatusError 406 where a client asks for a list of metadata and gets one object, or the other way round. */
export function checkCount({ as, count }: AnswerForm, answered: AnswerForm['count']): void {
  if (as !== 'metadata' || count === answered) return;
  const asked = count === 'list' ? 'PartialObjectMetadataList' : 'PartialObjectMetadata';
  const is = answered === 'list' ? 'a list' : 'not a list';
  throw new StatusError(406, 'NotAcceptable', `you requested ${asked}, but the requested object is ${is}`);
}

/** How an error is encoded: as the client wants answers, and in JSON if that cannot be had. */
export function negotiateErrorEncoding(header: string | undefined): AnswerForm['encoding'] {
  try {
    return negotiateAnswer(header).encoding;
  } catch {
    return 'json'; // what the client wants is not served, and it must be told so in some form
  }
}
