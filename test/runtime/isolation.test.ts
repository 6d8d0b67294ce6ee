import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { parseSubnet } from '../../runtime/addresses.ts';
import type { NetworkMembership } from '../../runtime/index.ts';
import { formatIsolation, hasNoWayOut, type Member, normalizeListing } from '../../runtime/isolation-rules.ts';
import { freePort } from '../addresses.ts';
import { TestHost, until } from './host.ts';

const run = promisify(execFile);
const a: NetworkMembership = { name: 'shop.a', isInternal: false };
const b: NetworkMembership = { name: 'shop.b', isInternal: false };
const inner: NetworkMembership = { name: 'shop.inner', isInternal: true };
const common: NetworkMembership = { name: 'default', isInternal: false };

describe('the table of networks', () => {
  const input = { bridge: 'hf0', table: 'holdfast_hf0', subnet: parseSubnet('10.76.0.0/16'), subnet6: undefined };
  const member = (hostInterface: string, networks: readonly NetworkMembership[]): Member => ({
    hostInterface,
    ip: `10.76.0.${hostInterface.slice(1)}`,
    networks,
  });
  it('is none where all are on the default network', () => {
    assert.equal(
      formatIsolation(input, []),
      ['bridge', 'inet']
        .map((family) => `add table ${family} holdfast_hf0\ndelete table ${family} holdfast_hf0\n`)
        .join(''),
    );
  });
  it('lets those through that share a network, and drops what comes from or goes to another that is apart', () => {
    const text = formatIsolation(input, [member('v2', [a]), member('v3', [a, b]), member('v4', [common, b])]);
    assert.match(text, /set network_0 \{\s+type ifname\s+elements = \{ "v2", "v3" \}/);
    assert.match(text, /set network_1 \{\s+type ifname\s+elements = \{ "v3", "v4" \}/);
    assert.match(text, /set apart \{\s+type ifname\s+elements = \{ "v2", "v3" \}/);
    assert.match(
      text,
      /iifname @network_0 oifname @network_0 accept\s+iifname @network_1 oifname @network_1 accept\s+iifname @apart drop\s+oifname @apart drop/,
    );
  });
  for (const [networks, want] of [
    [undefined, false],
    [[], true],
    [[inner], true],
    [[inner, a], false],
    [[inner, common], false],
  ] as const) {
    it(`${want ? 'shuts' : 'does not shut'} in who is on ${JSON.stringify(networks?.map(({ name }) => name))}`, () =>
      assert.equal(hasNoWayOut(networks), want));
  }
  it('is the same in whatever order it is listed', () =>
    assert.equal(normalizeListing('elements = { "v1", "v2" }'), normalizeListing('elements = { "v2",\n "v1" }')));
});

describe("containers' networks", () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const server = ['httpd', '-f', '-p', '80'];
  const target = (networks: readonly NetworkMembership[] | undefined) => host.run({ cmd: server, networks });
  /** "1" for each address that answers, "0" for each that does not; the one that is wanted to gets the time for it. */
  const look = (addresses: readonly string[], wanted: string): string =>
    addresses
      .map((address, index) => `ping ${wanted[index] === '1' ? '-c 5 -i 0.2 -W 10' : '-c 1 -W 1'} ${address}`)
      .map((ping) => `${ping} >/dev/null 2>&1 && printf 1 || printf 0`)
      .join('; ');
  const assertSeen = async (
    networks: readonly NetworkMembership[] | undefined,
    addresses: readonly (string | undefined)[],
    wanted: string,
  ): Promise<void> => {
    const given = addresses.filter((address) => address !== undefined);
    assert.equal(given.length, wanted.length, 'each has an address');
    assert.equal((await host.script(look(given, wanted), { networks })).output, wanted);
  };
  const table = (): Promise<string> =>
    run('nft', ['list', 'table', 'bridge', `holdfast_${host.deps.bridge}`]).then(
      ({ stdout }) => stdout,
      () => '',
    );

  it('are reached by those that share one, in IPv6 too, and by nobody else', async () => {
    const targets = [await target([a]), await target([b]), await target(undefined), await target([])];
    const four = targets.map(({ ip }) => ip);
    await assertSeen([a], four, '1000');
    await assertSeen([a, b], four, '1100');
    await assertSeen([common, b], four, '0110');
    await assertSeen(undefined, four, '0010');
    await assertSeen([], four, '0000');
    const six = targets.map(({ ip6 }) => ip6);
    await assertSeen([a], six, '1000');
    await assertSeen(undefined, six, '0010');
  });

  it('cannot be got around by the router, nor by taking the address of another', async () => {
    const [victim, neighbour] = [await target([a]), await target(undefined)];
    const gateway = host.runtime.info().network?.ipv4.gateway ?? '';
    const power = { security: { addCapabilities: ['CAP_NET_ADMIN'] } };
    const around = (ip = '') => `ip route add ${ip}/32 via ${gateway}; ping -c 1 -W 1 ${ip} >/dev/null && echo in`;
    assert.equal((await host.script(around(victim.ip), power)).output, '');
    assert.equal((await host.script(around(neighbour.ip), { ...power, networks: [b] })).output, '');
    // A packet of the victim's address would draw the host's answers to it over here.
    const steal = `ip addr add ${victim.ip}/32 dev eth0; arping -c 2 -w 2 -s ${victim.ip} -I eth0 ${gateway} | grep -c reply`;
    assert.doesNotMatch((await host.script(steal, power)).output, /^[1-9]/m);
    const mac = `ip link set eth0 down; ip link set eth0 address ${victim.mac}; ip link set eth0 up; ping -c 1 -W 1 ${gateway} >/dev/null && echo out`;
    assert.equal((await host.script(mac, power)).output, '');
    await answers(80, victim.ip);
  });

  it('have no way out where they are internal, and one where one of them is not', async () => {
    const outside = Object.entries(networkInterfaces())
      .flatMap(([name, list]) => (name === host.deps.bridge ? [] : (list ?? [])))
      .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    assert.ok(outside !== undefined, 'this host has an address beside that of the bridge');
    await assertSeen([a, inner], [outside], '1');
    await assertSeen([inner], [outside], '0');
    await assertSeen([inner], [(await target([inner])).ip], '1');
  });

  it('publish ports for all, but not those of one that has no way out', async () => {
    const [port, hidden] = [await freePort(), await freePort()];
    const ports = (hostPort: number) => [{ containerPort: 80, hostPort, protocol: 'tcp' as const }];
    await host.run({ cmd: server, networks: [a], ports: ports(port) });
    const shut = await host.run({ cmd: server, networks: [inner], ports: ports(hidden) });
    assert.deepEqual(shut.ports, []);
    const gateway = host.runtime.info().network?.ipv4.gateway ?? '';
    const asked = async (one: number, networks?: readonly NetworkMembership[]): Promise<string> =>
      (
        await host.script(
          `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 20 ${gateway} ${one} 2>&1 | grep -o -E '404|refused' | head -n 1`,
          {
            networks,
          },
        )
      ).output;
    await answers(port);
    for (const networks of [undefined, [b], [inner]]) assert.equal(await asked(port, networks), '404\n');
    assert.equal(await asked(hidden), 'refused\n');
    // A way out opens its ports, at once.
    await host.runtime.containers.update(shut.id, { networks: [inner, a] });
    await answers(hidden);
  });

  it('change while a container runs, with what resolv.conf says', async () => {
    const peer = await target([a]);
    const loop = `while true; do ${look([peer.ip ?? ''], '0')}; grep search /etc/resolv.conf; sleep 0.1; done`;
    const { id } = await host.run({ cmd: ['sh', '-c', loop], networks: [b] });
    await host.printed(id, '0');
    const dns = (searches: readonly string[]) => ({ servers: [], searches, options: [] });
    await host.runtime.containers.update(id, { networks: [b, a], dns: dns(['a.test', 'b.test']) });
    await host.printed(id, '1search a.test b.test');
    const info = await host.runtime.containers.inspect(id);
    assert.equal(info?.state.kind, 'running');
    await host.runtime.containers.update(id, { networks: [b] });
    await until('the peer to be out of reach', async () =>
      (await host.output(id)).trimEnd().endsWith('0search a.test b.test'),
    );
    assert.deepEqual(
      host.events.filter((event) => event.kind === 'drift' && event.drift.kind === 'etc-file'),
      [],
    );
  });

  it('outlive the daemon, are put back when somebody flushes them, and leave nothing behind', async () => {
    const peer = await target([a]);
    assert.match(await table(), /set network_0/);
    await host.runtime.close();
    await run('nft', ['delete', 'table', 'bridge', `holdfast_${host.deps.bridge}`]);
    await host.open();
    assert.match(await table(), /set network_0/, 'made again by the next daemon');
    // The daemon must have seen it once to know that it was changed.
    await until('the table to be put back', async () => {
      if ((await table()) !== '') await run('nft', ['delete', 'table', 'bridge', `holdfast_${host.deps.bridge}`]);
      return host.events.some((event) => event.kind === 'drift' && event.drift.detail?.includes('networks') === true);
    });
    await until('the table', async () => (await table()).includes('set network_0'));
    await assertSeen(undefined, [peer.ip], '0');
    await host.runtime.containers.remove(peer.id);
    assert.equal(await table(), '');
  });
});

async function answers(port: number, address = '127.0.0.1'): Promise<void> {
  await until(`port ${port} to answer`, async () => {
    return await new Promise<true | undefined>((resolve) => {
      const socket = connect(port, address);
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(undefined));
    });
  });
}
