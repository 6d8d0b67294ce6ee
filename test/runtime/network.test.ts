import assert from 'node:assert/strict';
import { deriveSubnet6, ipv6Digits, isWithin, parseSubnet6 } from '../../runtime/addresses.ts';
import { canChangeNetwork } from '../../runtime/container-network.ts';
import { decideMissing, findClosedChains, mayHoldRules } from '../../runtime/host-firewall.ts';
import { never, TestHost } from './host.ts';

describe('IPv6 subnets', () => {
  it('are taken with their first address, in the shortest form', () => {
    assert.deepEqual(parseSubnet6('FD00:76:0:0:1::9/64'), {
      cidr: 'fd00:76::/64',
      prefixLength: 64,
      gateway: 'fd00:76::1',
    });
    assert.equal(parseSubnet6('fd00::ff00/120').gateway, 'fd00::ff01');
  });
  for (const text of [
    '',
    'fd00::',
    'fd00::/129',
    'fd00::/x',
    '10.0.0.0/8',
    'fd00::/121',
    'fe80::1%eth0/64',
    'g::/64',
  ]) {
    it(`cannot be "${text}"`, () => assert.throws(() => parseSubnet6(text), TypeError));
  }
  it('are unique local ones that differ from one instance to another', () => {
    const [one, same, other] = [deriveSubnet6('a'), deriveSubnet6('a'), deriveSubnet6('b')];
    assert.match(one.cidr, /^fd[0-9a-f:]+::\/64$/);
    assert.deepEqual(one, same);
    assert.notEqual(one.cidr, other.cidr);
  });
  it('know their addresses', () => {
    assert.equal(ipv6Digits('fd00::1:2'), 'fd000000000000000000000000010002');
    const subnet = parseSubnet6('fd00:76::/64');
    assert.ok(isWithin(subnet, 'fd00:76::99'));
    for (const address of ['fd00:77::99', '10.0.0.1']) assert.equal(isWithin(subnet, address), false);
  });
});

describe('canChangeNetwork', () => {
  for (const [security, want] of [
    [undefined, false],
    [{ addCapabilities: ['CAP_NET_RAW', 'CAP_CHOWN'] }, false],
    [{ addCapabilities: ['CAP_NET_ADMIN'] }, true],
    [{ addCapabilities: ['CAP_SYS_ADMIN'] }, true],
    [{ addCapabilities: ['ALL'] }, true],
    [{ isPrivileged: true }, true],
  ] as const) {
    it(`is ${want} with ${JSON.stringify(security)}`, () => assert.equal(canChangeNetwork(security), want));
  }
});

describe("rules in the host's firewall", () => {
  const rules = [
    ['FORWARD', '-i', 'br', '-j', 'ACCEPT'],
    ['INPUT', '-i', 'br', '-j', 'ACCEPT'],
  ] as const;
  for (const [it_, listing, want] of [
    ['are none where nothing is dropped', '-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-A FORWARD -j DOCKER\n', []],
    ['are put where the policy drops', '-P INPUT ACCEPT\n-P FORWARD DROP\n', [rules[0]]],
    ['are put where a rule rejects', '-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with x\n', [rules[1]]],
    ['are not doubled', '-P FORWARD DROP\n-A FORWARD -i br -j ACCEPT\n', []],
    ['are none without iptables', '', []],
  ] as const) {
    it(it_, () => assert.deepEqual(decideMissing(listing, rules), want));
  }
});

describe('chains of an administrator', () => {
  const chain = (family: string, table: string, name: string, hook: string, policy: string): object => ({
    chain: { family, table, name, hook, policy },
  });
  it('are told of when they drop what is forwarded or comes in; those of iptables are not', () => {
    const nftables = [
      { metainfo: {} },
      chain('inet', 'filter', 'forward', 'forward', 'drop'),
      chain('inet', 'filter', 'input', 'input', 'drop'),
      chain('inet', 'filter', 'output', 'output', 'drop'),
      chain('ip', 'own', 'forward', 'forward', 'accept'),
      chain('ip', 'filter', 'FORWARD', 'forward', 'drop'),
    ];
    assert.deepEqual(findClosedChains(JSON.stringify({ nftables })), ['inet filter forward', 'inet filter input']);
    assert.deepEqual(findClosedChains(''), []);
  });
  it('tell whether iptables need be asked: where it has none, or what there is is not known', () => {
    const listing = (...chains: object[]): string => JSON.stringify({ nftables: [{ metainfo: {} }, ...chains] });
    const own = chain('ip', 'own', 'forward', 'forward', 'drop');
    assert.equal(mayHoldRules(listing(), 'iptables'), false);
    assert.equal(mayHoldRules(listing(own), 'iptables'), false);
    assert.equal(mayHoldRules(listing(own, chain('ip', 'filter', 'FORWARD', 'forward', 'drop')), 'iptables'), true);
    assert.equal(mayHoldRules(listing(chain('ip', 'filter', 'INPUT', 'input', 'accept')), 'ip6tables'), false);
    assert.equal(mayHoldRules(listing(chain('ip6', 'filter', 'INPUT', 'input', 'accept')), 'ip6tables'), true);
    assert.equal(mayHoldRules('', 'iptables'), true);
    assert.equal(mayHoldRules('{"nftables": [', 'ip6tables'), true);
  });
});

