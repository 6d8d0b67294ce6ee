import assert from 'node:assert/strict';
import { formatAge, formatChange, formatLog, formatPicture } from '../../cli/index.ts';
import type { LogEntry } from '../../runtime/index.ts';
import { object } from '../controller/fixtures.ts';

describe('formatAge', () => {
  for (const [ms, want] of [
    [-5, '0s'],
    [119_000, '119s'],
    [120_000, '2m'],
    [7_200_000, '2h'],
    [172_800_000, '2d'],
  ] as const)
    it(`prints ${ms} ms as ${want}`, () => assert.equal(formatAge(ms), want));
});

describe('formatPicture', () => {
  it('lines the columns up and cuts what does not fit', () => {
    const rows = [
      {
        container: object({
          name: 'web',
          status: { state: 'Running', startedAt: '1970-01-01T00:00:00Z', restartCount: 2, podIP: '10.0.0.2' },
        }),
        lastLine: 'GET /\u001b[2J\n',
      },
      {
        container: object({
          name: 'agent',
          status: {
            state: 'Restarting',
            reason: 'CrashLoopBackOff',
            backoff: { nextRestartAt: '1970-01-01T00:00:08Z' },
          },
        }),
      },
    ];
    assert.deepEqual(formatPicture(rows, 3_000, 200), [
      'CONTAINER      STATE       REASON                  RESTARTS  UP  IP        LAST LINE OF ITS LOG',
      'default/web    Running                             2         3s  10.0.0.2  GET / [2J',
      'default/agent  Restarting  CrashLoopBackOff in 5s  0',
    ]);
    assert.ok(formatPicture(rows, 3_000, 40).every((line) => line.length <= 40));
  });
});

describe('formatChange', () => {
  const runs = object({ status: { state: 'Running', restartCount: 0 } });
  it('says nothing when nothing that matters changed', () =>
    assert.equal(formatChange(runs, object({ status: { state: 'Running', restartCount: 0, pid: 5 } })), undefined));
  it('says what a container does now, and why', () => {
    assert.equal(
      formatChange(
        runs,
        object({
          status: { state: 'Restarting', reason: 'CrashLoopBackOff', message: 'exited with code 1', restartCount: 1 },
        }),
      ),
      'default/web: Restarting, CrashLoopBackOff, exited with code 1, restarts 1',
    );
  });
});

describe('formatLog', () => {
  async function* entries(): AsyncGenerator<LogEntry> {
    yield { time: 'T1', stream: 'stdout', data: Buffer.from('half ') };
    yield { time: 'T2', stream: 'stderr', data: Buffer.from('oops\n') };
    yield { time: 'T3', stream: 'stdout', data: Buffer.from('line\n') };
  }
  const text = async (options: { timestamps?: boolean; limitBytes?: number }): Promise<string> => {
    const parts: Buffer[] = [];
    for await (const part of formatLog(entries(), options)) parts.push(part);
    return Buffer.concat(parts).toString();
  };
  it('gives the bytes as they were written', async () => assert.equal(await text({}), 'half oops\nline\n'));
  it('puts a time before each line and none into its middle', async () =>
    assert.equal(await text({ timestamps: true }), 'T1 half T2 oops\nline\n'));
  it('ends after so many bytes', async () => assert.equal(await text({ limitBytes: 7 }), 'half oo'));
});
