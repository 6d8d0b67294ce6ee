/**
 * A real Prometheus for tests: deploy/prometheus as it is, but aimed at the targets of the test and quicker.
 * Effects: one process on a loopback port and a temporary folder, both gone after close().
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { dump, load } from 'js-yaml';
import { prometheus } from '../tools.ts';

/** The folder of prometheus.yml and rules/. */
export const prometheusDir = join(import.meta.dirname, '../../deploy/prometheus');

const startDeadlineMs = 30_000;
const requestDeadlineMs = 10_000;

/** One series of an instant query's answer; a scalar has no labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  /** NaN and infinities as such. */
  readonly value: number;
}

export interface PrometheusUnderTest {
  /** Runs an instant query now. Throws with Prometheus' own message if the query does not parse. */
  query(promql: string): Promise<readonly Sample[]>;
  /** Names of the alerts that it has loaded. */
  alertNames(): Promise<readonly string[]>;
  /** Targets by scrape job, with the last scrape's error, '' if there was none. */
  targets(): Promise<readonly { readonly job: string; readonly instance: string; readonly lastError: string }[]>;
  close(): Promise<void>;
}

/** Starts Prometheus on the configuration of deploy/prometheus, scraping `targets` (HOST:PORT) every second. */
export async function startPrometheus(targets: readonly string[]): Promise<PrometheusUnderTest> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-prometheus-'));
  const configFile = join(dir, 'prometheus.yml');
  await writeFile(configFile, await configFor(targets));
  const child = spawn(
    prometheus(),
    [
      `--config.file=${configFile}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      '--web.listen-address=127.0.0.1:0',
      '--log.level=info',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const close = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const base = `http://${await listenAddress(child.stderr)}`;
    const api = async (path: string, form?: Record<string, string>): Promise<unknown> => {
      const body = form === undefined ? {} : { method: 'POST', body: new URLSearchParams(form) };
      const response = await fetch(`${base}/api/v1/${path}`, {
        ...body,
        signal: AbortSignal.timeout(requestDeadlineMs),
      });
      const answer = object(await response.json());
      if (answer.status !== 'success') throw new Error(`Prometheus ${path}: ${String(answer.error)}`);
      return answer.data;
    };
    return {
      query: async (promql) => parseResult(await api('query', { query: promql })),
      alertNames: async () =>
        list(object(await api('rules?type=alert')).groups)
          .flatMap((group) => list(object(group).rules))
          .map((rule) => String(object(rule).name)),
      targets: async () =>
        list(object(await api('targets?state=active')).activeTargets).map((target) => {
          const { labels, lastError } = object(target);
          return {
            job: String(object(labels).job),
            instance: String(object(labels).instance),
            lastError: String(lastError),
          };
        }),
      close,
    };
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function configFor(targets: readonly string[]): Promise<string> {
  const config = object(load(await readFile(join(prometheusDir, 'prometheus.yml'), 'utf8')));
  const jobs = list(config.scrape_configs).map(object);
  assert.equal(jobs.length, 1, 'prometheus.yml has the one scrape job that the test aims at its own targets');
  return dump({
    ...config,
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: list(config.rule_files).map((file) => join(prometheusDir, String(file))),
    scrape_configs: jobs.map((job) => ({ ...job, static_configs: [{ targets }] })),
  });
}

/** The address in Prometheus' log; after it the log is drained and dropped. */
async function listenAddress(log: NodeJS.ReadableStream): Promise<string> {
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`Prometheus ${why}: ${lines.slice(-5).join(' | ')}`));
    const timer = setTimeout(() => fail(`did not listen within ${startDeadlineMs} ms`), startDeadlineMs);
    const reader = createInterface({ input: log });
    reader.on('line', (line) => {
      lines.push(line);
      const address = /msg="Listening on" address=(\S+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
      if (lines.length > 100) lines.shift();
    });
    reader.on('close', () => {
      clearTimeout(timer);
      fail('ended');
    });
  });
}

function parseResult(data: unknown): readonly Sample[] {
  const { resultType, result } = object(data);
  if (resultType === 'scalar') return [{ labels: {}, value: Number(list(result)[1]) }];
  assert.equal(resultType, 'vector');
  return list(result).map((one) => {
    const { metric, value } = object(one);
    const labels = Object.fromEntries(Object.entries(object(metric)).map(([name, text]) => [name, String(text)]));
    return { labels, value: Number(list(value)[1]) };
  });
}

function object(value: unknown): Record<string, unknown> {
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value), `not an object: ${String(value)}`);
  return { ...value };
}

function list(value: unknown): readonly unknown[] {
  assert.ok(Array.isArray(value), `not a list: ${String(value)}`);
  return value;
}