describe("a container's network", () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  it('has an IPv4 and an IPv6 address, by both of which another container is reached', async () => {
    const target = await host.run({ cmd: ['sleep', '1000'] });
    assert.match(target.ip6 ?? '', /^fd/);
    const { output } = await host.script(
      `ping -c 1 -W 3 ${target.ip} >/dev/null && echo four; ping -6 -c 1 -W 3 ${target.ip6} >/dev/null && echo six`,
    );
    assert.equal(output, 'four\nsix\n');
  });

  it('does not keep what a process with the power to change it has changed', async () => {
    const dirt = 'ip addr add 192.0.2.77/32 dev eth0; ip route add 198.51.100.0/24 dev eth0; ip link set lo down';
    const { id } = await host.run({
      cmd: ['sh', '-c', `ip addr show; ip route; ${dirt}; ip addr show; ip route; echo done`],
      security: { addCapabilities: ['CAP_NET_ADMIN'] },
    });
    const first = await host.printed(id, 'done');
    assert.match(first, /192\.0\.2\.77[\s\S]*198\.51\.100\.0/, 'the first run could change it');
    await host.exited(id);
    await host.runtime.containers.start(id, never);
    await host.exited(id);
    const second = (await host.output(id)).slice(first.length);
    const atStart = second.slice(0, second.indexOf('192.0.2.77'));
    assert.match(atStart, /LOOPBACK,UP/);
    assert.doesNotMatch(second.slice(0, second.length / 2), /198\.51\.100\.0/);
    assert.equal(second.match(/192\.0\.2\.77/g)?.length, 1, 'only what this run added itself');
  });

  it('keeps its addresses from one run to the next otherwise', async () => {
    const before = await host.run({ cmd: ['true'] });
    await host.exited(before.id);
    const after = await host.runtime.containers.start(before.id, never);
    assert.deepEqual([after.ip, after.ip6], [before.ip, before.ip6]);
  });

  it('is loopback alone where none is asked for', async () => {
    const { output, info } = await host.script('ls /sys/class/net; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up', {
      namespaces: { network: 'none' },
    });
    assert.equal(output, 'lo\nup\n');
    assert.equal(info.ip, undefined);
  });

  it("is the host's where that is asked for: its interfaces, its own hosts file, and no port published", async () => {
    const { output, info } = await host.script('ls /sys/class/net; cat /etc/hosts; cat /etc/resolv.conf', {
      namespaces: { network: 'host' },
      hostname: 'hostly',
      hosts: [{ ip: '192.0.2.1', names: ['alias'] }],
    });
    assert.match(output, new RegExp(`^${host.deps.bridge}$`, 'm'));
    assert.match(output, /^192\.0\.2\.1\talias$/m);
    const gateway = host.deps.subnet.replace(/0\/24$/, '1');
    assert.match(output, new RegExp(`^${gateway}\thostly$`, 'm'));
    assert.equal(info.ip, gateway);
  });

  it('is made anew, without IPv6, when that was switched off meanwhile', async () => {
    const { id } = await host.run({ cmd: ['true'] });
    await host.exited(id);
    const { deps } = host;
    host.deps = { ...deps, subnet6: 'off' };
    await host.reopen();
    try {
      const info = await host.runtime.containers.start(id, never);
      assert.equal(info.ip6, undefined);
    } finally {
      await host.runtime.containers.remove(id);
      host.deps = deps;
      await host.reopen();
    }
  });
});
