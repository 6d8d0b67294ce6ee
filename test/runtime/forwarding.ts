/**
 * A program for network-repair.test.ts: opens and removes an instance's network, printing the host's rules before,
 * between and after.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { deriveSubnet6, parseSubnet } from '../../runtime/addresses.ts';
import { HostNetwork } from '../../runtime/host-network.ts';
import { removeHostState } from '../../runtime/index.ts';
import { markBridge, openInstance } from '../../runtime/instance.ts';

const [dataDir = '', runDir = '', bridge = ''] = process.argv.slice(2);
const log = pino({ level: 'silent' });
const subnet = parseSubnet('10.199.255.0/24');
const instance = await openInstance(dataDir, (bytes) => randomBytes(bytes).toString('hex'));
const found: string[] = [];
const network = new HostNetwork({
  bridge,
  nftTable: `holdfast_${bridge}`,
  subnet,
  subnet6: deriveSubnet6(bridge),
  markBridge: () => markBridge(bridge, instance),
  hostInterfaces: () => [],
  nftGeneration: async () => undefined,
  found: (kind) => found.push(kind),
  log,
});
const list = (): string => execFileSync('iptables', ['-S']).toString();
const rules = (): { iptables: string; ip6tables: string; nft: string; ours: string[][] } => ({
  iptables: list(),
  ip6tables: execFileSync('ip6tables', ['-S']).toString(),
  nft: execFileSync('nft', ['list', 'ruleset']).toString(),
  ours: list()
    .split('\n')
    .filter((line) => line.startsWith('-A FORWARD') && line.split(' ').includes(bridge))
    .map((line) => line.split(' ').slice(1)),
});
const before = rules();
await network.ensure('rebuild');
await network.ensure('thorough');
const during = rules();
await network.mend();
// As somebody would who sets up the firewall anew.
const taken = during.ours.length > 0;
for (const rule of during.ours.slice(0, 1)) execFileSync('iptables', ['-D', ...rule]);
if (taken) await network.mend();
const mended = rules();
await removeHostState({ dataDir, runDir, bridge, log });
console.log(JSON.stringify({ before, during, mended, found, after: rules() }));
