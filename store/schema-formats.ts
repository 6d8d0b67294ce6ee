/**
 * Formats of strings that a schema may ask for, as kube-openapi checks them. Pure. A format that is not named here says
 * something to people only.
 */
import { isIP, isIPv4, isIPv6 } from 'node:net';

const dateTime = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const duration =
  /^-?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+$|^-?\d+\s*(?:ns|us|µs|ms|s|m|h|d|w|nanos?|micros?|millis?|secs?|seconds?|mins?|minutes?|hours?|days?|weeks?)?$/u;
const hostname =
  /^(?=.{1,253}$)[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?)*\.?$/u;
const uuid = (version: string): RegExp =>
  new RegExp(`^[0-9a-f]{8}-?[0-9a-f]{4}-?${version}[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$`, 'iu');

const maxLength = 2_048;

/** A date of the calendar: 31 February is none. */
function isDate(text: string): boolean {
  const ms = Date.parse(`${text}T00:00:00Z`);
  return /^\d{4}-\d{2}-\d{2}$/u.test(text) && !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}

function isCidr(text: string): boolean {
  const [address = '', length = '', ...more] = text.split('/');
  const family = isIP(address);
  return more.length === 0 && family !== 0 && /^\d{1,3}$/u.test(length) && Number(length) <= (family === 4 ? 32 : 128);
}

const isDateTime = (text: string): boolean =>
  text.length < 64 && dateTime.test(text) && !Number.isNaN(Date.parse(text)) && isDate(text.slice(0, 10));

const tests: ReadonlyMap<string, (text: string) => boolean> = new Map([
  ['date-time', isDateTime],
  ['datetime', isDateTime],
  ['date', isDate],
  ['byte', (text) => base64.test(text)],
  ['duration', (text) => duration.test(text)],
  ['email', (text) => /^[^\s@]+@[^\s@]+$/u.test(text)],
  ['hostname', (text) => hostname.test(text)],
  ['ipv4', isIPv4],
  ['ipv6', isIPv6],
  ['cidr', isCidr],
  ['mac', (text) => /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$|^[0-9a-f]{4}(\.[0-9a-f]{4}){2}$/iu.test(text)],
  ['uri', (text) => text.startsWith('/') || URL.canParse(text)],
  ['uuid', (text) => uuid('[0-9a-f]').test(text)],
  ['uuid3', (text) => uuid('3').test(text)],
  ['uuid4', (text) => uuid('4').test(text)],
  ['uuid5', (text) => uuid('5').test(text)],
  ['hexcolor', (text) => /^#?([0-9a-f]{3}|[0-9a-f]{6})$/iu.test(text)],
]);

/** Longer texts than any of these has are not looked at, but for bytes. */
export function hasFormat(format: string, text: string): boolean {
  const test = tests.get(format);
  if (test === undefined) return true;
  return (format === 'byte' || text.length <= maxLength) && test(text);
}
