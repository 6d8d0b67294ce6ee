/**
 * The types that Kubernetes adds to CEL, with their functions: URLs, IP addresses and blocks of them, quantities, and
 * formats that have names. Pure. Source: apiserver/pkg/cel/library.
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
import { checkDns1035Label, checkLabelValue, checkName, checkQualifiedName } from './object-meta.ts';
import { floatOf, isWhole, ofWhole, parseQuantity, Quantity, wholeOf } from './quantity.ts';

/** What `optional.of` and `optional.none` make. */
export interface Optionals {
  readonly of: (value: unknown) => unknown;
  readonly none: unknown;
}

export function addOwnTypes(environment: Environment, optionals: Optionals): void {
  addNetwork(environment);
  addUrls(environment);
  addQuantities(environment);
  addFormats(environment, optionals);
}

export type Ordered = bigint | number | string | boolean | Date | { valueOf(): number | bigint | string };

export function compare(a: Ordered, b: Ordered): number {
  const [left, right] = [a.valueOf(), b.valueOf()];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Throws RangeError that says what is wrong with what is missing. */
export function need<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new RangeError(what);
  return value;
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

function when(isRight: (text: string) => boolean, problem: string): (text: string) => string | undefined {
  return (text) => (isRight(text) ? undefined : problem);
}

/** Without the last character where a name may end in a dash, to be completed. */
function prefixOf(check: (text: string) => string | undefined): (text: string) => string | undefined {
  return (text) => check(text.endsWith('-') ? `${text.slice(0, -1)}a` : text);
}

const label = (text: string): string | undefined => checkName(text, 'label');
const subdomain = (text: string): string | undefined => checkName(text, 'subdomain');

const namedFormats: Readonly<Record<string, (text: string) => string | undefined>> = {
  dns1123Label: label,
  dns1123Subdomain: subdomain,
  dns1035Label: checkDns1035Label,
  qualifiedName: checkQualifiedName,
  dns1123LabelPrefix: prefixOf(label),
  dns1123SubdomainPrefix: prefixOf(subdomain),
  dns1035LabelPrefix: prefixOf(checkDns1035Label),
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
