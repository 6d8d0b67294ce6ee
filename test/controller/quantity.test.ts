import assert from 'node:assert/strict';
import { formatBytes, parseBytes, parseCpuMillis, parseDurationMs, parseSignal } from '../../controller/quantity.ts';

const table = <T>(name: string, parse: (text: string) => T, rows: readonly (readonly [string, T])[]): void => {
  describe(name, () => {
    for (const [text, want] of rows)
      it(`reads ${JSON.stringify(text)} as ${want}`, () => assert.equal(parse(text), want));
  });
};

table('parseBytes', parseBytes, [
  ['0', 0],
  ['1048576', 1_048_576],
  ['64Mi', 64 * 2 ** 20],
  ['1.5Gi', 1.5 * 2 ** 30],
  ['500M', 500_000_000],
  ['1k', 1_000],
  ['', undefined],
  ['Mi', undefined],
  ['-1', undefined],
  ['1e3', undefined],
  ['1KB', undefined],
  ['9999999999Ti', undefined],
  [' 1', undefined],
]);
table('parseCpuMillis', parseCpuMillis, [
  ['500m', 500],
  ['0.5', 500],
  ['2', 2_000],
  ['0.125', 125],
  ['', undefined],
  ['1.5m', undefined],
  ['-1', undefined],
  ['0.0001', undefined],
]);
table('parseDurationMs', parseDurationMs, [
  ['1s', 1_000],
  ['500ms', 500],
  ['1m30s', 90_000],
  ['0s', 0],
  ['1.5h', 5_400_000],
  ['2m', 120_000],
  ['', undefined],
  ['1', undefined],
  ['1d', undefined],
  ['-1s', undefined],
  ['1s ', undefined],
  ['99999999h', undefined],
]);
describe('formatBytes', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [44_040_192, '42.0 MiB'],
    [2 ** 52, '4096.0 TiB'],
  ] as const)
    it(`writes ${bytes} as ${text}`, () => assert.equal(formatBytes(bytes), text));
});
table('parseSignal', parseSignal, [
  ['SIGTERM', 15],
  ['TERM', 15],
  ['sigquit', 3],
  ['HUP', 1],
  ['9', 9],
  ['RTMIN+3', 37],
  ['SIGRTMAX-1', 63],
  ['0', undefined],
  ['65', undefined],
  ['SIGNOPE', undefined],
  ['', undefined],
  ['RTMIN+99', undefined],
]);
