import assert from 'node:assert/strict';
import { expand, type Value } from '../../controller/expand.ts';

const variables = new Map<string, Value>([
  ['VAR_A', { text: 'A', isSecret: false }],
  ['VAR_B', { text: 'B', isSecret: false }],
  ['VAR_C', { text: 'C', isSecret: false }],
  ['VAR_REF', { text: '$(VAR_A)', isSecret: false }],
  ['VAR_EMPTY', { text: '', isSecret: false }],
  ['KEY', { text: 's3cret', isSecret: true }],
]);

describe('expand', () => {
  const cases: { it: string; given: string; want: string }[] = [
    { it: 'replaces a whole string', given: '$(VAR_A)', want: 'A' },
    { it: 'replaces at the beginning', given: '$(VAR_A)-1', want: 'A-1' },
    { it: 'replaces in the middle', given: '___$(VAR_B)___', want: '___B___' },
    { it: 'replaces at the end', given: '___$(VAR_C)', want: '___C' },
    { it: 'replaces side by side', given: '$(VAR_A)$(VAR_B)$(VAR_A)', want: 'ABA' },
    { it: 'does not look again at what it brought in', given: '$(VAR_REF)', want: '$(VAR_A)' },
    { it: 'brings in an empty value', given: 'foo$(VAR_EMPTY)bar', want: 'foobar' },
    { it: 'leaves an unknown name as it is', given: 'x $(NOPE) y', want: 'x $(NOPE) y' },
    { it: 'makes one $ of two', given: 'a $$ b', want: 'a $ b' },
    { it: 'does not replace an escaped reference', given: '$$(VAR_A)', want: '$(VAR_A)' },
    { it: 'replaces after an escaped $', given: '$$$(VAR_A)', want: '$A' },
    { it: 'makes two $ of four', given: '$$$$(VAR_A)', want: '$$(VAR_A)' },
    { it: 'leaves the syntax of shells as it is', given: '$VAR_A $[VAR_A] `x`', want: '$VAR_A $[VAR_A] `x`' },
    { it: 'leaves an open parenthesis as it is', given: '$(VAR_A', want: '$(VAR_A' },
    { it: 'replaces what is whole beside what is open', given: '$(VAR_A)$(VAR_B', want: 'A$(VAR_B' },
    { it: 'takes all up to the first ) for the name', given: '$(VAR_A$(VAR_B))', want: '$(VAR_A$(VAR_B))' },
    { it: 'leaves an empty name as it is', given: '$()', want: '$()' },
    { it: 'leaves a last $ as it is', given: 'a$', want: 'a$' },
    { it: 'leaves a lone $ as it is', given: '$', want: '$' },
    { it: 'takes nothing for a pattern of replacement', given: '$(VAR_A)$&$1', want: 'A$&$1' },
  ];
  for (const c of cases) it(c.it, () => assert.equal(expand(c.given, variables).text, c.want));

  it('knows whether a secret is in the result', () => {
    assert.equal(expand('u:$(KEY)@h', variables).isSecret, true);
    assert.equal(expand('u:$$(KEY)@h', variables).isSecret, false);
    assert.equal(expand('$(VAR_A)', variables).isSecret, false);
  });
  it('takes a long hostile string in no time', () => {
    for (const text of ['$('.repeat(1_000_000), `${'$('.repeat(1_000_000)})`])
      assert.equal(expand(text, variables).text, text);
  });
});
