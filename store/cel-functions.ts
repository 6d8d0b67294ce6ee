/**
 * The functions that Kubernetes adds to CEL: lists, regular expressions, URLs, addresses, quantities, named formats, and
 * the strings, lists and sets extensions. Pure. Source: apiserver/pkg/cel/library, cel-go/ext.
 */
import type { Environment } from '@marcbachmann/cel-js/evaluator';
import {
  type Cidr,
  containsCidr,
  containsIp,
  formatCidr,
  formatIp,
  Ip,
  Cidr as IpBlock,
  ipTests,
  masked,
  parseCidr,
  parseIp,
} from './cel-network.ts';
import { floatOf, isWhole, ofWhole, parseQuantity, Quantity, wholeOf } from './cel-quantity.ts';
import { formatText } from './cel-strings.ts';
import { celEqual } from './cel-types.ts';
import { compileGoRegExp } from './go-regexp.ts';
import { checkLabelValue, checkName, checkQualifiedName } from './object-meta.ts';

/** What `optional.of` and `optional.none` make. */
export interface Optionals {
  readonly of: (value: unknown) => unknown;
  readonly none: unknown;
}

export function addFunctions(environment: Environment, optionals: Optionals): void {
  addLists(environment);
  addStrings(environment);
  addNetwork(environment);
  addUrls(environment);
  addQuantities(environment);
  addFormats(environment, optionals);
}

type Ordered = bigint | number | string | boolean | Date | { valueOf(): number | bigint | string };

function compare(a: Ordered, b: Ordered): number {
  const [left, right] = [a.valueOf(), b.valueOf()];
  return left < right ? -1 : left > right ? 1 : 0;
}

const ordered = ['int', 'uint', 'double', 'bool', 'string', 'google.protobuf.Duration', 'google.protobuf.Timestamp'];

function need<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new RangeError(what);
  return value;
}

function addLists(environment: Environment): void {
  for (const type of [...ordered, 'dyn']) {
    const list = `list<${type}>`;
    environment.registerFunction(`${list}.isSorted(): bool`, (items: Ordered[]) =>
      items.every((item, index) => index === 0 || compare(need(items[index - 1], 'no item'), item) <= 0),
    );
    const pick = (items: Ordered[], sign: number, name: string): Ordered =>
      need(
        items.reduce<Ordered | undefined>(
          (best, item) => (best === undefined || compare(item, best) * sign > 0 ? item : best),
          undefined,
        ),
        `${name} called on empty list`,
      );
    environment.registerFunction(`${list}.min(): ${type}`, (items: Ordered[]) => pick(items, -1, 'min'));
    environment.registerFunction(`${list}.max(): ${type}`, (items: Ordered[]) => pick(items, 1, 'max'));
    environment.registerFunction(`${list}.sort(): ${list}`, (items: Ordered[]) => items.toSorted(compare));
  }
  environment.registerFunction('list<int>.sum(): int', (items: bigint[]) =>
    items.reduce((sum, item) => sum + item, 0n),
  );
  environment.registerFunction('list<double>.sum(): double', (items: number[]) =>
    items.reduce((sum, item) => sum + item, 0),
  );
  const indexOf = (items: unknown[], wanted: unknown) => BigInt(items.findIndex((item) => celEqual(item, wanted)));
  environment.registerFunction('list<A>.indexOf(A): int', indexOf);
  environment.registerFunction('list<A>.lastIndexOf(A): int', (items: unknown[], wanted: unknown) =>
    BigInt(items.findLastIndex((item) => celEqual(item, wanted))),
  );
  environment.registerFunction('list<A>.reverse(): list<A>', (items: unknown[]) => items.toReversed());
  environment.registerFunction('list<A>.slice(int, int): list<A>', (items: unknown[], from: bigint, to: bigint) => {
    if (from < 0n || to > BigInt(items.length) || from > to) throw new RangeError(`cannot slice(${from}, ${to})`);
    return items.slice(Number(from), Number(to));
  });
  environment.registerFunction('list<A>.distinct(): list<A>', (items: unknown[]) =>
    items.filter((item, index) => items.findIndex((other) => celEqual(item, other)) === index),
  );
  addSets(environment);
}

