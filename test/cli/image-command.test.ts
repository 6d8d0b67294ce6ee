/** `holdfast image`: what was typed (pure), and the program itself on folders of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ConfigError, formatImages, parseImageCommand } from '../../cli/index.ts';
import { buildBusyboxImage } from '../images.ts';

const parse = (...args: string[]) => parseImageCommand(args, (name) => ['data-dir', 'config'].includes(name));

describe('parseImageCommand', () => {
  it("tells the daemon's flags from its own, wherever they stand", () => {
    assert.deepEqual(parse('--data-dir', '/d', 'export', 'a', '-o', 'x', 'b', '--config=c'), {
      command: { kind: 'export', names: ['a', 'b'], output: 'x', format: 'docker-archive' },
      configArgs: ['--data-dir', '/d', '--config=c'],
    });
    assert.deepEqual(parse('import', '-', '--name', 'n').command, { kind: 'import', file: '-', name: 'n' });
    assert.deepEqual(parse('pull', 'a', '--platform=linux/arm64').command, {
      kind: 'pull',
      name: 'a',
      platform: 'linux/arm64',
    });
    assert.deepEqual(parse('ls').command, { kind: 'ls' });
    assert.deepEqual(parse('rm', 'a', 'b').command, { kind: 'rm', names: ['a', 'b'] });
  });
  const refused: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /needs a command/],
    [['list'], /no command "image list"/],
    [['ls', 'a'], /takes no name/],
    [['pull'], /takes one name/],
    [['pull', 'a', 'b'], /takes one name/],
    [['rm'], /takes the names/],
    [['import'], /takes one file/],
    [['export'], /takes the names/],
    [['export', 'a', '--format', 'zip'], /--format is "zip"/],
    [['ls', '--nope'], /--nope/],
  ];
  for (const [args, says] of refused)
    it(`refuses "${args.join(' ')}"`, () =>
      assert.throws(
        () => parse(...args),
        (error) => error instanceof ConfigError && says.test(error.message),
      ));
});

describe('formatImages', () => {
  it('has a line for each name', () => {
    const config = { entrypoint: [], cmd: [], env: [], workingDir: '', user: '', exposedPorts: [], volumes: [] };
    const id = (digit: string) => `sha256:${digit.repeat(64)}`;
    const infos = [
      { id: id('b'), names: ['r.io/web:2', 'r.io/web:1'], sizeBytes: 3 * 2 ** 20, config },
      { id: id('a'), names: [], sizeBytes: 100, config },
    ];
    assert.deepEqual(formatImages(infos).split('\n'), [
      'NAME        ID            SIZE',
      '<none>      aaaaaaaaaaaa  0.0 MiB',
      'r.io/web:1  bbbbbbbbbbbb  3.0 MiB',
      'r.io/web:2  bbbbbbbbbbbb  3.0 MiB',
    ]);
    assert.equal(formatImages([]), 'NAME  ID  SIZE');
  });
});

describe('holdfast image', function () {
  this.timeout(240_000);
  it('imports, lists, exports and removes', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-image-command-'));
    const program = join(import.meta.dirname, '..', '..', 'bin', 'holdfast');
    const flags = ['--data-dir', join(dir, 'data'), '--run-dir', join(dir, 'run')];
    const holdfast = async (args: string[], input?: Readable, output?: Writable) => {
      const child = spawn(program, ['image', ...args, ...flags]);
      const text = { out: '', err: '' };
      child.stderr.on('data', (chunk: Buffer) => {
        text.err += chunk.toString();
      });
      const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
      const copied = output === undefined ? undefined : pipeline(child.stdout, output);
      if (output === undefined)
        child.stdout.on('data', (chunk: Buffer) => {
          text.out += chunk.toString();
        });
      if (input === undefined) child.stdin.end();
      else await pipeline(input, child.stdin);
      await copied;
      return { code: await ended, ...text };
    };
    try {
      const built = await buildBusyboxImage({ dir, name: 'localhost/one:1' });
      const imported = await holdfast(['import', '-'], createReadStream(built.path));
      assert.deepEqual(imported, { code: 0, out: `${built.id}  localhost/one:1\n`, err: '' });
      const copy = join(dir, 'copy.tar');
      assert.deepEqual(await holdfast(['export', 'localhost/one:1'], undefined, createWriteStream(copy)), {
        code: 0,
        out: '',
        err: '',
      });
      assert.equal(
        (await holdfast(['import', copy, '--name', 'localhost/two:2'])).out,
        `${built.id}  localhost/two:2 localhost/one:1\n`,
      );
      assert.match((await holdfast(['ls'])).out, /^NAME.*\nlocalhost\/one:1 .*MiB\nlocalhost\/two:2 .*MiB\n$/);
      assert.equal((await holdfast(['rm', built.id])).code, 0);
      assert.equal((await holdfast(['ls'])).out, 'NAME  ID  SIZE\n');
      const missing = await holdfast(['export', 'localhost/one:1', '-o', copy]);
      assert.equal(missing.code, 1);
      assert.match(
        missing.err,
        /^holdfast: the image "localhost\/one:1" is not on this host, so it cannot be exported/,
      );
      assert.equal((await holdfast(['nope'])).code, 2);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
