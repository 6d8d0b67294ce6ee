import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatConmonSize } from '../../runtime/exec-process.ts';
import { ContainerConfigError } from '../../runtime/index.ts';
import {
  defaultPath,
  fillAddress,
  mergeArgs,
  mergeEnv,
  mergeWorkingDir,
  parseSignal,
} from '../../runtime/process-config.ts';

describe('mergeArgs', () => {
  const image = { entrypoint: ['/entry'], cmd: ['a', 'b'] };
  const cases = [
    { it: "takes the image's entrypoint and cmd", given: {}, want: ['/entry', 'a', 'b'] },
    { it: "appends a cmd to the image's entrypoint", given: { cmd: ['x'] }, want: ['/entry', 'x'] },
    { it: "drops the image's cmd when an entrypoint is given", given: { entrypoint: ['sh'] }, want: ['sh'] },
    { it: 'takes both when both are given', given: { entrypoint: ['sh'], cmd: ['-c', 'x'] }, want: ['sh', '-c', 'x'] },
    { it: "clears the image's entrypoint by an empty one", given: { entrypoint: [], cmd: ['x'] }, want: ['x'] },
    { it: 'keeps empty arguments', given: { cmd: ['', ''] }, want: ['/entry', '', ''] },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(mergeArgs({ ...c.given, image }), c.want));

  for (const [what, input] of [
    ['nothing to run', { image: { entrypoint: [], cmd: [] } }],
    ['an empty program', { entrypoint: [''], image }],
    ['a NUL byte', { cmd: ['a\0b'], image }],
  ] as const) {
    it(`refuses ${what}`, () => assert.throws(() => mergeArgs(input), ContainerConfigError));
  }
});

describe('mergeEnv', () => {
  const base = { image: ['PATH=/image', 'A=1'], own: [], hostname: 'h', home: '/root' };
  const cases = [
    { it: "keeps the image's", given: {}, want: ['PATH=/image', 'HOSTNAME=h', 'A=1', 'HOME=/root'] },
    {
      it: 'gives a PATH when none is set',
      given: { image: [] },
      want: [`PATH=${defaultPath}`, 'HOSTNAME=h', 'HOME=/root'],
    },
    {
      it: "overrides the image's by the container's, also with nothing",
      given: { own: [{ name: 'A', value: '' }] },
      want: ['PATH=/image', 'HOSTNAME=h', 'A=', 'HOME=/root'],
    },
    {
      it: 'leaves a HOME that is given, and values with =',
      given: { own: [{ name: 'HOME', value: '/x=y' }] },
      want: ['PATH=/image', 'HOSTNAME=h', 'A=1', 'HOME=/x=y'],
    },
    {
      it: 'says what kind of terminal it has',
      given: { image: [], hasTerminal: true },
      want: [`PATH=${defaultPath}`, 'HOSTNAME=h', 'TERM=xterm', 'HOME=/root'],
    },
    {
      it: 'ignores entries without a name',
      given: { image: ['=x', 'noequals'] },
      want: [`PATH=${defaultPath}`, 'HOSTNAME=h', 'HOME=/root'],
    },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(mergeEnv({ ...base, ...c.given }), c.want));
  it('refuses a name that cannot be one', () => {
    for (const name of ['', 'A=B', 'A\0']) {
      assert.throws(() => mergeEnv({ ...base, own: [{ name, value: '' }] }), ContainerConfigError);
    }
  });
});

describe('mergeWorkingDir', () => {
  for (const [own, image, want] of [
    [undefined, '', '/'],
    [undefined, '/srv', '/srv'],
    ['/a//b/./c/', '/srv', '/a/b/c'],
    ['/../../etc', '', '/etc'],
    ['relative', '', '/relative'],
  ] as const) {
    it(`makes ${want} of ${own} and ${image}`, () => assert.equal(mergeWorkingDir(own, image), want));
  }
  it('never leaves the root, whatever it is given', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('..', '.', 'a', '')), (parts) => {
        assert.doesNotMatch(`${mergeWorkingDir(parts.join('/'), '')}/`, /\/\.\.\//);
      }),
    );
  });
});

describe('parseSignal', () => {
  for (const [text, want] of [
    ['SIGTERM', 15],
    ['TERM', 15],
    ['sigquit', 3],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['SIGRTMAX-1', 63],
    ['RTMIN', 34],
    ['0', undefined],
    ['65', undefined],
    ['SIGNOTHING', undefined],
    ['SIGRTMIN+60', undefined],
    ['', undefined],
  ] as const) {
    it(`reads ${JSON.stringify(text)} as ${want}`, () => assert.equal(parseSignal(text), want));
  }
});

describe('fillAddress', () => {
  const config = {
    env: [
      { name: 'IP', value: '<own>' },
      { name: 'URL', value: 'http://<own>:80/<own>' },
      { name: 'X', value: '$&' },
    ],
    entrypoint: ['run', '--at', '<own>'],
    cmd: undefined,
  };
  it('puts the address wherever the placeholder stands', () => {
    const { env, entrypoint, cmd } = fillAddress(config, '<own>', '10.0.0.2');
    assert.deepEqual(
      env.map(({ value }) => value),
      ['10.0.0.2', 'http://10.0.0.2:80/10.0.0.2', '$&'],
    );
    assert.deepEqual([entrypoint, cmd], [['run', '--at', '10.0.0.2'], undefined]);
  });
  it('leaves nothing of the placeholder to a container without an address', () =>
    assert.equal(fillAddress(config, '<own>', undefined).env[0]?.value, ''));
  it('changes nothing without a placeholder', () => {
    assert.equal(fillAddress(config, undefined, '10.0.0.2'), config);
    assert.equal(fillAddress(config, '', '10.0.0.2'), config);
  });
});

describe('formatConmonSize', () => {
  const cases: { rows: number; columns: number; want: string }[] = [
    { rows: 24, columns: 80, want: '24 80' },
    { rows: 0, columns: 0, want: '0 0' },
    { rows: 65_535, columns: 2_000, want: '1000 1000' },
  ];
  for (const { want, ...size } of cases) {
    it(`fills one read of conmon's with ${want}, the last of the line its end`, () => {
      const text = formatConmonSize(size);
      assert.equal(text.length, 199);
      assert.equal(text, `${want.padEnd(198)}\n`);
    });
  }
});

describe('the longest string that a program can be given', () => {
  const longest = 131_071;
  it('is taken', () => {
    const image = { entrypoint: [], cmd: [] };
    assert.equal(mergeArgs({ cmd: ['x'.repeat(longest)], image }).length, 1);
    mergeEnv({ image: [], own: [{ name: 'A', value: 'x'.repeat(longest - 2) }], hostname: 'h', home: '/' });
  });
  it('is not exceeded: the field and the size are named, and not what it holds', () => {
    const image = { entrypoint: [], cmd: [] };
    const isTold = (field: string) => (error: unknown) =>
      error instanceof ContainerConfigError &&
      error.field === field &&
      error.message.includes('131072 bytes') &&
      !error.message.includes('ää');
    assert.throws(() => mergeArgs({ cmd: ['sh', 'ä'.repeat(65_536)], image }), isTold('cmd'));
    const own = [{ name: 'AB', value: `x${'ä'.repeat(65_534)}` }];
    assert.throws(() => mergeEnv({ image: [], own, hostname: 'h', home: '/' }), isTold('env'));
  });
});
