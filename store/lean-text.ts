/**
 * Texts of objects kept in two parts: what an object says, and who owns which of its fields (metadata.managedFields). The
 * second is half of a Container's text, and the same for most of them but for its times, so those who have it alike share it;
 * and who lists and watches without it is given the first part as it is (omitManagedFields). Pure but for what is shared.
 */
import type { KubeObject } from './resources.ts';

export interface LeanText {
  /** The object without metadata.managedFields, as JSON. */
  readonly rest: string;
  /** Where in `rest` the managedFields are left out. */
  readonly at: number;
  /** The member managedFields with its comma, each of its times a NUL, which no JSON has. */
  readonly template: string;
  /** Its times, each followed by a NUL. */
  readonly times: string;
}

/** Shorter ones are not worth two parts. */
const minCharacters = 300;
/** With more of them it begins anew: who has one keeps it, and the next that is like it is kept for sharing. */
const maxShared = 512;
/** Longer ones are of objects with keys of their own, such as a ConfigMap with many: none other has the same. */
const maxSharedCharacters = 8_192;
const shared = new Map<string, string>();

/** `json`: the text of `object` as JSON.stringify gives it. undefined: it has no managedFields, or too short ones. */
export function splitText(json: string, object: KubeObject, least = minCharacters): LeanText | undefined {
  const { managedFields } = object.metadata;
  if (managedFields === undefined) return undefined;
  const member = `"managedFields":${JSON.stringify(managedFields)}`;
  if (member.length < least) return undefined;
  // By its place, since another member may look the same.
  const before = `{${membersBefore(object, 'metadata')}"metadata":{${membersBefore(object.metadata, 'managedFields')}`;
  const end = before.length + member.length;
  if (!json.startsWith(before) || !json.startsWith(member, before.length)) return undefined;
  const isFollowed = json[end] === ',';
  const isPreceded = !isFollowed && before.endsWith(',');
  const at = before.length - (isPreceded ? 1 : 0);
  const times: string[] = [];
  const whole = `${isPreceded ? ',' : ''}${member}${isFollowed ? ',' : ''}`;
  const template = whole.replace(/"time":"([^"\\]+)"/gu, (_, time: string) => {
    times.push(`${time}\0`);
    return '"time":"\0"';
  });
  return {
    rest: copyOf(`${json.slice(0, at)}${json.slice(end + (isFollowed ? 1 : 0))}`),
    at,
    template: share(template),
    times: copyOf(times.join('')),
  };
}

/** The whole text. */
export function joinText({ rest, at, template, times }: LeanText): string {
  const pieces = template.split('\0');
  const ends = times.split('\0');
  const member = pieces.map((piece, index) => `${piece}${ends[index] ?? ''}`).join('');
  return `${rest.slice(0, at)}${member}${rest.slice(at)}`;
}

/** The members of an object before one of them, as JSON. */
function membersBefore(object: object, name: string): string {
  let text = '';
  for (const [key, value] of Object.entries(object)) {
    if (key === name) break;
    if (value !== undefined) text += `${JSON.stringify(key)}:${JSON.stringify(value)},`;
  }
  return text;
}

function share(template: string): string {
  const known = shared.get(template);
  if (known !== undefined || template.length > maxSharedCharacters) return known ?? template;
  if (shared.size === maxShared) shared.clear();
  shared.set(template, template);
  return template;
}

/** Of its own: what is cut from a longer text, or put together, keeps that in memory. */
function copyOf(text: string): string {
  return Buffer.from(text).toString();
}
