/** The reader of a log, against files as a monitor writes them: real inotify, and no container. */
import assert from 'node:assert/strict';
import { appendFileSync, watch, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogOptions } from '../../runtime/index.ts';
import { formatRunMark } from '../../runtime/log-format.ts';
import { readLog } from '../../runtime/log-reader.ts';
import { never } from './host.ts';

const rounds = 50;
/** For the reader to come round to what it was told of; enough for it to go wrong in most rounds if it can. */
const pauseMs = 5;
const lineOf = (text: string): string => `2026-11-29T00:00:00.000000000+00:00 stdout F ${text}\n`;

describe('the reader of a log', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'holdfast-log-reader-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** What a reader of the present run reads that begins as a file comes whose coming was not looked at yet. */
  async function readAmidNews(options: LogOptions, id: string): Promise<string> {
    // Somebody else of this process watches the folder, so the kernel keeps what happened from before the reader is there.
    const other = watch(dir, () => {});
    try {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      writeFileSync(join(dir, 'ctr.log'), formatRunMark(0) + lineOf('before'));
      const [ended, positioned] = [new AbortController(), Promise.withResolvers<void>()];
      const present = { ended: ended.signal, onPositioned: () => positioned.resolve() };
      const entries = readLog({ id, dir, options, isRunning: true, nowMs: Date.now, present, signal: never });
      const reading = (async () => {
        const parts: string[] = [];
        for await (const { data } of entries) parts.push(data.toString());
        return parts.join('');
      })();
      await Promise.race([positioned.promise, reading]);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      appendFileSync(join(dir, 'ctr.log'), lineOf('after'));
      ended.abort();
      return await reading;
    } finally {
      other.close();
    }
  }

  for (const { it: what, options, wanted } of [
    { it: 'what is written from then on', options: { follow: true, tailLines: 0 }, wanted: 'after\n' },
    { it: 'all of the log', options: { follow: true }, wanted: 'before\nafter\n' },
  ])
    it(`gives ${what} once, also if it is told late that the file has come`, async () => {
      for (let round = 0; round < rounds; round += 1) {
        assert.equal(await readAmidNews(options, `round ${round}`), wanted, `round ${round}`);
        await rm(join(dir, 'ctr.log'));
      }
    });
});
