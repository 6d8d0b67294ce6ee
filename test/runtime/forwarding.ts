/** A program for network-repair.test.ts: opens and removes an instance's network, printing iptables' rules between. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { parseSubnet } from '../../runtime/addresses.ts';
import { HostNetwork } from '../../runtime/host-network.ts';
import { removeHostState } from '../../runtime/index.ts';
import { markBridge, openInstance } from '../../runtime/instance.ts';

const [dataDir = '', runDir = '', bridge = ''] = process.argv.slice(2);
const log = pino({ level: 'silent' });
const subnet = parseSubnet('10.199.255.0/24');
const instance = await openInstance(dataDir, (bytes) => randomBytes(bytes).toString('hex'));
const network = new HostNetwork({
  bridge,
  nftTable: `holdfast_${bridge}`,
  subnet,
  subnet6: undefined,
  markBridge: () => markBridge(bridge, instance),
  hostInterfaces: () => [],
  log,
});
const rules = (): string => execFileSync('iptables', ['-S', 'FORWARD']).toString();
await network.ensure('rebuild');
await network.ensure('thorough');
const during = rules();
await removeHostState({ dataDir, runDir, bridge, log });
console.log(JSON.stringify({ during, after: rules() }));
