import assert from 'node:assert/strict';
import type { ContainerSpec, ContainerStatus } from '../../crds/index.ts';
import { formatNetworkSettings, type NetworkSettingsInput } from '../../docker/network-settings.ts';
import { formatNetworkConfig } from '../../docker/network-spec.ts';
import { formatPortBindings, formatPortList } from '../../docker/ports-spec.ts';
import { spec as baseSpec } from '../controller/fixtures.ts';

const id = 'c0ffee'.padEnd(64, '0');
const names: Readonly<Record<string, { name: string; id: string }>> = {
  default: { name: 'bridge', id: 'b'.repeat(64) },
  front: { name: 'Front', id: 'f'.repeat(64) },
  host: { name: 'host', id: 'a'.repeat(64) },
  none: { name: 'none', id: '0'.repeat(64) },
};
const networkOf = (name: string) => names[name] ?? { name, id: '' };

function settings(
  spec: Partial<ContainerSpec>,
  status: Partial<ContainerStatus> = {},
  more: Partial<NetworkSettingsInput> = {},
) {
  return formatNetworkSettings({
    container: { spec: { ...baseSpec, ...spec }, status },
    containerID: id,
    address: { ip: '10.76.0.5', mac: '02:00:00:00:00:05' },
    isRunning: true,
    imagePorts: ['443/tcp'],
    facts: { gateway: '10.76.0.1', prefixLength: 16 },
    networkOf,
    ...more,
  });
}

/** The endpoint of a network by its docker name. */
function endpoint(given: ReturnType<typeof settings>, name: string): unknown {
  return Reflect.get(Object(given.Networks), name);
}

describe('docker: the network of a container that is shown', () => {
  it('shows the address on the bridge, at the top too', () => {
    const shown = settings({});
    assert.equal(shown.IPAddress, '10.76.0.5');
    assert.equal(shown.Gateway, '10.76.0.1');
    assert.equal(shown.IPPrefixLen, 16);
    assert.deepEqual(endpoint(shown, 'bridge'), {
      IPAMConfig: null,
      Links: null,
      Aliases: null,
      NetworkID: 'b'.repeat(64),
      EndpointID: id.slice(0, 32) + 'b'.repeat(32),
      Gateway: '10.76.0.1',
      IPAddress: '10.76.0.5',
      IPPrefixLen: 16,
      IPv6Gateway: '',
      GlobalIPv6Address: '',
      GlobalIPv6PrefixLen: 0,
      MacAddress: '02:00:00:00:00:05',
      DriverOpts: null,
    });
  });
  it('shows aliases on a network of its own, with the short id and without the name that nobody asked for', () => {
    const shown = settings({ networks: [{ name: 'front', aliases: ['db', 'my_db'] }] }, {}, { nameAlias: 'my_db' });
    assert.equal(shown.IPAddress, '');
    assert.deepEqual(Reflect.get(Object(endpoint(shown, 'Front')), 'Aliases'), ['db', id.slice(0, 12)]);
    assert.equal(Reflect.get(Object(endpoint(shown, 'Front')), 'IPAddress'), '10.76.0.5');
  });
  it('shows no address of one that does not run, nor on the host’s network or nobody’s', () => {
    for (const shown of [
      settings({}, {}, { isRunning: false }),
      settings({ hostNetwork: true }),
      settings({ noNetwork: true }),
    ]) {
      assert.equal(shown.IPAddress, '');
      assert.deepEqual(shown.Ports, {});
    }
    assert.deepEqual(Object.keys(Object(settings({ hostNetwork: true }).Networks)), ['host']);
    assert.deepEqual(Object.keys(Object(settings({ noNetwork: true }).Networks)), ['none']);
    assert.deepEqual(settings({ networks: [] }).Networks, {});
  });
  it('shows ports as they are, and exposed ones that are not published', () => {
    const ports = [{ containerPort: 80, hostPort: 32768, protocol: 'TCP' }];
    assert.deepEqual(settings({ ports: [{ containerPort: 80, hostPort: 0, protocol: 'TCP' }] }, { ports }).Ports, {
      '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '32768' }],
      '443/tcp': null,
    });
  });
  it('lists ports', () => {
    const published = [{ containerPort: 80, hostPort: 8080, hostIP: '127.0.0.1', protocol: 'TCP' }];
    assert.deepEqual(formatPortList({ published, exposed: ['80/tcp', '53/udp'], hasIPv6: true }), [
      { IP: '127.0.0.1', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
      { PrivatePort: 53, Type: 'udp' },
    ]);
  });
  it('tells what was asked for', () => {
    assert.deepEqual(
      formatPortBindings([
        { containerPort: 80, hostPort: 0, protocol: 'TCP' },
        { containerPort: 80, hostPort: 8000, hostPortEnd: 8010, hostIP: '127.0.0.1', protocol: 'TCP' },
        { containerPort: 53, protocol: 'UDP' },
      ]),
      {
        '80/tcp': [
          { HostIp: '', HostPort: '' },
          { HostIp: '127.0.0.1', HostPort: '8000-8010' },
        ],
      },
    );
    const modes: readonly [Partial<ContainerSpec>, string][] = [
      [{}, 'default'],
      [{ hostNetwork: true }, 'host'],
      [{ noNetwork: true }, 'none'],
      [{ networks: [{ name: 'front' }] }, 'Front'],
    ];
    for (const [spec, mode] of modes)
      assert.equal(formatNetworkConfig({ ...baseSpec, ...spec }, (name) => networkOf(name).name).NetworkMode, mode);
  });
});
