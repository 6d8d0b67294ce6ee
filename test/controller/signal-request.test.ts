import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decideSignal, parseSignalRequest, signalAnnotation } from '../../controller/signal-request.ts';
import { object } from './fixtures.ts';

const parse = (value: string) => parseSignalRequest(object({ annotations: { [signalAnnotation]: value } }));

describe('parseSignalRequest', () => {
  const cases: { value: string; signal: number | undefined }[] = [
    { value: 'HUP@1', signal: 1 },
    { value: 'SIGUSR1@2026-11-24T07:00:00Z', signal: 10 },
    { value: '15', signal: 15 },
    { value: ' term @x@y', signal: 15 },
    { value: 'RTMIN+3@1', signal: 37 },
    { value: 'FOO@1', signal: undefined },
    { value: '@1', signal: undefined },
    { value: '', signal: undefined },
    { value: '65@1', signal: undefined },
  ];
  for (const { value, signal } of cases) {
    it(`reads ${JSON.stringify(value)} as ${signal}`, () => assert.deepEqual(parse(value), { request: value, signal }));
  }
  it('sees none without the annotation', () => assert.equal(parseSignalRequest(object()), undefined));
  it('takes any text, and keeps a bounded part of it', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), (value) => {
        const { request = '', signal } = parse(value) ?? {};
        assert.ok(value.startsWith(request) && request.length <= 128);
        assert.ok(signal === undefined || (signal >= 1 && signal <= 64));
      }),
    );
  });
});

describe('decideSignal', () => {
  const hup = { request: 'HUP@1', signal: 1 };
  it('sends to what runs', () =>
    assert.deepEqual(decideSignal(hup, 'running'), { signal: 1, message: 'sent SIGHUP (1) to process 1' }));
  it('says when one that is paused gets it', () =>
    assert.match(decideSignal(hup, 'paused').message, /gets it when it is resumed/));
  it('sends nothing later to what does not run now', () =>
    assert.deepEqual(decideSignal(hup, 'down'), {
      signal: undefined,
      message: 'SIGHUP (1) was not sent: the container does not run',
    }));
  it('names what is no signal, and how to write one', () => {
    const { signal, message } = decideSignal({ request: 'FOO@1', signal: undefined }, 'running');
    assert.equal(signal, undefined);
    assert.match(message, /"FOO" is not a signal.*HUP@1/);
  });
});
