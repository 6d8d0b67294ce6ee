/** The alert rules: promtool accepts them, each has a case in which it fires, and each says what to do. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { load } from 'js-yaml';
import { promtool } from '../tools.ts';
import { prometheusDir } from './prometheus.ts';

const run = promisify(execFile);

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}

async function readRules(): Promise<readonly Rule[]> {
  const dir = join(prometheusDir, 'rules');
  const texts = await Promise.all((await readdir(dir)).map((file) => readFile(join(dir, file), 'utf8')));
  // promtool checks the form of the files in a test of its own.
  return texts.flatMap((text) => (load(text) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules));
}

async function testFiles(): Promise<readonly string[]> {
  const files = await readdir(import.meta.dirname);
  return files.filter((file) => file.endsWith('.rules-test.yml')).map((file) => join(import.meta.dirname, file));
}

describe('the alert rules of deploy/prometheus', () => {
  it('pass promtool check config and promtool check rules', async () => {
    await run(promtool(), ['check', 'config', join(prometheusDir, 'prometheus.yml')]);
    const { stdout } = await run(promtool(), ['check', 'rules', join(prometheusDir, 'rules/holdfast.rules.yml')]);
    assert.match(stdout, new RegExp(`SUCCESS: ${(await readRules()).length} rules found`));
  });

  it('fire, and keep quiet, in every case of the *.rules-test.yml files', async () => {
    const files = await testFiles();
    assert.ok(files.length > 0);
    await run(promtool(), ['test', 'rules', ...files]);
  });

  it('each have a case in which they fire', async () => {
    const cases = (await Promise.all((await testFiles()).map((file) => readFile(file, 'utf8')))).join('\n');
    const rules = await readRules();
    assert.ok(rules.length > 0);
    const untested = rules.filter(({ alert }) => !cases.includes(`alertname="${alert}",alertstate="firing"`));
    assert.deepEqual(
      untested.map(({ alert }) => alert),
      [],
    );
  });

  it('each say in a severity, a summary and a description what is wrong and what to look at', async () => {
    for (const { alert, labels, annotations } of await readRules()) {
      assert.match(alert, /^Holdfast[A-Z]/);
      assert.match(labels.severity, /^(critical|warning|info)$/, alert);
      assert.match(annotations.summary, /\S.*\.$/, alert);
      assert.ok(annotations.description.length > 100, `${alert}: its description does not say what to do next`);
    }
  });

  it('have names of their own', async () => {
    const names = (await readRules()).map(({ alert }) => alert);
    assert.equal(new Set(names).size, names.length);
  });
});
