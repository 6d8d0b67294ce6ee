/**
 * `make crash`: a daemon is killed before every step of what it does, and of recovering from that. As root. Flags:
 * --steps all (also those that others stand for) or N (so many, chosen by --seed), --seed N, --scenarios A,B (all of
 * them), --no-recoveries (those that recover are not killed).
 */
import { parseArgs } from 'node:util';
import { excuseFor, observeSites, writeList } from './coverage.ts';
import { opening } from './points.ts';
import { runCrashes } from './run-crashes.ts';
import { scenarios } from './scenarios.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string' },
    seed: { type: 'string' },
    scenarios: { type: 'string' },
    'no-recoveries': { type: 'boolean' },
  },
});
const names = values.scenarios?.split(',') ?? [opening, ...scenarios.map(({ name }) => name)];
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const count = values.steps === undefined || values.steps === 'all' ? undefined : Number(values.steps);
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => interrupted.abort(new Error(`ended by ${name}`)));

const startedMs = performance.now();
const seconds = (): string => ((performance.now() - startedMs) / 1_000).toFixed(1).padStart(7);
const report = await runCrashes({
  scenarios: names,
  choice: count === undefined ? (values.steps === 'all' ? 'all' : 'distinct') : { count, seed },
  recoveries: values['no-recoveries'] === true ? 'left alone' : 'killed',
  say: (line) => console.log(`${seconds()}  ${line}`),
  signal: interrupted.signal,
});
const { killed, killedRecovering, problems, unreached, candidates } = report;
console.log(`
${candidates} steps of ${names.length} scenarios; killed at ${killed}, and ${killedRecovering} times while recovering from that, in ${seconds().trim()} s`);
for (const place of unreached) console.log(`not reached again: ${place}`);
for (const problem of problems) console.log(`PROBLEM ${problem}`);
console.log(
  problems.length === 0
    ? 'every one was followed by one that finished or undid what it was at'
    : `${problems.length} problems`,
);
if (problems.length > 0) process.exitCode = 1;
if (values.scenarios === undefined) {
  const sites = observeSites();
  const wanted = sites.filter((site) => excuseFor(site) === undefined);
  const missing = wanted.filter(({ at }) => !report.changing.has(at) && !report.idle.has(at));
  for (const { at, text } of missing) console.log(`nobody was killed before ${at}: ${text}`);
  for (const site of sites.filter(({ at }) => !report.changing.has(at) && !report.idle.has(at)))
    if (!missing.includes(site)) console.log(`excused: ${site.at}: ${excuseFor(site)?.because}`);
  if (missing.length > 0) process.exitCode = 1;
  else writeList(wanted);
}