class SetsNamespace {}

function addSets(environment: Environment): void {
  environment
    .registerType('SetsNamespace', SetsNamespace)
    .registerConstant('sets', 'SetsNamespace', new SetsNamespace());
  const has = (list: unknown[], wanted: unknown): boolean => list.some((item) => celEqual(item, wanted));
  const contains = (list: unknown[], other: unknown[]): boolean => other.every((item) => has(list, item));
  environment.registerFunction(
    'SetsNamespace.contains(list<A>, list<A>): bool',
    (_: unknown, a: unknown[], b: unknown[]) => contains(a, b),
  );
  environment.registerFunction(
    'SetsNamespace.equivalent(list<A>, list<A>): bool',
    (_: unknown, a: unknown[], b: unknown[]) => contains(a, b) && contains(b, a),
  );
  environment.registerFunction(
    'SetsNamespace.intersects(list<A>, list<A>): bool',
    (_: unknown, a: unknown[], b: unknown[]) => b.some((item) => has(a, item)),
  );
}

/** Longest text that an expression matches against a pattern. */
const maxMatched = 1_000_000;

function regExp(pattern: string, text: string, flags = ''): RegExp {
  if (text.length > maxMatched) throw new RangeError('the text is too long to be matched');
  return compileGoRegExp(pattern, flags);
}

function addStrings(environment: Environment): void {
  environment.registerFunction('string.goMatches(string): bool', (text: string, pattern: string) =>
    regExp(pattern, text).test(text),
  );
  environment.registerFunction(
    'string.find(string): string',
    (text: string, pattern: string) => regExp(pattern, text).exec(text)?.[0] ?? '',
  );
  const findAll = (text: string, pattern: string, limit: bigint): string[] => {
    const found = Array.from(text.matchAll(regExp(pattern, text, 'g')), ([match]) => match);
    return limit < 0n ? found : found.slice(0, Number(limit));
  };
  environment.registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) =>
    findAll(text, pattern, -1n),
  );
  environment.registerFunction('string.findAll(string, int): list<string>', findAll);
  environment.registerFunction('string.charAt(int): string', (text: string, at: bigint) => {
    const characters = Array.from(text);
    if (at < 0n || at > BigInt(characters.length)) throw new RangeError(`index out of range: ${at}`);
    return characters[Number(at)] ?? '';
  });
  const replace = (text: string, from: string, to: string, limit: bigint): string => {
    if (limit < 0n) return text.replaceAll(from, () => to);
    const parts = text.split(from);
    const head = parts.slice(0, Number(limit) + 1).join(to);
    const rest = parts.slice(Number(limit) + 1);
    return rest.length === 0 ? head : [head, ...rest].join(from);
  };
  environment.registerFunction('string.replace(string, string): string', (text: string, from: string, to: string) =>
    replace(text, from, to, -1n),
  );
  environment.registerFunction('string.replace(string, string, int): string', replace);
  environment.registerFunction('string.reverse(): string', (text: string) => Array.from(text).reverse().join(''));
  environment.registerFunction('string.format(list): string', formatText);
}

