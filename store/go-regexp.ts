/**
 * Regular expressions as Kubernetes writes them (Go, RE2), run by JavaScript's engine. Pure, but for limitBacktracking.
 * RE2 has neither look-around nor back-references, so that V8's linear engine can take over where backtracking gets long.
 */
import { setFlagsFromString } from 'node:v8';

/** RE2 refuses what repeats more often, inner and outer counts multiplied. */
const maxRepeats = 1_000;

/**
 * Has V8 finish an expression that backtracks for long with its linear engine: a hostile pattern cannot hold up the
 * process then. For the whole process, before any such expression is made.
 */
export function limitBacktracking(): void {
  setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks');
}

/** Throws SyntaxError for what RE2 does not take. `flags`: of RegExp, beside those that the pattern needs. */
export function compileGoRegExp(pattern: string, flags = ''): RegExp {
  checkSyntax(pattern);
  const inline = /^(\^?)\(\?([ims]+)\)/u.exec(pattern);
  const body = translate(inline === null ? pattern : `${inline[1]}${pattern.slice(inline[0].length)}`);
  // The linear engine knows no unicode mode, so it is left for those who need it.
  const needsUnicode = /\\[pP]|\\u\{|[\u{10000}-\u{10ffff}]/u.test(body);
  return new RegExp(body, `${flags}${inline?.[2] ?? ''}${needsUnicode ? 'u' : ''}`);
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
      else if (char === '[' && pattern[at + 1] === ':') at = Math.max(at, pattern.indexOf(':]', at) + 1);
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

const posixClasses: Readonly<Record<string, string>> = {
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
};

function translate(pattern: string): string {
  return pattern
    .replaceAll(
      /\\(?:([Az])|x\{([0-9A-Fa-f]+)\}|([pP])([A-Z])(?![a-z{])|[\s\S])/gu,
      (all, anchor, code, p, category) => {
        if (anchor !== undefined) return anchor === 'A' ? '^' : '$';
        if (code !== undefined) return `\\u{${code}}`;
        return category === undefined ? all : `\\${p}{${category}}`;
      },
    )
    .replaceAll('(?P<', '(?<')
    .replaceAll(/\[:(\^?)([a-z]+):\]/gu, (all, not, name) => (not === '' ? (posixClasses[name] ?? all) : all));
}
