/** A real Prometheus scrapes real instances: every query of every panel and alert runs, and every panel has data. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { buildBusyboxImage } from '../images.ts';
import { createInstance, type Instance } from '../instance.ts';
import { assertNoLeaks, type HostSnapshot, snapshotHost } from '../leaks.ts';
import { until } from '../until.ts';
import { type Dashboard, fillIn, metricNames, readDashboards } from './dashboards.ts';
import { type PrometheusUnderTest, prometheusDir, startPrometheus } from './prometheus.ts';
import { idle, startTroubledHost, type TroubledHost, troubledHost } from './troubled-host.ts';

const deadlineMs = 100_000;
const rateInterval = '10s';

interface Rule {
  readonly alert: string;
  readonly expr: string;
}

async function readRules(): Promise<readonly Rule[]> {
  const text = await readFile(join(prometheusDir, 'rules/holdfast.rules.yml'), 'utf8');
  // The form of the file is checked by promtool in rules.test.ts.
  return (load(text) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules);
}

/** Asks again until the answer is as wanted; throws the last failure at the deadline. */
async function eventually(check: () => Promise<void>): Promise<void> {
  let last: unknown;
  const isFine = async (): Promise<boolean> => {
    try {
      await check();
      return true;
    } catch (error) {
      last = error;
      await new Promise((resolve) => setTimeout(resolve, 250));
      return false;
    }
  };
  await until(isFine, 'Prometheus to show it', deadlineMs).catch((error: unknown) => {
    throw last ?? error;
  });
}

