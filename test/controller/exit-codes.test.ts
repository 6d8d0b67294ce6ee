import assert from 'node:assert/strict';
import { type Meaning, meaningOf, parseExitCodes } from '../../controller/exit-codes.ts';

describe('parseExitCodes', () => {
  it('reads codes, ranges and signals', () => {
    assert.deepEqual(
      parseExitCodes([{ action: 'Fatal', codes: [3, '4', '64-78'], signals: ['SIGSEGV', 'abrt', '9'] }]),
      {
        rules: [
          {
            meaning: 'fatal',
            codes: [
              { from: 3, to: 3 },
              { from: 4, to: 4 },
              { from: 64, to: 78 },
            ],
            signals: [11, 6, 9],
          },
        ],
        problems: [],
      },
    );
  });
  for (const code of ['9-3', '0-256', '256', 999, '-1', '', 'x', '1-', 1.5])
    it(`refuses the code ${JSON.stringify(code)} and names its place`, () => {
      const { problems } = parseExitCodes([
        { action: 'Success', codes: [0] },
        { action: 'Fatal', codes: [1, code] },
      ]);
      assert.equal(problems.length, 1);
      assert.match(problems[0] ?? '', /^spec\.restart\.exitCodes\[1\]\.codes\[1\]: .* is not an exit code/);
    });
  it('refuses a signal that Linux does not have', () => {
    const { problems } = parseExitCodes([{ action: 'Fatal', signals: ['SIGNOPE'] }]);
    assert.match(problems[0] ?? '', /^spec\.restart\.exitCodes\[0\]\.signals\[0\]: "SIGNOPE" is not a signal/);
  });
  it('refuses a rule that names nothing', () => {
    assert.match(parseExitCodes([{ action: 'Fatal', codes: [] }]).problems[0] ?? '', /neither codes nor signals/);
  });
});

describe('meaningOf', () => {
  const { rules } = parseExitCodes([
    { action: 'Success', codes: [3, 143] },
    { action: 'Fatal', codes: ['2-4'], signals: ['SEGV'] },
    { action: 'Failure', codes: [0] },
    { action: 'Fatal', signals: ['TERM'] },
  ]);
  const cases: { code: number; signal?: number; want: Meaning }[] = [
    { code: 3, want: 'success' },
    { code: 2, want: 'fatal' },
    { code: 0, want: 'failure' },
    { code: 1, want: 'failure' },
    { code: 139, signal: 11, want: 'fatal' },
    { code: 139, want: 'failure' },
    { code: 143, signal: 15, want: 'success' },
  ];
  for (const { code, signal, want } of cases)
    it(`takes code ${code}${signal === undefined ? '' : ` by signal ${signal}`} for ${want}: the first rule that names it counts`, () =>
      assert.equal(meaningOf(rules, { code, signal }), want));
  it('takes 0 for a success and all else for a failure without rules', () =>
    assert.deepEqual([meaningOf([], { code: 0 }), meaningOf([], { code: 1 })], ['success', 'failure']));
});
