import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pino } from 'pino';
import { ContainerConfigError, type ContainerInfo, removeHostState } from '../../runtime/index.ts';
import { createLayout } from '../../runtime/layout.ts';
import { findResolvers, Resolver } from '../../runtime/resolver.ts';
import { formatLocalNames, formatNames, isDnsName } from '../../runtime/resolver-files.ts';
import { Syscalls } from '../../runtime/syscalls.ts';
import { never, TestHost, until } from './host.ts';

describe('the files of the resolver', () => {
  const web = { names: ['web.shop'], addresses: ['10.0.0.5', 'fd00::5'] };
  const stopped = { names: ['db.shop', 'solo'], addresses: [] };
  it('give each address the full name, then the short one', () => {
    assert.equal(
      formatNames([web]),
      '10.0.0.5 web.shop.holdfast.internal web.shop\nfd00::5 web.shop.holdfast.internal web.shop\n',
    );
  });
  it('have no line for a container that is stopped or has no name, but keep its name from being asked for elsewhere', () => {
    assert.equal(formatNames([stopped, { names: [], addresses: ['10.0.0.7'] }]), '');
    assert.equal(formatLocalNames([web, stopped, stopped]), 'server=/db.shop/\nserver=/web.shop/\n');
  });
  it('never take a single label for a name of the world', () => {
    const text = formatNames([{ names: ['com'], addresses: ['10.0.0.9'] }]);
    assert.equal(text, '10.0.0.9 com.holdfast.internal\n');
  });
  for (const name of ['web', 'web.shop', 'a_b.c-d', `${'x'.repeat(63)}.y`]) {
    it(`may hold ${name.slice(0, 20)}`, () => assert.ok(isDnsName(name)));
  }
  for (const name of ['', '.', 'web.', 'Web', 'a b', 'a\n10.0.0.1 b', '-a', 'a/b', 'ü', 'x'.repeat(64), 'a..b']) {
    it(`may not hold ${JSON.stringify(name.slice(0, 20))}`, () => assert.equal(isDnsName(name), false));
  }
});

describe('what the resolver is told of a container that stops', () => {
  let dir: string;
  let resolver: Resolver;
  let syscalls: Syscalls;
  let names: string;
  const id = 'a'.repeat(64);
  const web = { names: ['web.shop'], addresses: ['10.0.0.5'] };
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'hf-names-'));
    const layout = createLayout({ dataDir: dir, runDir: dir, bridge: 'none' });
    mkdirSync(layout.resolver.dir, { recursive: true });
    names = layout.resolver.names;
    syscalls = new Syscalls();
    // Without open() there is no process to tell.
    resolver = new Resolver({ layout, syscalls, found: () => {}, log: pino({ level: 'silent' }) });
    await resolver.set(id, web);
  });
  afterEach(async () => {
    await resolver.close();
    syscalls.close();
    rmSync(dir, { recursive: true });
  });
  const told = (): string => readFileSync(names, 'utf8');

  it('is that its names have no address any more', async () => {
    resolver.stopped(id);
    await until('the address to go', () => !told().includes('10.0.0.5'));
  });
  it('is nothing when it is started again at once', async () => {
    resolver.stopped(id);
    await resolver.set(id, web);
    await wait(500); // much longer than its names would stay
    assert.match(told(), /^10\.0\.0\.5 web\.shop/);
  });
  it('is its new address when it comes back with another', async () => {
    resolver.stopped(id);
    await resolver.set(id, { ...web, addresses: ['10.0.0.6'] });
    assert.match(told(), /^10\.0\.0\.6 /);
  });
  it('is told when the daemon goes before', async () => {
    resolver.stopped(id);
    await resolver.close();
    assert.equal(told(), '');
  });
  it('is nothing more when it is gone', async () => {
    resolver.stopped(id);
    resolver.forget(id);
    await resolver.close();
    assert.equal(told(), '');
  });
});