describe('Prometheus and the dashboards', function () {
  this.timeout(240_000);
  let hostBefore: HostSnapshot;
  let dashboards: readonly Dashboard[] = [];
  let troubled: TroubledHost;
  /** One container runs on it, and nothing happens. */
  let quiet: Instance;
  let prometheus: PrometheusUnderTest;
  const addressOf = (instance: Instance): string => new URL(instance.metricsUrl).host;
  const panelNamed = (title: string): string => {
    const query = dashboards.flatMap(({ panels }) => panels).find((panel) => panel.title === title)?.queries[0];
    assert.ok(query !== undefined, `there is no panel "${title}"`);
    return fillIn(query, { rateInterval, instance: addressOf(troubled.instance) });
  };

  before(async () => {
    hostBefore = await snapshotHost();
    dashboards = await readDashboards();
    quiet = await createInstance();
    [troubled] = await Promise.all([startTroubledHost(), quiet.start()]);
    const { reference: image } = await buildBusyboxImage({ dir: quiet.dataDir });
    await quiet.create('web', { image, ...idle });
    await quiet.waitFor('web', ({ state }) => state === 'Running', 'running');
    prometheus = await startPrometheus([addressOf(troubled.instance), addressOf(quiet)]);
  });
  after(async () => {
    await prometheus?.close();
    await troubled?.close();
    await quiet?.close();
    for (const instance of [troubled?.instance, quiet])
      if (instance !== undefined) await assertNoLeaks(hostBefore, instance);
  });

  it('scrape Holdfast without an error', () =>
    eventually(async () => {
      const samples = await prometheus.query('up{job="holdfast"}');
      assert.deepEqual(
        samples.map(({ value }) => value),
        [1, 1],
        JSON.stringify(await prometheus.targets()),
      );
    }));

  it('show data from every query of every panel when there is trouble', async () => {
    // What Prometheus has not seen grow has no rate: more of what it saw once at most.
    await eventually(async () => assert.ok((await prometheus.query('holdfast_image_pulls_in_progress')).length > 0));
    await troubled.goOn();
    const panels = dashboards.flatMap((dashboard) => dashboard.panels);
    assert.ok(panels.length > 30);
    await eventually(async () => {
      const empty: string[] = [];
      for (const panel of panels) {
        assert.ok(panel.queries.length > 0, `panel "${panel.title}" has no query`);
        for (const query of panel.queries) {
          const samples = await prometheus.query(fillIn(query, { rateInterval, instance: troubled.metricsAddress }));
          if (!samples.some(({ value }) => Number.isFinite(value))) empty.push(`${panel.title}: ${query}`);
        }
      }
      assert.deepEqual(empty, [], 'queries without data');
    });
  });

  it('show data in every panel when there is none, and nothing happens', () =>
    eventually(async () => {
      const values = { rateInterval, instance: addressOf(quiet) };
      const writes = await prometheus.query(
        fillIn('rate(holdfast_store_commit_batch_size_sum{instance="$instance"}[$__rate_interval])', values),
      );
      assert.deepEqual(
        writes.map(({ value }) => value),
        [0],
        'it has come to rest',
      );
      const empty: string[] = [];
      for (const panel of dashboards.flatMap((dashboard) => dashboard.panels)) {
        const queries = panel.queries.map((query) => prometheus.query(fillIn(query, values)));
        const samples = (await Promise.all(queries)).flat();
        if (!samples.some(({ value }) => Number.isFinite(value))) empty.push(panel.title);
      }
      assert.deepEqual(empty, [], 'panels without data');
    }));

  const shown: { title: string; want: number }[] = [
    { title: 'Should run', want: troubledHost.shouldRun },
    { title: 'Run', want: troubledHost.running.length },
    { title: 'Missing', want: troubledHost.shouldRun - troubledHost.running.length },
    { title: 'Waiting to restart', want: troubledHost.waitsToRestart },
    { title: 'Running, not ready', want: 0 },
    { title: 'Breakers not closed', want: troubledHost.deadRegistries.length },
  ];
  for (const { title, want } of shown) {
    it(`show in "${title}" what is so`, () =>
      eventually(async () => {
        const samples = await prometheus.query(panelNamed(title));
        assert.deepEqual(
          samples.map(({ value }) => value),
          [want],
        );
      }));
  }

  it('parse the queries of annotations', async () => {
    const queries = dashboards.flatMap((dashboard) => dashboard.otherQueries);
    assert.ok(queries.length > 0);
    for (const query of queries) await prometheus.query(fillIn(query, { rateInterval, instance: '.+' }));
  });

  it('load every alert, and its query runs', async () => {
    const rules = await readRules();
    assert.ok(rules.length > 0);
    assert.deepEqual([...(await prometheus.alertNames())].sort(), rules.map(({ alert }) => alert).sort());
    for (const { expr } of rules) await prometheus.query(expr);
  });

  it('raise the alerts of what is wrong, and none of what is not', async () => {
    const rules = await readRules();
    const instancesOf = async (alert: string): Promise<readonly string[]> => {
      const rule = rules.find((one) => one.alert === alert);
      assert.ok(rule !== undefined, alert);
      // Its "for" aside: that is tested by promtool, with time that passes quicker.
      return (await prometheus.query(rule.expr)).map(({ labels }) => labels.instance ?? '');
    };
    const ill = ['HoldfastContainerCrashLooping', 'HoldfastContainersNotRunning', 'HoldfastRegistryBreakerOpen'];
    await eventually(async () => {
      for (const alert of ill)
        assert.deepEqual([...new Set(await instancesOf(alert))], [troubled.metricsAddress], alert);
    });
    // Not: alerts of slowness, which may be true of a machine that tests.
    const well = [
      'HostDown',
      'NotMonitored',
      'DaemonRestarting',
      'FileDescriptorsLow',
      'MemoryHigh',
      'ContainerWaitsLong',
    ]
      .concat(['RuntimeErrors', 'ReconcileErrors', 'WorkQueueStuck', 'WatchSilent', 'WatchReconnecting'])
      .concat(['StoreBreakerOpen', 'StoreErrors', 'StoreWritesFail']);
    for (const alert of well) assert.deepEqual(await instancesOf(`Holdfast${alert}`), [], alert);
  });

  it('ask only for metrics that Holdfast exports', async () => {
    const text = await quiet.metrics();
    const exported = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const queries = dashboards.flatMap(({ panels, otherQueries }) => [
      ...otherQueries,
      ...panels.flatMap((panel) => panel.queries),
    ]);
    const exprs = (await readRules()).map(({ expr }) => expr);
    const asked = new Set([...exprs, ...queries].flatMap((query) => metricNames(query)));
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
