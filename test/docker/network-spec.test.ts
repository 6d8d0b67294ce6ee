import assert from 'node:assert/strict';
import { notFound } from '../../docker/docker-error.ts';
import { readFields } from '../../docker/fields.ts';
import { type NetworkContext, parseNetworks } from '../../docker/network-spec.ts';

const known: Readonly<Record<string, string>> = { front: 'front', abc: 'front', Shop_default: 'shop-default-1a' };
const context: NetworkContext = {
  names: { docker: 'web', object: 'web' },
  imagePorts: ['443/tcp'],
  findNetwork: (name) => {
    const found = known[name];
    if (found === undefined) throw notFound(`network ${name} not found`);
    return found;
  },
  gateway: '10.76.0.1',
};

function parse(body: unknown, more: Partial<NetworkContext> = {}) {
  const problems: string[] = [];
  const config = readFields(body, '', problems);
  const host = config.object('HostConfig');
  const networking = config.object('NetworkingConfig');
  return { ...parseNetworks(config, host, networking, { ...context, ...more }), problems };
}

const http = { containerPort: 80, protocol: 'TCP' };

const good: { it: string; given: unknown; more?: Partial<NetworkContext>; want: object }[] = [
  { it: 'asks for nothing by default', given: {}, want: {} },
  { it: 'takes the default under all its names', given: { HostConfig: { NetworkMode: 'bridge' } }, want: {} },
  { it: 'knows the network of the host', given: { HostConfig: { NetworkMode: 'host' } }, want: { hostNetwork: true } },
  { it: 'knows that of nobody', given: { HostConfig: { NetworkMode: 'none' } }, want: { noNetwork: true } },
  {
    it: 'joins a network by its name',
    given: { HostConfig: { NetworkMode: 'front' } },
    want: { networks: [{ name: 'front' }] },
  },
  {
    it: 'joins a network by its id once, with aliases in lower case',
    given: {
      HostConfig: { NetworkMode: 'front' },
      NetworkingConfig: { EndpointsConfig: { abc: { Aliases: ['Db', 'db', 'data.base'] } } },
    },
    want: { networks: [{ name: 'front', aliases: ['db', 'data.base'] }] },
  },
  {
    it: 'is found by a docker name that is no object name',
    given: { HostConfig: { NetworkMode: 'Shop_default' } },
    more: { names: { docker: 'Shop_web_1', object: 'shop-web-1-77' } },
    want: { networks: [{ name: 'shop-default-1a', aliases: ['shop_web_1'] }] },
  },
  {
    it: 'lets the endpoints say which networks, as dockerd does',
    given: { NetworkingConfig: { EndpointsConfig: { front: null, bridge: {} } } },
    want: { networks: [{ name: 'front' }, { name: 'default' }] },
  },
  {
    it: 'publishes on a free port (-p 80)',
    given: {
      ExposedPorts: { '80/tcp': {} },
      HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '' }] } },
    },
    want: { ports: [{ ...http, hostPort: 0 }] },
  },
  {
    it: 'publishes UDP on a port (-p 8080:80/udp)',
    given: { HostConfig: { PortBindings: { '80/udp': [{ HostPort: '8080' }] } } },
    want: { ports: [{ containerPort: 80, protocol: 'UDP', hostPort: 8080 }] },
  },
  {
    it: 'publishes on an address and a free port (-p 127.0.0.1::80)',
    given: { HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] } } },
    want: { ports: [{ ...http, hostPort: 0, hostIP: '127.0.0.1' }] },
  },
  {
    it: 'publishes one port on several, and on one of a range',
    given: { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '81' }, { HostPort: '8000-8010' }] } } },
    want: {
      ports: [
        { ...http, hostPort: 81 },
        { ...http, hostPort: 8000, hostPortEnd: 8010 },
      ],
    },
  },
  {
    it: 'publishes all that is exposed, the image’s ports too (-P)',
    given: { ExposedPorts: { '80/tcp': {} }, HostConfig: { PublishAllPorts: true } },
    want: {
      ports: [
        { ...http, hostPort: 0 },
        { containerPort: 443, protocol: 'TCP', hostPort: 0 },
      ],
    },
  },
  { it: 'exposes without publishing', given: { ExposedPorts: { 80: {} } }, want: { ports: [http] } },
  {
    it: 'writes hosts',
    given: { HostConfig: { ExtraHosts: ['db:10.0.0.1', 'six:[::1]', 'up=host-gateway'] } },
    want: {
      hostAliases: [
        { ip: '10.0.0.1', hostnames: ['db'] },
        { ip: '::1', hostnames: ['six'] },
        { ip: '10.76.0.1', hostnames: ['up'] },
      ],
    },
  },
  {
    it: 'asks given servers and no others',
    given: { HostConfig: { Dns: ['1.1.1.1'], DnsSearch: ['example.com'], DnsOptions: ['ndots:3', 'rotate'] } },
    want: {
      dnsPolicy: 'None',
      dnsConfig: {
        nameservers: ['1.1.1.1'],
        searches: ['example.com'],
        options: [{ name: 'ndots', value: '3' }, { name: 'rotate' }],
      },
    },
  },
];

