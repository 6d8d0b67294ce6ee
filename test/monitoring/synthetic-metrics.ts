/**
 * A metrics endpoint with a value under every name that Holdfast exports, until the real one can be started here.
 * Effects: an HTTP server on a free loopback port.
 */
import { createServer } from 'node:http';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { createControllerMetrics, createQueueMetrics } from '../../controller/metrics.ts';

export async function startSyntheticMetrics(): Promise<{ readonly address: string; close(): Promise<void> }> {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const queue = createQueueMetrics(registry, 'container');
  const controller = createControllerMetrics(registry, 4);
  queue.observe({ depth: () => 1, workingSinceMs: () => [Date.now() - 100], now: () => Date.now() });
  for (const breaker of ['store', 'registry:127.0.0.1:1'])
    controller.breaker(breaker, breaker === 'store' ? 'closed' : 'open');
  const histogram = (name: string, labelNames: string[]) => new Histogram({ name, help: name, labelNames, registers });
  const gauge = (name: string, labelNames: string[]) => new Gauge({ name, help: name, labelNames, registers });
  const operations = histogram('holdfast_runtime_operation_duration_seconds', ['operation', 'result']);
  const pulls = histogram('holdfast_image_pull_duration_seconds', ['result']);
  const requests = new Counter({
    name: 'apiserver_request_total',
    help: 'x',
    labelNames: ['verb', 'resource', 'code'],
    registers,
  });
  const requestTimes = histogram('apiserver_request_duration_seconds', ['verb', 'resource']);
  const batches = histogram('holdfast_store_commit_batch_size', []);
  new Counter({ name: 'holdfast_store_commit_failures_total', help: 'x', registers });
  const commits = histogram('holdfast_store_commit_duration_seconds', []);
  gauge('holdfast_runtime_containers', ['state']).set({ state: 'running' }, 1);
  gauge('holdfast_image_pulls_in_progress', []).set(0);
  gauge('apiserver_longrunning_requests', ['verb', 'resource']).set({ verb: 'WATCH', resource: 'containers' }, 1);
  gauge('holdfast_store_objects', ['resource']).set({ resource: 'containers' }, 2);
  gauge('holdfast_build_info', ['version', 'node_version']).set({ version: '0', node_version: process.version }, 1);
  let round = 0;
  const tick = () => {
    round += 1;
    const common = { namespace: 'default', isReady: false, shouldRun: true };
    controller.report('default/web', {
      ...common,
      container: 'web',
      state: 'Running',
      backoffSeconds: 0,
      restartCount: 0,
      exitCode: undefined,
    });
    controller.report('default/loop', {
      ...common,
      container: 'loop',
      state: 'Restarting',
      backoffSeconds: 4,
      restartCount: round,
      exitCode: 1,
    });
    controller.watchActive(Date.now());
    controller.reconcileStarted()('success');
    queue.added();
    queue.handed(1);
    queue.worked(20);
    operations.observe({ operation: 'start', result: 'success' }, 0.02);
    pulls.observe({ result: 'error' }, 0.02);
    requests.inc({ verb: 'GET', resource: 'containers', code: '200' });
    requestTimes.observe({ verb: 'GET', resource: 'containers' }, 0.002);
    commits.observe(0.001);
    batches.observe(2);
  };
  const server = createServer((_request, response) => {
    tick();
    registry.metrics().then(
      (text) => response.setHeader('content-type', registry.contentType).end(text),
      (error) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    address: `127.0.0.1:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