function addNetwork(environment: Environment): void {
  environment.registerType('net.IP', Ip).registerType('net.CIDR', IpBlock);
  environment.registerOperator('net.IP == net.IP', (a: Ip, b: Ip) => a.family === b.family && a.value === b.value);
  environment.registerOperator('net.CIDR == net.CIDR', (a: Cidr, b: Cidr) => formatCidr(a) === formatCidr(b));
  const ip = (text: string): Ip => need(parseIp(text), `IP Address ${JSON.stringify(text)} parse error`);
  const cidr = (text: string): Cidr => need(parseCidr(text), `network address parse error: ${JSON.stringify(text)}`);
  environment.registerFunction('ip(string): net.IP', ip);
  environment.registerFunction('isIP(string): bool', (text: string) => parseIp(text) !== undefined);
  environment.registerFunction('cidr(string): net.CIDR', cidr);
  environment.registerFunction('isCIDR(string): bool', (text: string) => parseCidr(text) !== undefined);
  environment.registerFunction('net.IP.family(): int', ({ family }: Ip) => BigInt(family));
  for (const [name, test] of Object.entries(ipTests)) environment.registerFunction(`net.IP.${name}(): bool`, test);
  environment.registerFunction('string(net.IP): string', formatIp);
  environment.registerFunction('string(net.CIDR): string', formatCidr);
  environment.registerFunction('net.CIDR.ip(): net.IP', ({ address }: Cidr) => address);
  environment.registerFunction('net.CIDR.prefixLength(): int', ({ length }: Cidr) => BigInt(length));
  environment.registerFunction('net.CIDR.masked(): net.CIDR', masked);
  environment.registerFunction('net.CIDR.containsIP(net.IP): bool', containsIp);
  environment.registerFunction('net.CIDR.containsIP(string): bool', (block: Cidr, text: string) =>
    containsIp(block, ip(text)),
  );
  environment.registerFunction('net.CIDR.containsCIDR(net.CIDR): bool', containsCidr);
  environment.registerFunction('net.CIDR.containsCIDR(string): bool', (block: Cidr, text: string) =>
    containsCidr(block, cidr(text)),
  );
}

function addUrls(environment: Environment): void {
  environment.registerType('net.URL', URL);
  const parse = (text: string): URL | undefined => {
    // A URI with a scheme, or an absolute path, as Go's ParseRequestURI takes them.
    if (text.startsWith('/')) return URL.parse(text, 'none://') ?? undefined;
    return /^[A-Za-z][A-Za-z0-9+.-]*:\/\//u.test(text) ? (URL.parse(text) ?? undefined) : undefined;
  };
  const isPath = (url: URL): boolean => url.protocol === 'none:';
  environment.registerFunction('url(string): net.URL', (text: string) =>
    need(
      parse(text),
      `URL parse error during conversion from string: parse ${JSON.stringify(text)}: invalid URI for request`,
    ),
  );
  environment.registerFunction('isURL(string): bool', (text: string) => parse(text) !== undefined);
  environment.registerOperator('net.URL == net.URL', (a: URL, b: URL) => a.href === b.href);
  environment.registerFunction('net.URL.getScheme(): string', (url: URL) =>
    isPath(url) ? '' : url.protocol.slice(0, -1),
  );
  environment.registerFunction('net.URL.getHost(): string', ({ host }: URL) => host);
  environment.registerFunction('net.URL.getHostname(): string', ({ hostname }: URL) =>
    hostname.replace(/^\[(.*)\]$/u, '$1'),
  );
  environment.registerFunction('net.URL.getPort(): string', ({ port }: URL) => port);
  environment.registerFunction('net.URL.getEscapedPath(): string', ({ pathname }: URL) => pathname);
  environment.registerFunction(
    'net.URL.getQuery(): map<string, list<string>>',
    ({ searchParams }: URL) => new Map([...new Set(searchParams.keys())].map((key) => [key, searchParams.getAll(key)])),
  );
}

