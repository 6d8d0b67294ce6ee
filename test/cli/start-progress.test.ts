/** A start that takes long says what it is at, and a port that is taken is told of as a user can mend it. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { serveMetrics } from '../../cli/serve-metrics.ts';
import { StartProgress } from '../../cli/start-progress.ts';
import { freePort } from '../addresses.ts';
import { until } from '../until.ts';

describe('StartProgress', () => {
  const lines: { step: string; msg: string }[] = [];
  const log = pino(
    new Writable({ write: (chunk, _encoding, done) => done(void lines.push(JSON.parse(String(chunk)))) }),
  );

  it('tells again and again what the start is at, until it ends', async () => {
    const progress = new StartProgress(log, 2);
    progress.begin('opening the store');
    await until(() => lines.length >= 2, 'it to be told');
    assert.equal(lines[1]?.msg, 'the start takes long; still opening the store');
    progress.begin('listening for metrics');
    await until(() => lines.at(-1)?.step === 'listening for metrics', 'the next step');
    progress.end();
    const told = lines.length;
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(lines.length, told);
  });
});

describe('serveMetrics', () => {
  it('says which address is taken, and what to do', async () => {
    const port = await freePort();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
    try {
      const listen = { host: '127.0.0.1', port };
      await assert.rejects(
        serveMetrics({ listen, registry: new Registry(), unready: () => [], log: pino({ level: 'silent' }) }),
        {
          name: 'ListenError',
          message: new RegExp(
            `^holdfast cannot listen on 127.0.0.1:${port}: .*; stop what uses it, or choose another address$`,
          ),
        },
      );
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });
});
