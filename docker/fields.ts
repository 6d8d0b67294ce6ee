/**
 * Reads the objects of a request field by field: what is of a wrong type, and what nobody asked for and means something,
 * is a problem that names the field. Pure.
 */

export interface Fields {
  /** Names the object in messages: "HostConfig." or "". */
  readonly prefix: string;
  /** undefined for what is absent, null or empty. */
  text(name: string): string | undefined;
  /** undefined for what is absent or null; the empty string is kept. */
  textOrEmpty(name: string): string | undefined;
  flag(name: string): boolean;
  /** undefined for what is absent, null or 0. */
  count(name: string): number | undefined;
  /** As count, but 0 and negative ones are kept. */
  integer(name: string): number | undefined;
  /** undefined for what is absent or null; a single text is a list of one, as Docker takes it. */
  texts(name: string): readonly string[] | undefined;
  /** Values that are null are left out. Empty for what is absent. */
  textMap(name: string): Readonly<Record<string, string>>;
  /** Names alone: {"80/tcp": {}}. */
  keys(name: string): readonly string[];
  object(name: string): Fields;
  objects(name: string): readonly Fields[];
  /** Whatever it is; undefined for what is absent or null. */
  raw(name: string): unknown;
  /** It may be absent, empty or one of these; anything else is refused with the reason. */
  refuse(name: string, allowed: readonly unknown[], why: string): void;
  problem(name: string, text: string): void;
  /** After all that is known was read: refuses the rest, unless it is empty. */
  finish(): void;
}

/** `problems` collects what is wrong. */
export function readFields(value: unknown, prefix: string, problems: string[]): Fields {
  const members = new Map<string, unknown>();
  const used = new Set<string>();
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    for (const [name, member] of Object.entries(value)) members.set(name, member);
  else if (value !== undefined && value !== null)
    problems.push(`${prefix.replace(/\.$/, '') || 'the body'}: must be an object, not ${describe(value)}`);

  const problem = (name: string, text: string): void => void problems.push(`${prefix}${name}: ${text}`);
  const take = (name: string): unknown => {
    used.add(name);
    return members.get(name) ?? undefined;
  };
  const takeAs = <T>(name: string, is: (member: unknown) => member is T, what: string): T | undefined => {
    const member = take(name);
    if (member === undefined || is(member)) return member;
    problem(name, `must be ${what}, not ${describe(member)}`);
    return undefined;
  };
  const textOrEmpty = (name: string) => takeAs(name, isText, 'a text');
  const integer = (name: string) => takeAs(name, isInteger, 'a whole number');
  return {
    prefix,
    textOrEmpty,
    text: (name) => {
      const text = textOrEmpty(name);
      return text === '' ? undefined : text;
    },
    flag: (name) => takeAs(name, isFlag, 'true or false') ?? false,
    integer,
    count: (name) => {
      const count = integer(name);
      if (count === undefined || count === 0) return undefined;
      if (count > 0) return count;
      problem(name, `${count} is less than 0`);
      return undefined;
    },
    texts: (name) => {
      const member = take(name);
      if (typeof member === 'string') return [member];
      if (member === undefined || isTexts(member)) return member;
      problem(name, `must be a list of texts, not ${describe(member)}`);
      return undefined;
    },
    textMap: (name) => {
      const entries = Object.entries(takeAs(name, isObject, 'an object') ?? {}).filter(([, text]) => text !== null);
      const wrong = entries.find(([, text]) => typeof text !== 'string');
      if (wrong !== undefined) problem(name, `the value of ${JSON.stringify(wrong[0])} must be a text`);
      return Object.fromEntries(entries.flatMap(([key, text]) => (typeof text === 'string' ? [[key, text]] : [])));
    },
    keys: (name) => Object.keys(takeAs(name, isObject, 'an object') ?? {}),
    object: (name) => readFields(take(name), `${prefix}${name}.`, problems),
    objects: (name) =>
      (takeAs(name, isList, 'a list') ?? []).map((one, index) =>
        readFields(one, `${prefix}${name}[${index}].`, problems),
      ),
    raw: take,
    refuse: (name, allowed, why) => {
      const member = take(name);
      if (isEmpty(member) || allowed.includes(member)) return;
      problem(name, `${describe(member)} cannot be honoured: ${why}`);
    },
    problem,
    finish: () => {
      for (const [name, member] of members)
        if (!used.has(name) && !isEmpty(member)) problem(name, 'is not known to Holdfast; leave it out');
    },
  };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && !value.includes('\0');
}

function isFlag(value: unknown): value is boolean {
  return typeof value === 'boolean';
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function isTexts(value: unknown): value is readonly string[] {
  return isList(value) && value.every(isText);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What Go's encoding leaves out or writes for nothing: null, "", 0, false, [], {}, and objects and lists of such alone. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return true;
  return typeof value === 'object' && Object.values(value).every(isEmpty);
}

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
