/**
 * `make chaos`: random faults hit thirty containers under load, and an independent checker compares what should be with
 * what is. As root. Flags: --seed N, --seconds N (600), --kinds A,B (all), --deadline N (60: seconds in which
 * each fault must be healed), --report FILE (for the JSON).
 */
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { faults } from './faults.ts';
import { formatReport, problemsOf, summarizeKinds } from './report.ts';
import { runChaos } from './run-chaos.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seconds: { type: 'string' },
    kinds: { type: 'string' },
    deadline: { type: 'string' },
    report: { type: 'string' },
  },
});
const seed = wholeNumber('seed', values.seed, Date.now() % 2 ** 31);
const seconds = wholeNumber('seconds', values.seconds, 600);
const reportFile = values.report ?? join(tmpdir(), `holdfast-chaos-${seed}.json`);
const wanted = values.kinds?.split(',').map((kind) => kind.trim());
const chosen = faults.filter(({ kind }) => wanted?.includes(kind) ?? true);
if (chosen.length === 0)
  throw new Error(`--kinds is "${values.kinds}"; name some of ${faults.map(({ kind }) => kind).join(', ')}`);

const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => interrupted.abort(new Error(`ended by ${name}`)));

console.log(`seed ${seed}, ${seconds} s: make chaos SEED=${seed} SECONDS=${seconds} does the same again`);
for (const { kind, does } of chosen) console.log(`  ${kind}: ${does}`);
const report = await runChaos({
  seed,
  forMs: seconds * 1_000,
  faults: chosen,
  faultPauseMs: [500, 3_000],
  deadlineMs: wholeNumber('deadline', values.deadline, 60) * 1_000,
  say: (line) => console.log(line),
  signal: interrupted.signal,
});
await writeFile(reportFile, `${JSON.stringify({ ...report, kinds: summarizeKinds(report.outcomes) }, undefined, 2)}\n`);
console.log(`\n${formatReport(report)}\nreport: ${reportFile}`);
if (problemsOf(report).length > 0) process.exitCode = 1;

function wholeNumber(name: string, text: string | undefined, preset: number): number {
  if (text === undefined) return preset;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value >= 2 ** 31)
    throw new Error(`--${name} is "${text}"; write a whole number from 1`);
  return value;
}
