/**
 * Regular expressions as Kubernetes writes them (Go, RE2), matched in time that is linear in the text, whoever wrote them:
 * by JavaScript's engine where that is sure to be quick, else by RE2JS, which is slower by far. Pure, but for V8's flags.
 */
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import type * as Re2 from 're2js';

/** RE2 refuses what repeats more often, inner and outer counts multiplied. */
const maxRepeats = 1_000;

/** One compiled expression. */
export interface GoRegExp {
  /** Whether it matches anywhere in the text. */
  test(text: string): boolean;
  /** What matches, from left to right, at most so many. */
  find(text: string, limit: number): string[];
}

// V8 finishes an expression that backtracks for long with its linear engine, and says which it can. For the whole process,
// and before any expression is made.
setFlagsFromString('--enable-experimental-regexp-engine');
setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks');

/** Throws SyntaxError for what RE2 does not take. */
export function compileGoRegExp(pattern: string): GoRegExp {
  checkSyntax(pattern);
  const native = isPlain(pattern) ? compileNative(pattern) : undefined;
  if (native === undefined) return compileRe2(pattern);
  let re2: GoRegExp | undefined;
  /** To Go a character beyond 16 bits is one, and to JavaScript it is two. */
  const engineFor = (text: string): GoRegExp => {
    if (!surrogates.test(text)) return native;
    re2 ??= compileRe2(pattern);
    return re2;
  };
  return {
    test: (text) => engineFor(text).test(text),
    find: (text, limit) => engineFor(text).find(text, limit),
  };
}

const surrogates = /[\ud800-\udfff]/;

/** undefined: JavaScript's engine might take long over it. */
function compileNative(pattern: string): GoRegExp | undefined {
  const body = translate(pattern);
  const native = new RegExp(body, 'g');
  return hasFewRepeats(pattern) || isLinear(body) ? fromNative(native) : undefined;
}

/** Whether JavaScript reads it as Go does, once it is translated. */
function isPlain(pattern: string): boolean {
  return !/\\[pPQEaC]|\[[^\]]*\\S|\[:\^|\(\?[imsU-]+[:)]|\\x\{|[\u{10000}-\u{10ffff}]/u.test(pattern);
}

/** Escapes, and classes of characters. */
const atoms = /\\.|\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]])*\]/gsu;

/** One that counts and repeats but once, and no group, has nothing to backtrack over again and again. */
function hasFewRepeats(pattern: string): boolean {
  const outside = pattern.replaceAll(atoms, 'x');
  return !/\)[*+{]/u.test(outside) && (outside.match(/[*+{]/gu)?.length ?? 0) <= 1;
}

/** Whether V8's linear engine takes over where it backtracks for long: it tells when it is asked for that engine alone. */
function isLinear(body: string): boolean {
  try {
    return new RegExp(body, 'l') !== undefined;
  } catch {
    return false; // it says so by refusing
  }
}

function fromNative(native: RegExp): GoRegExp {
  return {
    test: (text) => {
      native.lastIndex = 0;
      return native.test(text);
    },
    find: (text, limit) => {
      const found: string[] = [];
      for (const [match] of text.matchAll(native)) {
        if (found.length >= limit) break;
        found.push(match);
      }
      return found;
    },
  };
}

/** Loaded when the first expression needs it: 5 MB. */
function compileRe2(pattern: string): GoRegExp {
  const { RE2JS } = createRequire(import.meta.url)('re2js') as typeof Re2;
  const compiled = compileOrRefuse(() => RE2JS.compile(pattern));
  return {
    test: (text) => compiled.matcher(text).find(),
    find: (text, limit) => {
      const matcher = compiled.matcher(text);
      const found: string[] = [];
      while (found.length < limit && matcher.find()) found.push(matcher.group() ?? '');
      return found;
    },
  };
}

function compileOrRefuse<T>(compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    throw new SyntaxError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function checkSyntax(pattern: string): void {
  let isInClass = false;
  /** Of the groups that are open: the largest count within. */
  const groups: number[] = [1];
  let last = 1; // of the atom before
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at];
    if (char === '\\') {
      const next = pattern[++at] ?? '';
      if (next === '') throw new SyntaxError(`trailing backslash at end of expression: \`${pattern}\``);
      if (/[1-9]/u.test(next) || /[cegijklmoquyzEGHIJKLMNORTUVXYZ]/u.test(next.replace(/[zQE]/u, ''))) {
        throw new SyntaxError(`invalid escape sequence: \`\\${next}\``);
      }
      last = 1;
    } else if (isInClass) {
      if (char === ']') isInClass = false;
      else if (char === '[' && pattern[at + 1] === ':') {
        const end = pattern.indexOf(':]', at);
        const name = pattern.slice(at + 2, Math.max(at, end)).replace('^', '');
        if (end !== -1 && !posixClasses.has(name))
          throw new SyntaxError(`invalid character class range: \`${pattern.slice(at, end + 2)}\``);
        at = Math.max(at, end + 1);
      }
    } else if (char === '[') {
      isInClass = true;
      if (pattern[at + 1] === '^') at++;
      if (pattern[at + 1] === ']') at++;
      last = 1;
    } else if (char === '(') {
      const special = /^\(\?(?!:|P<|<[A-Za-z_]|[imsU-]+[:)])/u.exec(pattern.slice(at, at + 16));
      if (special !== null)
        throw new SyntaxError(`invalid or unsupported Perl syntax: \`${pattern.slice(at, at + 3)}\``);
      groups.push(1);
    } else if (char === ')') last = groups.length > 1 ? (groups.pop() ?? 1) : 1;
    else if (char === '{') {
      const counts = /^\{(\d+)(?:,(\d*))?\}/u.exec(pattern.slice(at, at + 24));
      if (counts === null) continue;
      last *= Math.max(1, Number(counts[1]), Number(counts[2] ?? 0));
      if (last > maxRepeats) throw new SyntaxError(`invalid repeat count: \`${counts[0]}\``);
    } else if (char !== '*' && char !== '+' && char !== '?') last = 1;
    groups.push(Math.max(groups.pop() ?? 1, last));
  }
}

const posixClasses: ReadonlyMap<string, string> = new Map(
  Object.entries({
    alnum: 'A-Za-z0-9',
    alpha: 'A-Za-z',
    ascii: '\\x00-\\x7f',
    blank: ' \\t',
    cntrl: '\\x00-\\x1f\\x7f',
    digit: '0-9',
    graph: '!-~',
    lower: 'a-z',
    print: ' -~',
    punct: '!-\\/:-@\\[-`{-~',
    space: ' \\t\\n\\v\\f\\r',
    upper: 'A-Z',
    word: 'A-Za-z0-9_',
    xdigit: 'A-Fa-f0-9',
  }),
);

/** To Go only ASCII is space. */
const space = '\\t\\n\\f\\r ';

function translate(pattern: string): string {
  return pattern.replaceAll(atoms, translateAtom).replaceAll('(?P<', '(?<');
}

function translateAtom(atom: string): string {
  switch (atom) {
    case '\\A':
      return '^';
    case '\\z':
      return '$';
    case '\\s':
      return `[${space}]`;
    case '\\S':
      return `[^${space}]`;
    default:
      break;
  }
  if (!atom.startsWith('[')) return atom;
  return atom
    .replaceAll(/\\[\s\S]/gu, (pair) => (pair === '\\s' ? space : pair))
    .replaceAll(/\[:([a-z]+):\]/gu, (all, name) => posixClasses.get(name) ?? all);
}