const bad: { given: object; want: RegExp }[] = [
  { given: { HostConfig: { NetworkMode: 7 } }, want: /^HostConfig.NetworkMode: must be a text/ },
  { given: { HostConfig: { NetworkMode: 'container:web' } }, want: /^HostConfig.NetworkMode: a container cannot have/ },
  {
    given: { NetworkingConfig: { EndpointsConfig: { front: { IPAMConfig: { IPv4Address: '10.0.0.9' } } } } },
    want: /^NetworkingConfig.EndpointsConfig.front.IPAMConfig.IPv4Address: .* addresses are given/,
  },
  {
    given: { NetworkingConfig: { EndpointsConfig: { front: { MacAddress: '02:42:00:00:00:01' } } } },
    want: /^NetworkingConfig.EndpointsConfig.front.MacAddress: .* addresses are given/,
  },
  {
    given: { NetworkingConfig: { EndpointsConfig: { front: { Wonder: 1 } } } },
    want: /^NetworkingConfig.EndpointsConfig.front.Wonder: is not known/,
  },
  {
    given: { NetworkingConfig: { EndpointsConfig: { bridge: { Aliases: ['a'] } } } },
    want: /network-scoped alias is supported only for containers in user defined networks/,
  },
  {
    given: { NetworkingConfig: { EndpointsConfig: { front: { Aliases: ['a b'] } } } },
    want: /Aliases: "a b" is not a name of a host/,
  },
  {
    given: { HostConfig: { NetworkMode: 'host' }, NetworkingConfig: { EndpointsConfig: { front: {} } } },
    want: /network mode host cannot be part of another network/,
  },
  { given: { ExposedPorts: { x: {} } }, want: /^ExposedPorts: "x" is no port/ },
  { given: { HostConfig: { PortBindings: { '80/sctp': [{}] } } }, want: /"80\/sctp" is no port of 1 to 65535/ },
  {
    given: { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '70000' }] } } },
    want: /HostPort: "70000" is no port/,
  },
  { given: { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '9-8' }] } } }, want: /HostPort: "9-8" is no port/ },
  {
    given: { HostConfig: { PortBindings: { '80/tcp': [{ HostIp: 'x' }] } } },
    want: /HostIp: "x" is not an IP address/,
  },
  { given: { HostConfig: { PortBindings: { '80/tcp': 'x' } } }, want: /PortBindings.80\/tcp: must be a list/ },
  { given: { HostConfig: { PortBindings: 'x' } }, want: /PortBindings: must be an object/ },
  { given: { HostConfig: { ExtraHosts: ['db'] } }, want: /bad format for add-host: "db"/ },
  { given: { HostConfig: { ExtraHosts: ['db:x'] } }, want: /invalid IP address in add-host: "x"/ },
  { given: { HostConfig: { Dns: ['x'] } }, want: /^HostConfig.Dns: x is not an ip address$/ },
  { given: { HostConfig: { NetworkMode: 'front', Dns: ['1.1.1.1'] } }, want: /^HostConfig.Dns: on a user-defined/ },
];

describe('docker: the network of a container that is asked for', () => {
  for (const { it: title, given, more, want } of good) {
    it(title, () => {
      const parsed = parse(given, more);
      assert.deepEqual(parsed.problems, []);
      assert.deepEqual(parsed.spec, want);
    });
  }
  for (const { given, want } of bad) {
    it(`refuses ${JSON.stringify(given)} by name`, () => assert.match(parse(given).problems.join('; '), want));
  }
  it('names a network that is not there', () =>
    assert.throws(() => parse({ HostConfig: { NetworkMode: 'nope' } }), /^DockerError: network nope not found$/));
  it('hands on the links of an endpoint', () =>
    assert.deepEqual(
      parse({ NetworkingConfig: { EndpointsConfig: { front: { Links: ['db:data', 'mail'] } } } }).links,
      [
        { name: 'db', alias: 'data' },
        { name: 'mail', alias: 'mail' },
      ],
    ));
  it('warns that ports are not published on the network of the host', () => {
    const given = { HostConfig: { NetworkMode: 'host', PortBindings: { '80/tcp': [{ HostPort: '80' }] } } };
    const { spec, warnings } = parse(given);
    assert.deepEqual(spec, { hostNetwork: true });
    assert.deepEqual(warnings, ['Published ports are discarded when using host network mode']);
  });
});
