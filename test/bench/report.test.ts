/** The bench's own arithmetic: what it prints can be believed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { formatDocker } from './docker-figures.ts';
import { descendants, observeMemory, observeProcesses, parseStat } from './processes.ts';
import { describeTargets, type Figures, formatTable, noFigures as none, summarize } from './report.ts';

describe('summarize', () => {
  const cases: { it: string; given: readonly number[]; want: { median: number; p95: number; p99: number } }[] = [
    { it: 'takes the middle of an odd number of values', given: [3, 1, 2], want: { median: 2, p95: 3, p99: 3 } },
    {
      it: 'takes the mean of the two in the middle of an even number',
      given: [4, 1, 2, 3],
      want: { median: 2.5, p95: 4, p99: 4 },
    },
    {
      it: 'leaves one of twenty above the 95th percentile',
      given: Array.from({ length: 20 }, (_, i) => i + 1),
      want: { median: 10.5, p95: 19, p99: 20 },
    },
    { it: 'sorts by number, not by text', given: [10, 9, 100], want: { median: 10, p95: 100, p99: 100 } },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(summarize(c.given), c.want));
});

describe('formatDocker', () => {
  const of = (median: number) => ({ median, p95: 2 * median, p99: 3 * median });

  it('wants docker run -d in a third of the time, and the rest in less', () => {
    const rows = formatDocker(
      [
        { engine: 'ours', figures: { runMs: of(101), runToEndMs: of(300), execMs: of(76), listMs: of(27) } },
        { engine: 'theirs', figures: { runMs: of(300), runToEndMs: of(300), execMs: of(75), listMs: of(28) } },
      ],
      50,
    ).split('\n');
    assert.deepEqual(
      rows.map((row) => row.split(/ {2,}/).at(-1)),
      ['met', 'NO', 'yes', 'NO', 'yes', 'not measured'],
    );
    assert.match(rows[4] ?? '', /^docker ps with 50 \(ms\) +faster +27 \(p95 54\) +28 \(p95 56\) +yes$/);
  });
});

describe('formatTable', () => {
  const row = (ours: Figures, figure: string) =>
    formatTable(describeTargets(50), [
      { engine: 'other', isOurs: false, figures: none },
      { engine: 'ours', isOurs: true, figures: ours },
    ])
      .split('\n')
      .find((line) => line.startsWith(figure));

  it('judges our figures alone, each in the direction of its target', () => {
    const figures: Figures = {
      ...none,
      startMs: { median: 44.9, p95: 80, p99: 90 },
      perSecond: 24.9,
      idleCpu: 0.004,
      monitorPssBytes: 700_000,
    };
    assert.match(row(figures, 'spec applied') ?? '', /at most 45\s+-\s+44\.9 \(p95 80\.0\)\s+yes$/);
    assert.match(row(figures, '50 applied') ?? '', /at least 25\s+-\s+24\.9\s+NO$/);
    assert.match(row(figures, 'idle CPU') ?? '', /0\.40\s+yes$/);
    assert.match(row(figures, 'each monitor') ?? '', /0\.70\s+NO$/);
  });

  it('says that a figure was not measured', () => {
    assert.match(row(none, 'killed until') ?? '', /-\s+-\s+not measured$/);
  });
});

describe('the readers of /proc', () => {
  it('parse names with spaces and brackets', () => {
    const fields = 'S 7 1 1 0 -1 4194560 1 0 0 0 150 50 25 25 20 0 1 0';
    assert.deepEqual(parseStat(`42 (a) b (c) ${fields}`), { pid: 42, parentPid: 7, name: 'a) b (c', cpuSeconds: 2.5 });
    assert.equal(parseStat(''), undefined);
  });

  it('find the children of a process and its memory', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      const tree = descendants(await observeProcesses(), process.pid, () => false);
      assert.ok(tree.some(({ pid }) => pid === child.pid));
      assert.ok(
        !descendants(await observeProcesses(), process.pid, ({ pid }) => pid === child.pid).some(
          ({ pid }) => pid === child.pid,
        ),
      );
      const { rssBytes, pssBytes } = await observeMemory([process.pid]);
      const vmRssKb = Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1]);
      assert.ok(Math.abs(rssBytes / 1024 - vmRssKb) < vmRssKb / 5, `${rssBytes} bytes and ${vmRssKb} kB`);
      assert.ok(pssBytes > 0 && pssBytes <= rssBytes);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
