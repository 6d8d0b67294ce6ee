import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { type ContainerInfo, removeHostState } from '../../runtime/index.ts';
import { assertNoLeaks } from '../leaks.ts';
import { never, TestHost, until } from './host.ts';

describe('a network that somebody takes away', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const server = (): Promise<ContainerInfo> =>
    host.run({
      cmd: ['sh', '-c', 'while true; do echo here | nc -l -p 80; done'],
      ports: [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }],
    });

  /** What a command prints, or that it fails; at once. */
  function shown([program = '', ...args]: readonly string[]): string {
    const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
    return status === 0 ? stdout : `ended with ${status}`;
  }

  /** From another container, over the host's address on the bridge. */
  async function asked(info: ContainerInfo): Promise<string> {
    const gateway = info.ip?.replace(/\.[0-9]+$/, '.1');
    const { output } = await host.script(`nc -w 1 ${gateway} ${info.ports[0]?.hostPort} </dev/null; true`);
    return output;
  }

  it('makes a deleted bridge again at the next start, and plugs in those that run', async () => {
    const info = await server();
    execFileSync('ip', ['link', 'delete', host.deps.bridge]);
    await until('an answer', async () => (await asked(info)) === 'here\n');
    assert.equal((await host.runtime.containers.inspect(info.id))?.ip, info.ip);
  });

  it('makes a deleted nftables table again when a port is published', async () => {
    const info = await server();
    execFileSync('nft', ['delete', 'table', 'ip', `holdfast_${host.deps.bridge}`]);
    const other = await server();
    await until('an answer of the new one', async () => (await asked(other)) === 'here\n');
    await until('an answer of the old one', async () => (await asked(info)) === 'here\n');
  });

  it('puts back a bridge, a table, rules and elements with nobody asking for anything', async () => {
    host.deps = { ...host.deps, lookIntervalMs: 200 };
    await host.reopen();
    const info = await server();
    const port = info.ports[0]?.hostPort ?? 0;
    const table = `holdfast_${host.deps.bridge}`;
    const element = `{ tcp . ${port} : ${info.ip} . 80 }`;
    const answers = (): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connect({ port, host: '127.0.0.1', timeout: 1_000 });
        let isAnswered = false;
        socket.on('data', () => {
          isAnswered = true;
        });
        socket.on('timeout', () => socket.destroy());
        socket.on('error', () => {}); // 'close' follows
        socket.on('close', () => resolve(isAnswered));
      });
    await until('an answer', answers);
    const rules = ['nft', 'list', 'table', 'ip', table];
    const bridge = ['ip', 'link', 'show', host.deps.bridge];
    for (const { harm, to } of [
      { harm: ['nft', 'flush', 'table', 'ip', table], to: rules },
      { harm: ['nft', 'delete', 'element', 'ip', table, 'published', element], to: rules },
      { harm: ['nft', 'delete', 'table', 'ip', table], to: rules },
      { harm: ['ip', 'link', 'delete', host.deps.bridge], to: bridge },
    ]) {
      const before = shown(to);
      // In one go, lest the repair come between.
      shown(harm);
      assert.notEqual(shown(to), before, `${harm.join(' ')} does harm`);
      await until(`an answer after ${harm.join(' ')}`, answers);
    }
    const stranger = '{ tcp . 1 : 10.0.0.1 . 1 }';
    execFileSync('nft', ['add', 'element', 'ip', table, 'published', stranger]);
    await until(
      'a strange element to go',
      () => !execFileSync('nft', ['list', 'map', 'ip', table, 'published']).toString().includes('tcp . 1 :'),
    );
  });

  /** What containers send to that is not for one of them, and whether it was chosen (3) or comes and goes with them. */
  function bridgeAddress(): { address: string; type: string } {
    const read = (name: string): string => readFileSync(`/sys/class/net/${host.deps.bridge}/${name}`, 'latin1').trim();
    return { address: read('address'), type: read('addr_assign_type') };
  }

  it('keeps the hardware address of the bridge, whoever comes and goes, and of one that an earlier version made', async () => {
    const chosen = bridgeAddress();
    assert.match(chosen.address, /^0a:58:0a:/);
    assert.equal(chosen.type, '3');
    for (let count = 0; count < 3; count += 1) {
      const { id } = await host.run({ cmd: ['sleep', '1000'] });
      assert.deepEqual(bridgeAddress(), chosen);
      await host.runtime.containers.remove(id);
      assert.deepEqual(bridgeAddress(), chosen);
    }
    const { bridge } = host.deps;
    const alias = readFileSync(`/sys/class/net/${bridge}/ifalias`, 'latin1').trim();
    execFileSync('ip', ['-batch', '-'], {
      input: `link delete ${bridge}\nlink add name ${bridge} type bridge\nlink set dev ${bridge} alias "${alias}"\n`,
    });
    await host.reopen();
    await host.run({ cmd: ['sleep', '1000'] });
    const former = bridgeAddress();
    assert.equal(former.type, '3');
    await host.run({ cmd: ['sleep', '1000'] });
    assert.deepEqual(bridgeAddress(), former);
    // One that is made anew has the address that it should have.
    execFileSync('ip', ['link', 'delete', bridge]);
    await host.run({ cmd: ['sleep', '1000'] });
    assert.deepEqual(bridgeAddress(), chosen);
  });

  it('takes over a bridge that another has made in place of the one that was deleted, and tells of it', async () => {
    const info = await server();
    const { bridge } = host.deps;
    await until('an answer', async () => (await asked(info)) === 'here\n');
    const before = bridgeAddress();
    // Between the two steps ours may come first, and makes one itself: then the other is not the first, and tries again.
    await until('another bridge in its place', () => {
      host.events.length = 0;
      const input = `link delete ${bridge}\nlink add name ${bridge} type bridge\n`;
      return spawnSync('ip', ['-batch', '-'], { input }).status === 0;
    });
    await until('to be told', () => host.events.some((one) => one.kind === 'drift' && one.drift.kind === 'bridge'));
    await until('an answer', async () => (await asked(info)) === 'here\n');
    const described = () => spawnSync('ip', ['link', 'show', bridge], { encoding: 'utf8' }).stdout;
    await until('our mark', () => described().includes('alias holdfast '));
    await until('the address that the containers know', () => isDeepStrictEqual(bridgeAddress(), before));
  });

  it('gives a container another network when its own is gone', async () => {
    const info = await server();
    await host.runtime.containers.signal(info.id, 9);
    await host.exited(info.id);
    const netns = execFileSync('sh', ['-c', `cat ${host.deps.runDir}/containers/${info.id}/network.json`]).toString();
    execFileSync('umount', [JSON.parse(netns).netnsPath]);
    const again = await host.runtime.containers.start(info.id, never);
    assert.deepEqual(again.ports, info.ports);
    await until('an answer', async () => (await asked(again)) === 'here\n');
  });

  it('lets two instances run side by side, and removes one without touching the other', async () => {
    const other = await TestHost.open();
    try {
      const mine = await server();
      await other.run({ cmd: ['sleep', '1000'] });
      await other.runtime.close();
      await removeHostState(other.deps);
      await assertNoLeaks(other.before, other.deps);
      assert.ok(existsSync(`/sys/class/net/${host.deps.bridge}`));
      await until('an answer', async () => (await asked(mine)) === 'here\n');
      await removeHostState(other.deps);
    } finally {
      await other.close();
    }
  });

  for (const policy of ['DROP', 'ACCEPT'] as const) {
    it(`lets the bridge through where the host's firewall says ${policy}, and leaves its rules as they were`, () => {
      // In a network namespace of its own, for the policy is the whole host's. /sys must be of that namespace too.
      const program = fileURLToPath(new URL('./forwarding.ts', import.meta.url));
      const script = `set -e
        mkdir -p "$1/cgroup" && mount --rbind /sys/fs/cgroup "$1/cgroup"
        mount -t sysfs sysfs /sys && mount --rbind "$1/cgroup" /sys/fs/cgroup
        for program in iptables ip6tables; do
          $program -P FORWARD ${policy} && $program -P INPUT ${policy} && $program -A INPUT -i lo -j ACCEPT
        done
        exec "$0" "$2" "$1/data" "$1/run" hffwd`;
      const dir = join(host.dir, policy);
      const args = ['--net', '--mount', 'sh', '-c', script, process.execPath, dir, program];
      const { before, during, mended, found, after } = JSON.parse(execFileSync('unshare', args).toString());
      assert.deepEqual(after, before);
      // A rule that was taken out in between is put in again, and told of once.
      assert.deepEqual(found, policy === 'DROP' ? ['firewall'] : []);
      assert.deepEqual(mended.iptables.split('\n').sort(), during.iptables.split('\n').sort());
      assert.match(during.nft, /table ip holdfast_hffwd[\s\S]*table ip6 holdfast_hffwd/);
      const ours = ['FORWARD -i hffwd', 'FORWARD -o hffwd', 'INPUT -i hffwd -p udp -m udp --dport 53'];
      for (const listing of [during.iptables, during.ip6tables]) {
        for (const rule of ours) {
          const count = listing.split('\n').filter((line: string) => line === `-A ${rule} -j ACCEPT`).length;
          assert.equal(count, policy === 'DROP' ? 1 : 0, listing);
        }
      }
    });
  }
});
