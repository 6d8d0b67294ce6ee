/** Go's regular expressions: what they match, and that none can hold the process up. */
import assert from 'node:assert/strict';
import { compileGoRegExp } from '../../store/go-regexp.ts';

describe('compileGoRegExp', () => {
  const cases: readonly [pattern: string, text: string, want: readonly string[]][] = [
    ['a+', 'baaac', ['aaa']],
    ['\\Aab\\z', 'ab', ['ab']],
    ['(?i)WEB-[0-9]+', 'x web-12 Web-3', ['web-12', 'Web-3']],
    ['(?P<name>[[:alpha:]]+)=', 'a=1 b=2', ['a=', 'b=']],
    ['^.{2}$', '😀😀', ['😀😀']],
    ['^.{4}$', '😀😀', []],
    ['\\Qa.b\\E', 'a.b axb', ['a.b']],
    ['\\p{Lu}+', 'abÄÖc', ['ÄÖ']],
    ['\\s', 'a\u00a0b', []], // to Go only ASCII is space
    ['^[^\\s:]+\\S\\s', 'a\u00a0bc d', ['a\u00a0bc ']],
    ['^[\\S ]+$', 'a b', ['a b']],
    ['[[:^digit:]]+', '12ab3', ['ab']],
  ];
  for (const [pattern, text, want] of cases) {
    it(`${pattern} in ${JSON.stringify(text)}`, () => {
      const compiled = compileGoRegExp(pattern);
      assert.deepEqual(compiled.find(text, 10), want);
      assert.equal(compiled.test(text), want.length > 0);
    });
  }
  it('finds no more than was asked for', () => assert.deepEqual(compileGoRegExp('a').find('aaaa', 2), ['a', 'a']));

  const slow = ['^(a+)+$', '(?i)^(a+)+$', '^(\\p{L}+)+$', '^(a{1,20})+$', '^(a|a)*$', '^a*a*a*a*a*a*a*a*a*b$'];
  for (const pattern of slow) {
    it(`answers ${pattern} about a text on which backtracking would not end`, () => {
      assert.equal(compileGoRegExp(pattern).test(`${'a'.repeat(200)}!`), false);
    });
  }
  for (const pattern of ['(?=a)', '(a)\\1', 'a{1001}', '(a', '[[:constructor:]]', 'a**']) {
    it(`refuses ${pattern}`, () => assert.throws(() => compileGoRegExp(pattern), SyntaxError));
  }
});
