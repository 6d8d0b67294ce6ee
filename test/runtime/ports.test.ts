import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { ContainerConfigError, type ContainerInfo, type PortMapping, PortTakenError } from '../../runtime/index.ts';
import { parseForeignPorts, parseNatRules } from '../../runtime/nft-rules.ts';
import { never, TestHost, until } from './host.ts';

describe('published ports', () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.open();
  });
  after(() => host.close());
  afterEach(async () => {
    for (const info of await host.runtime.containers.list()) await host.runtime.containers.remove(info.id);
  });

  const answering = 'echo here';
  const serve = (ports: readonly PortMapping[], text = answering): Promise<ContainerInfo> =>
    host.run({ cmd: ['nc', '-ll', '-p', '80', '-e', 'sh', '-c', text], ports });
  const asked = (address: string, port: number | undefined): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ host: address, port: port ?? 0, timeout: 2_000 });
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString();
      });
      socket.on('timeout', () => socket.destroy());
      socket.on('error', (error) => {
        text = `${'code' in error ? error.code : error.message}`;
      });
      socket.on('close', () => resolve(text));
    });
  const answers = (address: string, port: number | undefined): Promise<unknown> =>
    until(`an answer on ${address} port ${port}`, async () => (await asked(address, port)) === 'here\n');
  /** An address of the interface by which the host reaches the world. */
  const outside = (family: 'IPv4' | 'IPv6'): string => {
    const name = /^(\S+)\t0{8}\t/m.exec(readFileSync('/proc/net/route', 'latin1'))?.[1] ?? '';
    const addresses = networkInterfaces()[name] ?? [];
    const found = addresses.find((one) => one.family === family && !one.address.startsWith('fe80'));
    assert.ok(found !== undefined, `this host has no ${family} address of its own`);
    return found.address;
  };
  /** Some ports in a row that are free now. */
  const freeRange = async (count: number): Promise<number> => {
    for (let port = 21_000 + (process.pid % 5_000); port < 32_000; port += count) {
      const states = await Promise.all(Array.from({ length: count }, (_, index) => asked('127.0.0.1', port + index)));
      if (states.every((state) => state === 'ECONNREFUSED')) return port;
    }
    throw new Error('no free ports');
  };
  const listen = async (port: number, address = '127.0.0.1'): Promise<Server> => {
    const server = createServer().listen(port, address);
    await once(server, 'listening');
    return server;
  };

  it('answer on every address of the host, IPv4 and IPv6, from outside and from a container', async () => {
    const info = await serve([{ containerPort: 80, hostPort: 0, protocol: 'tcp' }]);
    const port = info.ports[0]?.hostPort;
    for (const address of ['127.0.0.1', outside('IPv4'), outside('IPv6')]) await answers(address, port);
    assert.equal(await asked('::1', port), 'ECONNREFUSED', 'a client of ::1 is told at once, and tries 127.0.0.1');
    await answers('localhost', port);
    const { output } = await host.script(`nc -w 2 ${outside('IPv6')} ${port} </dev/null`);
    assert.equal(output, 'here\n');
  });

  it('answer on the address they ask for alone, of either family', async () => {
    // Free ones are drawn from elsewhere, also by other instances: they may draw the same for another address.
    const first = await freeRange(3);
    await serve([{ containerPort: 80, hostPort: first, hostIP: '127.0.0.1', protocol: 'tcp' }]);
    await answers('127.0.0.1', first);
    for (const address of [outside('IPv4'), outside('IPv6')]) {
      assert.equal(await asked(address, first), 'ECONNREFUSED', address);
    }
    await serve([{ containerPort: 80, hostPort: first + 1, hostIP: outside('IPv6'), protocol: 'tcp' }]);
    await answers(outside('IPv6'), first + 1);
    assert.equal(await asked(outside('IPv4'), first + 1), 'ECONNREFUSED');
    await serve([{ containerPort: 80, hostPort: first + 2, hostIP: '0.0.0.0', protocol: 'tcp' }]);
    await answers(outside('IPv4'), first + 2);
    assert.equal(await asked(outside('IPv6'), first + 2), 'ECONNREFUSED');
  });

  it('of a range are the first that nobody has, also not a program of the host', async () => {
    const first = await freeRange(4);
    const server = await listen(first);
    try {
      const range: PortMapping = { containerPort: 80, hostPort: first, hostPortEnd: first + 2, protocol: 'tcp' };
      const one = await serve([range]);
      assert.deepEqual(one.ports, [{ containerPort: 80, hostPort: first + 1, protocol: 'tcp' }]);
      const two = await serve([range]);
      assert.equal(two.ports[0]?.hostPort, first + 2);
      await answers('127.0.0.1', first + 2);
      await assert.rejects(serve([range]), (error) => error instanceof PortTakenError && /up to/.test(error.message));
    } finally {
      server.close();
    }
  });

  it('of a range or free ones are chosen anew when somebody took them while the container was stopped', async () => {
    const first = await freeRange(2);
    const info = await serve([{ containerPort: 80, hostPort: first, hostPortEnd: first + 1, protocol: 'tcp' }]);
    assert.equal(info.ports[0]?.hostPort, first);
    await host.runtime.containers.signal(info.id, 9);
    await host.exited(info.id);
    const server = await listen(first);
    try {
      const again = await host.runtime.containers.start(info.id, never);
      assert.equal(again.ports[0]?.hostPort, first + 1);
      await answers('127.0.0.1', first + 1);
    } finally {
      server.close();
    }
  });

  it('that another instance has published are refused by name, and taken when they are free again', async () => {
    const other = await TestHost.open();
    try {
      const port = await freeRange(1);
      const ports: PortMapping[] = [{ containerPort: 80, hostPort: port, protocol: 'tcp' }];
      const theirs = await other.run({ cmd: ['sleep', '1000'], ports });
      await assert.rejects(
        serve(ports),
        (error) =>
          error instanceof PortTakenError &&
          error.message.includes(`another Holdfast (nftables table holdfast_${other.deps.bridge})`),
      );
      await other.runtime.containers.remove(theirs.id);
      const [refused] = await host.runtime.containers.list();
      await host.runtime.containers.start(refused?.id ?? '', never);
      await answers('127.0.0.1', port);
    } finally {
      await other.close();
    }
  });

  it('lead a UDP client that goes on sending to the container that has the port now', async () => {
    const port = await freeRange(1);
    const ports: PortMapping[] = [{ containerPort: 80, hostPort: port, protocol: 'udp' }];
    // Busybox speaks no UDP: perl-base does, in the network of the container.
    const script = `use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); bind(S, sockaddr_in(80, INADDR_ANY)) or die;
      while (my $peer = recv(S, my $message, 1500, 0)) { send(S, $ARGV[0], 0, $peer) }`;
    const servers: ChildProcess[] = [];
    const say = async (text: string): Promise<ContainerInfo> => {
      const info = await host.run({ cmd: ['sleep', '1000'], ports });
      assert.ok(info.state.kind === 'running');
      servers.push(
        spawn('nsenter', ['-t', `${info.state.pid}`, '-n', 'perl', '-e', script, text], { stdio: 'ignore' }),
      );
      return info;
    };
    const client = createSocket('udp4');
    const heard: string[] = [];
    client.on('message', (message) => heard.push(message.toString()));
    client.on('error', () => {}); // refused while nobody is there
    const sending = setInterval(() => client.send('hello', port, outside('IPv4')), 50);
    try {
      const first = await say('first');
      await until('an answer of the first', () => heard.includes('first'));
      await host.runtime.containers.remove(first.id);
      const second = await say('second');
      assert.notEqual(second.ip, first.ip);
      await until('an answer of the second', () => heard.includes('second'));
    } finally {
      clearInterval(sending);
      client.close();
      for (const server of servers) server.kill('SIGKILL');
    }
  });

  for (const port of [
    { containerPort: 80, hostPort: 90, hostPortEnd: 80, protocol: 'tcp' },
    { containerPort: 80, hostPort: 0, hostPortEnd: 80, protocol: 'tcp' },
    { containerPort: 80, hostPort: 70_000, protocol: 'tcp' },
    { containerPort: 80, hostPort: 80, hostIP: 'localhost', protocol: 'udp' },
  ] as const) {
    it(`cannot be ${JSON.stringify(port)}`, () =>
      assert.rejects(
        host.runtime.containers.create(host.config({ ports: [port] }), never),
        (error) => error instanceof ContainerConfigError && error.field === 'ports',
      ));
  }
});