describe('the resolver', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const dns = { servers: [], searches: ['shop.holdfast.internal', 'holdfast.internal'], options: ['ndots:2'] };
  const serve = (name: string): Promise<ContainerInfo> => host.run({ cmd: ['sleep', '1000'], dnsNames: [name], dns });
  /** What a container's own resolver library makes of a name. */
  const lookUp = async (name: string): Promise<string> => {
    // A resolver that is away at this moment costs a second for each name tried, not the library's ten.
    const impatient = { ...dns, options: [...dns.options, 'timeout:1', 'attempts:1'] };
    return (await host.script(`ping -c 1 -W 1 ${name}`, { dns: impatient })).output;
  };
  const pid = (): number => {
    const found = findResolvers(createLayout(host.deps));
    assert.equal(found.length, 1, 'there is one resolver');
    return found[0]?.pid ?? 0;
  };

  it('answers the short and the long name of a container in the namespace, and the long one from another', async () => {
    const web = await serve('web.shop');
    const db = await serve('db.other');
    for (const name of ['web', 'web.shop', 'web.shop.holdfast.internal']) {
      await until(name, async () => (await lookUp(name)).includes(`PING ${name} (${web.ip})`));
    }
    await until('db.other', async () => (await lookUp('db.other')).includes(`(${db.ip})`));
    assert.match(await lookUp('db'), /bad address/);
    const { output } = await host.script('nslookup web.shop; nslookup db.other.holdfast.internal', { dns });
    assert.ok(output.includes(`Address: ${web.ip}`) && output.includes(`Address: ${db.ip}`), output);
  });

  it('says at once that there is no such name: for an unknown one, and soon for a container that is stopped', async () => {
    const web = await serve('web.shop');
    await host.runtime.containers.signal(web.id, 9);
    await host.exited(web.id);
    await until('its names to go', async () => (await lookUp('web')).includes('bad address'));
    // A query that nobody answers would outlast the programs.
    const patient = { ...dns, options: [...dns.options, 'timeout:30'] };
    for (const name of ['nobody', 'web', 'web.shop', 'nobody.holdfast.internal']) {
      const { output } = await host.script(`timeout 20 ping -c 1 -W 1 ${name} 2>&1`, { dns: patient });
      assert.match(output, /bad address/);
    }
    for (const name of ['nobody.holdfast.internal', 'web.shop', 'nobody']) {
      const { output } = await host.script(`nslookup ${name} 2>&1`, { dns: { ...dns, searches: [] } });
      assert.match(output, /NXDOMAIN/);
      assert.doesNotMatch(output, /timed out/);
    }
  });

  it('follows a restart of a container that got another address', async () => {
    const web = await serve('web.shop');
    const other = await host.run({ cmd: ['sleep', '1000'] });
    await host.runtime.containers.signal(web.id, 9);
    await host.exited(web.id);
    const file = join(host.deps.runDir, 'containers', web.id, 'network.json');
    execFileSync('umount', [JSON.parse(readFileSync(file, 'utf8')).netnsPath]);
    const again = await host.runtime.containers.start(web.id, never);
    assert.notEqual(again.ip, web.ip);
    await until('the new address', async () => (await lookUp('web')).includes(`(${again.ip})`));
    await host.runtime.containers.remove(other.id);
  });

  it('changes the names of a running container', async () => {
    const web = await serve('web.shop');
    await host.runtime.containers.update(web.id, { dnsNames: ['www.shop'] });
    await until('the new name', async () => (await lookUp('www')).includes(`(${web.ip})`));
    assert.match(await lookUp('web'), /bad address/);
    await assert.rejects(
      host.runtime.containers.update(web.id, { dnsNames: ['a\n10.0.0.1 bank.example'] }),
      (error) => error instanceof ContainerConfigError && error.field === 'dnsNames',
    );
  });

  it('answers with IPv4 alone, so that a server without IPv6 is reached, and with both when asked', async () => {
    const web = await serve('web.shop');
    const lookUpBoth = async (): Promise<string> =>
      (await host.script('nslookup web.shop.holdfast.internal; nslookup -type=aaaa web.shop', { dns })).output;
    const four = await lookUpBoth();
    assert.ok(four.includes(`Address: ${web.ip}`) && !four.includes(web.ip6 ?? 'no IPv6 address'), four);
    await host.runtime.containers.update(web.id, { isDualStack: true });
    await until('both', async () => (await lookUpBoth()).includes(`Address: ${web.ip6}`));
    const { output } = await host.script(`ping -6 -c 1 -W 2 web >/dev/null && echo reached`, { dns });
    assert.equal(output, 'reached\n');
  });

  it('answers over TCP', async () => {
    const web = await serve('web.shop');
    const gateway = web.ip?.replace(/\.[0-9]+$/, '.1');
    // A query for web.shop, type A, class IN, with its length before it, as TCP has it.
    const query = '\\0\\032\\0\\001\\001\\0\\0\\001\\0\\0\\0\\0\\0\\0\\003web\\004shop\\0\\0\\001\\0\\001';
    const { output } = await host.script(`printf '${query}' | nc -w 2 ${gateway} 53 | od -An -tu1 | tr -d '\\n'`);
    const address = (web.ip ?? '').split('.').join(' ');
    assert.ok(output.replaceAll(/\s+/g, ' ').trim().endsWith(address), output);
  });

  it('is not root, and is started again when it is killed', async () => {
    const before = pid();
    const uids = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${before}/status`, 'utf8'));
    assert.notEqual(uids?.[1], '0');
    const web = await serve('web.shop');
    process.kill(before, 'SIGKILL');
    await until('another resolver', () => findResolvers(createLayout(host.deps)).some((one) => one.pid !== before));
    await until('an answer', async () => (await lookUp('web')).includes(`(${web.ip})`));
  });

  it('outlives the daemon; the next one takes it up and goes on telling it names', async () => {
    const web = await serve('web.shop');
    const before = pid();
    await host.reopen();
    assert.equal(pid(), before);
    const db = await serve('db.shop');
    await until('both', async () => (await lookUp('web')).includes(`(${web.ip})`));
    await until('both', async () => (await lookUp('db')).includes(`(${db.ip})`));
    process.kill(before, 'SIGKILL');
    await until('another, though it is no child of ours', () => {
      const found = findResolvers(createLayout(host.deps));
      return found.length === 1 && found[0]?.pid !== before;
    });
  });

  it('answers again after the bridge was taken away', async () => {
    const web = await serve('web.shop');
    execFileSync('ip', ['link', 'delete', host.deps.bridge]);
    await until('an answer', async () => (await lookUp('web')).includes(`(${web.ip})`));
  });

  it('leaves the container to what its own configuration says', async () => {
    const own = { base: 'none', servers: ['192.0.2.53'], searches: ['corp.example'], options: ['timeout:1'] } as const;
    const { output } = await host.script('cat /etc/resolv.conf', { dns: own });
    assert.equal(output, 'search corp.example\nnameserver 192.0.2.53\noptions timeout:1\n');
  });

  it('goes with the instance, and does not touch the one of another', async () => {
    const other = await TestHost.open();
    try {
      const mine = pid();
      await other.runtime.close();
      await removeHostState(other.deps);
      assert.deepEqual(findResolvers(createLayout(other.deps)), []);
      assert.equal(pid(), mine);
    } finally {
      await other.close();
    }
  });
});
