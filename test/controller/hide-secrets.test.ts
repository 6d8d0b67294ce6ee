import assert from 'node:assert/strict';
import { hideInError, hideSecrets } from '../../controller/hide-secrets.ts';

const mark = '(hidden: from a Secret)';

describe('hideSecrets', () => {
  const cases: { it: string; text: string; secrets: string[]; want: string }[] = [
    {
      it: 'replaces each wherever it stands',
      text: 'a s3cret b s3cret',
      secrets: ['s3cret'],
      want: `a ${mark} b ${mark}`,
    },
    { it: 'replaces the longer of two first', text: 'x-s3cret-y', secrets: ['s3cret', '-s3cret-'], want: `x${mark}y` },
    {
      it: 'replaces one that JSON has escaped',
      text: '"a\\"bcd" is missing',
      secrets: ['a"bcd'],
      want: `"${mark}" is missing`,
    },
    { it: 'takes nothing for a pattern', text: 'a.*b$& and aXXb$&', secrets: ['a.*b$&'], want: `${mark} and aXXb$&` },
    {
      it: 'leaves what is too short to be a secret',
      text: 'port 80 is taken',
      secrets: ['80', ''],
      want: 'port 80 is taken',
    },
  ];
  for (const c of cases) it(c.it, () => assert.equal(hideSecrets(c.text, c.secrets), c.want));
});

describe('hideInError', () => {
  it('leaves an error as it is that tells nothing', () => {
    const error = new Error('no space left');
    assert.equal(hideInError(error, ['s3cret']), error);
  });
  it('hides what message, stack or cause tell', () => {
    assert.equal(hideInError(new Error('"s3cret" is not in the image'), ['s3cret']), `"${mark}" is not in the image`);
    assert.equal(hideInError(new Error('no', { cause: new Error('s3cret') }), ['s3cret']), 'no');
    assert.equal(hideInError('s3cret', ['s3cret']), mark);
  });
});
