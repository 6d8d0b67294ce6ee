/** The arguments of rename and debug, by table. */
import assert from 'node:assert/strict';
import { parseCommandArgs } from '../../cli/command-args.ts';
import { ConfigError } from '../../cli/config.ts';
import { parseDebugArgs } from '../../cli/debug.ts';
import { parseRenameArgs } from '../../cli/rename-args.ts';

describe('arguments of commands on objects', () => {
  const good: readonly [string, ReturnType<typeof parseCommandArgs>][] = [
    ['web', { names: ['web'], namespace: 'default', rest: [] }],
    ['web -n shop', { names: ['web'], namespace: 'shop', rest: [] }],
    ['--namespace=shop web mail', { names: ['web', 'mail'], namespace: 'shop', rest: [] }],
    ['--data-dir /srv/x web', { names: ['web'], namespace: 'default', rest: ['--data-dir', '/srv/x'] }],
    ['web --data-dir=/srv/x', { names: ['web'], namespace: 'default', rest: ['--data-dir', '/srv/x'] }],
  ];
  for (const [line, want] of good) {
    it(`reads ${line}`, () => assert.deepEqual(parseCommandArgs(line.split(' ')), want));
  }
  for (const args of [['-n'], ['Web'], ['web', '-n', 'a/b'], ['web', '--data-dir'], ['..'], ['']]) {
    it(`refuses ${JSON.stringify(args)}`, () => assert.throws(() => parseCommandArgs(args), ConfigError));
  }

  it('takes what follows -- for the program of a debug session, flags and all, and a shell without it', () => {
    const common = { name: 'web', namespace: 'default', rest: [] };
    assert.deepEqual(parseDebugArgs(['web', '--', 'ls', '-n', '--help']), {
      ...common,
      command: ['ls', '-n', '--help'],
    });
    assert.deepEqual(parseDebugArgs(['web']), { ...common, command: ['sh'] });
  });
  for (const args of [[], ['a', 'b'], ['web', '--'], ['--', 'ls']]) {
    it(`begins no debug session for ${JSON.stringify(args)}`, () =>
      assert.throws(() => parseDebugArgs(args), /holdfast debug NAME/));
  }
  for (const args of [[], ['a'], ['a', 'b', 'c'], ['a', 'a']]) {
    it(`renames nothing for ${JSON.stringify(args)}`, () => assert.throws(() => parseRenameArgs(args), ConfigError));
  }
});