describe('rules of others', () => {
  it("are read from iptables' words: dockerd's, podman's, with and without an address", () => {
    const text = `-P PREROUTING ACCEPT
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
-A CNI-DN-1 -d 127.0.0.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.88.0.2:53
-A DOCKER -i docker0 -j RETURN
-A X -p tcp -m tcp --dport 99 -j ACCEPT`;
    assert.deepEqual(parseNatRules(text), [
      { chain: 'DOCKER', port: { protocol: 'tcp', hostPort: 8080, containerPort: 8080, hostIP: undefined } },
      { chain: 'CNI-DN-1', port: { protocol: 'udp', hostPort: 53, containerPort: 53, hostIP: '127.0.0.1' } },
    ]);
  });
  it('are read from the maps of other instances, not from our own or of strangers', () => {
    const mapOf = (table: string): object => ({
      map: { table, name: 'published', elem: [[{ concat: ['tcp', 80] }, { concat: ['10.0.0.2', 8080] }]] },
    });
    const text = JSON.stringify({ nftables: ['holdfast_a', 'holdfast_b', 'kube'].map(mapOf) });
    assert.deepEqual(parseForeignPorts(text, 'holdfast_a'), [
      { table: 'holdfast_b', port: { protocol: 'tcp', hostPort: 80, ip: '10.0.0.2', containerPort: 8080 } },
    ]);
    assert.deepEqual(parseForeignPorts('', 'holdfast_a'), []);
  });
});
