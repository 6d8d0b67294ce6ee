/** A real Prometheus scrapes Holdfast: every query of every panel and alert parses, and every panel has data. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { type Dashboard, fillIn, metricNames, readDashboards } from './dashboards.ts';
import { type PrometheusUnderTest, prometheusDir, startPrometheus } from './prometheus.ts';
import { startSyntheticMetrics } from './synthetic-metrics.ts';

const deadlineMs = 60_000;
const values = { rateInterval: '10s' };
/** Panels with a query that has no series while all is well; another query of theirs always has one. */
const partlyEmptyWhenWell = ['Watch reconnects', 'Requests refused or failed'];

/** Waits for a condition that takes time; throws the last failure at the deadline. */
async function eventually(check: () => Promise<void>): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

describe('Prometheus and the dashboards', function () {
  this.timeout(120_000);
  let dashboards: readonly Dashboard[] = [];
  let metrics: { readonly address: string; close(): Promise<void> };
  let prometheus: PrometheusUnderTest;

  before(async () => {
    dashboards = await readDashboards();
    metrics = await startSyntheticMetrics();
    prometheus = await startPrometheus([metrics.address]);
  });
  after(async () => {
    await prometheus?.close();
    await metrics?.close();
  });

  it('scrape Holdfast without an error', () =>
    eventually(async () => {
      const samples = await prometheus.query('up{job="holdfast"}');
      assert.deepEqual(
        samples.map(({ value }) => value),
        [1],
        JSON.stringify(await prometheus.targets()),
      );
    }));

  it('show data in every panel, from every query', () =>
    eventually(async () => {
      const panels = dashboards.flatMap((dashboard) => dashboard.panels);
      assert.ok(panels.length > 30);
      const empty: string[] = [];
      for (const panel of panels) {
        assert.ok(panel.queries.length > 0, `panel "${panel.title}" has no query`);
        const without: string[] = [];
        for (const query of panel.queries) {
          const samples = await prometheus.query(fillIn(query, values));
          if (!samples.some(({ value }) => Number.isFinite(value))) without.push(`${panel.title}: ${query}`);
        }
        if (without.length === panel.queries.length || !partlyEmptyWhenWell.includes(panel.title))
          empty.push(...without);
      }
      assert.deepEqual(empty, [], 'queries without data');
    }));

  it('parse the queries of annotations', async () => {
    for (const query of dashboards.flatMap((dashboard) => dashboard.otherQueries))
      await prometheus.query(fillIn(query, values));
  });

  it('load every alert, and its query runs', async () => {
    const text = await readFile(join(prometheusDir, 'rules/holdfast.rules.yml'), 'utf8');
    // The form of the file is checked by promtool in rules.test.ts.
    const { groups } = load(text) as { groups: { rules: { alert: string; expr: string }[] }[] };
    const rules = groups.flatMap((group) => group.rules);
    assert.ok(rules.length > 0);
    assert.deepEqual([...(await prometheus.alertNames())].sort(), rules.map(({ alert }) => alert).sort());
    for (const { expr } of rules) await prometheus.query(expr);
  });

  it('ask only for metrics that Holdfast exports', async () => {
    const text = await (await fetch(`http://${metrics.address}/metrics`)).text();
    const exported = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const rules = await readFile(join(prometheusDir, 'rules/holdfast.rules.yml'), 'utf8');
    const exprs = (load(rules) as { groups: { rules: { expr: string }[] }[] }).groups.flatMap(({ rules }) =>
      rules.map(({ expr }) => expr),
    );
    const queries = [...exprs, ...dashboards.flatMap(({ panels }) => panels.flatMap((panel) => panel.queries))];
    const asked = new Set(queries.flatMap((query) => metricNames(query)));
    assert.ok(asked.size > 30);
    assert.deepEqual([...asked].filter((name) => !exported.has(name)).sort(), []);
  });
});

describe('a dashboard', () => {
  it('has an id, and panels with a title, a description and a place of their own', async () => {
    const dashboards = await readDashboards();
    assert.ok(dashboards.length > 0);
    for (const { file, uid, panels } of dashboards) {
      assert.match(uid, /^[a-z0-9-]+$/, file);
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, `${file}: ids of panels`);
      const cells = new Set<string>();
      for (const { title, description, grid } of panels) {
        assert.ok(title !== '' && description !== '', `${file}: panel "${title}" lacks words`);
        assert.ok(grid.x + grid.w <= 24, `${file}: panel "${title}" reaches over the edge`);
        for (let x = grid.x; x < grid.x + grid.w; x += 1) {
          for (let y = grid.y; y < grid.y + grid.h; y += 1) {
            assert.ok(!cells.has(`${x},${y}`), `${file}: panel "${title}" lies over another`);
            cells.add(`${x},${y}`);
          }
        }
      }
    }
  });
});