function addQuantities(environment: Environment): void {
  environment.registerType('kubernetes.Quantity', Quantity);
  const type = 'kubernetes.Quantity';
  const quantity = (text: string): Quantity =>
    need(
      parseQuantity(text),
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
  environment.registerFunction(`quantity(string): ${type}`, quantity);
  environment.registerFunction('isQuantity(string): bool', (text: string) => parseQuantity(text) !== undefined);
  environment.registerOperator(`${type} == ${type}`, (a: Quantity, b: Quantity) => a.value === b.value);
  environment.registerFunction(`${type}.sign(): int`, ({ value }: Quantity) => BigInt(compare(value, 0n)));
  environment.registerFunction(`${type}.isInteger(): bool`, isWhole);
  environment.registerFunction(`${type}.asInteger(): int`, (value: Quantity) => {
    if (!isWhole(value)) throw new RangeError('cannot convert value to integer');
    return wholeOf(value);
  });
  environment.registerFunction(`${type}.asApproximateFloat(): double`, floatOf);
  environment.registerFunction(`${type}.isGreaterThan(${type}): bool`, (a: Quantity, b: Quantity) => a.value > b.value);
  environment.registerFunction(`${type}.isLessThan(${type}): bool`, (a: Quantity, b: Quantity) => a.value < b.value);
  environment.registerFunction(`${type}.compareTo(${type}): int`, (a: Quantity, b: Quantity) =>
    BigInt(compare(a.value, b.value)),
  );
  environment.registerFunction(
    `${type}.add(${type}): ${type}`,
    (a: Quantity, b: Quantity) => new Quantity(a.value + b.value),
  );
  environment.registerFunction(
    `${type}.sub(${type}): ${type}`,
    (a: Quantity, b: Quantity) => new Quantity(a.value - b.value),
  );
  environment.registerFunction(
    `${type}.add(int): ${type}`,
    (a: Quantity, b: bigint) => new Quantity(a.value + ofWhole(b).value),
  );
  environment.registerFunction(
    `${type}.sub(int): ${type}`,
    (a: Quantity, b: bigint) => new Quantity(a.value - ofWhole(b).value),
  );
}

/** A format that has a name. */
class NamedFormat {
  readonly check: (text: string) => string | undefined;

  constructor(check: (text: string) => string | undefined) {
    this.check = check;
  }
}

class FormatNamespace {}

const dns1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/u;

function when(isRight: (text: string) => boolean, problem: string): (text: string) => string | undefined {
  return (text) => (isRight(text) ? undefined : problem);
}

/** Without the last character where a name may end in a dash, to be completed. */
function prefixOf(check: (text: string) => string | undefined): (text: string) => string | undefined {
  return (text) => check(text.endsWith('-') ? `${text.slice(0, -1)}a` : text);
}

const label = (text: string): string | undefined => checkName(text, 'label');
const subdomain = (text: string): string | undefined => checkName(text, 'subdomain');
const dnsLabel = when((text) => text.length <= 63 && dns1035.test(text), 'must be a DNS-1035 label');

const namedFormats: Readonly<Record<string, (text: string) => string | undefined>> = {
  dns1123Label: label,
  dns1123Subdomain: subdomain,
  dns1035Label: dnsLabel,
  qualifiedName: checkQualifiedName,
  dns1123LabelPrefix: prefixOf(label),
  dns1123SubdomainPrefix: prefixOf(subdomain),
  dns1035LabelPrefix: prefixOf(dnsLabel),
  labelValue: checkLabelValue,
  uri: when((text) => URL.canParse(text), 'must be a URI'),
  uuid: when((text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu.test(text), 'must be a UUID'),
  byte: when(
    (text) => /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/u.test(text),
    'must be base64',
  ),
  date: when((text) => /^\d{4}-\d{2}-\d{2}$/u.test(text) && !Number.isNaN(Date.parse(text)), 'must be a date'),
  datetime: when(
    (text) => /^\d{4}-\d{2}-\d{2}[Tt]/u.test(text) && !Number.isNaN(Date.parse(text)),
    'must be a date and time',
  ),
};

function addFormats(environment: Environment, optionals: Optionals): void {
  environment.registerType('kubernetes.NamedFormat', NamedFormat);
  environment
    .registerType('FormatNamespace', FormatNamespace)
    .registerConstant('format', 'FormatNamespace', new FormatNamespace());
  for (const [name, check] of Object.entries(namedFormats)) {
    environment.registerFunction(`FormatNamespace.${name}(): kubernetes.NamedFormat`, () => new NamedFormat(check));
  }
  environment.registerFunction(
    'FormatNamespace.named(string): optional<kubernetes.NamedFormat>',
    (_: unknown, name: string) => {
      const check = Object.hasOwn(namedFormats, name) ? namedFormats[name] : undefined;
      return check === undefined ? optionals.none : optionals.of(new NamedFormat(check));
    },
  );
  environment.registerFunction(
    'kubernetes.NamedFormat.validate(string): optional<list<string>>',
    ({ check }: NamedFormat, text: string) => {
      const problem = check(text);
      return problem === undefined ? optionals.none : optionals.of([problem]);
    },
  );
}
