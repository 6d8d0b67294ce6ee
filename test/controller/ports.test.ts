import assert from 'node:assert/strict';
import { parsePorts } from '../../controller/ports.ts';
import type { PortMapping } from '../../runtime/index.ts';

type Spec = Parameters<typeof parsePorts>[0];

describe('parsePorts', () => {
  const cases: { it: string; spec: Partial<Spec>; want: PortMapping[] }[] = [
    { it: 'publishes nothing without hostPort', spec: { ports: [{ containerPort: 80, protocol: 'TCP' }] }, want: [] },
    {
      it: 'takes a fixed port, a free one and a range, TCP and UDP, IPv4 and IPv6',
      spec: {
        ports: [
          { containerPort: 80, hostPort: 8080, protocol: 'TCP' },
          { containerPort: 53, hostPort: 0, hostIP: 'fd00::1', protocol: 'UDP' },
          { containerPort: 81, hostPort: 9000, hostPortEnd: 9009, hostIP: '0.0.0.0', protocol: 'TCP' },
        ],
      },
      want: [
        { containerPort: 80, hostPort: 8080, hostIP: undefined, protocol: 'tcp' },
        { containerPort: 53, hostPort: 0, hostIP: 'fd00::1', protocol: 'udp' },
        { containerPort: 81, hostPort: 9000, hostPortEnd: 9009, hostIP: '0.0.0.0', protocol: 'tcp' },
      ],
    },
    {
      it: "reports every port as it is with the host's network",
      spec: { hostNetwork: true, ports: [{ containerPort: 80, protocol: 'TCP' }] },
      want: [{ containerPort: 80, hostPort: 80, hostIP: undefined, protocol: 'tcp' }],
    },
    {
      it: 'lets two ranges overlap, for each gives one port',
      spec: {
        ports: [
          { containerPort: 80, hostPort: 9000, hostPortEnd: 9001, protocol: 'TCP' },
          { containerPort: 81, hostPort: 9000, hostPortEnd: 9001, protocol: 'TCP' },
        ],
      },
      want: [
        { containerPort: 80, hostPort: 9000, hostPortEnd: 9001, hostIP: undefined, protocol: 'tcp' },
        { containerPort: 81, hostPort: 9000, hostPortEnd: 9001, hostIP: undefined, protocol: 'tcp' },
      ],
    },
  ];
  for (const { it: title, spec, want } of cases) {
    it(title, () => assert.deepEqual(parsePorts({ hostNetwork: false, ...spec }), { ports: want, problems: [] }));
  }

  const wrong: { spec: Partial<Spec>; says: RegExp }[] = [
    {
      spec: { ports: [{ containerPort: 80, hostPortEnd: 90, protocol: 'TCP' }] },
      says: /^spec\.ports\[0\]\.hostPortEnd: 90 .* hostPort \(unset\)/,
    },
    {
      spec: { ports: [{ containerPort: 80, hostPort: 91, hostPortEnd: 90, protocol: 'TCP' }] },
      says: /^spec\.ports\[0\]\.hostPortEnd: 90 .* hostPort 91/,
    },
    {
      spec: { ports: [{ containerPort: 80, hostPort: 0, hostPortEnd: 90, protocol: 'TCP' }] },
      says: /^spec\.ports\[0\]\.hostPortEnd: 90 .* hostPort 0/,
    },
    {
      spec: { ports: [{ containerPort: 80, hostPort: 1, hostIP: 'fd00::1::', protocol: 'TCP' }] },
      says: /^spec\.ports\[0\]\.hostIP: "fd00::1::" is not an IP address/,
    },
    {
      spec: { hostNetwork: true, ports: [{ containerPort: 80, hostPort: 8080, protocol: 'TCP' }] },
      says: /^spec\.ports\[0\]\.hostPort: with hostNetwork/,
    },
  ];
  for (const { spec, says } of wrong) {
    it(`refuses ${JSON.stringify(spec)}`, () => {
      const { problems } = parsePorts({ hostNetwork: false, ...spec });
      assert.equal(problems.length, 1);
      assert.match(problems[0] ?? '', says);
    });
  }
});
