/** The farm of websites: N sites, each with an agent of its own, from the documents that examples/website-farm/farm prints. */
import assert from 'node:assert/strict';
import { type Instance, run } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const farm = 'examples/website-farm/farm';
const sites = [1, 2, 3];

describe('the website farm', function () {
  this.timeout(300_000);
  const running = useInstance({ images: 'examples' });
  let instance: Instance;

  before(async () => {
    instance = running();
    const { code, stdout, stderr } = await run(farm, [String(sites.length)]);
    assert.equal(code, 0, stderr);
    const applied = await instance.kubectl(['apply', '-f', '-'], { input: stdout });
    assert.equal(applied.code, 0, applied.stderr);
  });

  const logSays = (name: string, text: string): Promise<void> =>
    until(
      async () => (await instance.containerLog(name).catch(() => '')).includes(text),
      `"${text}" in the log of ${name}`,
      60_000,
    );

  it('runs every site on a port of its own, watched by its own agent', async () => {
    const ports = new Set<number | undefined>();
    for (const site of sites) {
      const { status } = await instance.waitFor(`site-${site}`, ({ state }) => state === 'Running', 'running');
      ports.add(status?.ports?.[0]?.hostPort);
      await instance.waitFor(`agent-${site}`, ({ state }) => state === 'Running', 'running');
      await logSays(`agent-${site}`, 'System up.');
    }
    assert.equal(ports.size, sites.length);
    for (const port of ports) assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /Welcome to nginx/);
  });

  it('has the agent of a site that is stopped, and no other, call the one mailer', async () => {
    // An agent that looked before its site listened has called then.
    const others = ['agent-1', 'agent-3'];
    const countOf = async (name: string, text: string): Promise<number> =>
      (await instance.containerLog(name)).split(text).length;
    const before = await Promise.all(
      others.map(async (name) => ({ ups: await countOf(name, 'System up.'), alerts: await countOf(name, 'Alert') })),
    );
    const patch = { spec: { desiredState: 'Stopped' } };
    await instance.kubectl(['patch', 'ctr', 'site-2', '--type', 'merge', '-p', JSON.stringify(patch)]);
    await logSays('mailer', 'Sending email: To: admin@work Message: The service is down!');
    await logSays('agent-2', 'Alert sent to the mailer.');
    for (const [index, name] of others.entries()) {
      const { status } = (await instance.get(name)) ?? {};
      assert.deepEqual([status?.state, status?.restartCount ?? 0], ['Running', 0]);
      const { ups = 0, alerts } = before[index] ?? {};
      await until(async () => (await countOf(name, 'System up.')) > ups, `${name} to see its site`);
      assert.equal(await countOf(name, 'Alert'), alerts);
    }
  });

  for (const count of ['', '0', 'many', '-1', '501', '3; true']) {
    it(`is refused for a count of ${JSON.stringify(count)}`, async () => {
      const { code, stdout, stderr } = await run(farm, count === '' ? [] : [count]);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.match(stderr, /500/);
    });
  }
});
