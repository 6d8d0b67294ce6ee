/**
 * Lets the bridge's traffic, and the containers' questions to the resolver, pass where the host's firewall drops what it
 * does not know: dockerd and ufw set such policies. Puts in what is missing, where it is needed only, and takes exactly
 * that out again. Effects; the decision is pure.
 */
import type { Logger } from 'pino';
import { runCommand, runSuccessfully } from './command.ts';

export interface FirewallInput {
  readonly bridge: string;
  readonly hasIPv6: boolean;
}

type Program = 'iptables' | 'ip6tables';
type Rule = readonly [chain: string, ...match: string[]];

const deadlineMs = 10_000;

/** What must pass. */
export function allowances(bridge: string): readonly Rule[] {
  return [
    ['FORWARD', '-i', bridge, '-j', 'ACCEPT'],
    ['FORWARD', '-o', bridge, '-j', 'ACCEPT'],
    ['INPUT', '-i', bridge, '-p', 'udp', '-m', 'udp', '--dport', '53', '-j', 'ACCEPT'],
    ['INPUT', '-i', bridge, '-p', 'tcp', '-m', 'tcp', '--dport', '53', '-j', 'ACCEPT'],
  ];
}

/** Pure: which of the rules are missing in a chain that drops or rejects something. `listing`: `iptables -S`. */
export function decideMissing(listing: string, rules: readonly Rule[]): readonly Rule[] {
  const lines = listing.split('\n');
  const isClosed = (chain: string): boolean =>
    lines.some(
      (line) => line === `-P ${chain} DROP` || (line.startsWith(`-A ${chain} `) && / -j (DROP|REJECT)/.test(line)),
    );
  return rules.filter((rule) => isClosed(rule[0]) && !lines.includes(`-A ${rule.join(' ')}`));
}

/** Puts in what is missing, and returns how much that was. Throws RuntimeOperationError. */
export async function openFirewall({ bridge, hasIPv6 }: FirewallInput, log: Logger): Promise<number> {
  let added = 0;
  for (const program of programs(hasIPv6)) {
    const missing = decideMissing(await list(program), allowances(bridge));
    for (const rule of missing) await change(program, '-I', rule);
    added += missing.length;
    if (missing.length > 0) {
      log.info({ program, bridge, rules: missing.length }, "the host's firewall drops; the bridge is let through");
    }
  }
  return added;
}

/**
 * Pure: base chains that drop what they do not know, from `nft -j list chains`, as "inet filter forward". Those of
 * iptables are left out, for its rules are put there. An administrator's own ruleset is not ours to change, and a verdict
 * of ours would not count in it: it is told of.
 */
export function findClosedChains(text: string): readonly string[] {
  let items: unknown;
  try {
    items = Reflect.get(JSON.parse(text), 'nftables');
  } catch {
    return []; // there are none
  }
  if (!Array.isArray(items)) return [];
  return items.flatMap((item: { chain?: Readonly<Record<string, unknown>> }) => {
    const { family, table, name, hook, policy } = item.chain ?? {};
    if (policy !== 'drop' || (hook !== 'forward' && hook !== 'input')) return [];
    const isOfIptables = table === 'filter' && (name === 'FORWARD' || name === 'INPUT') && family !== 'inet';
    return isOfIptables ? [] : [`${family} ${table} ${name}`];
  });
}

/** What an administrator has to let through, in words for the log; undefined if nothing stands in the way. */
export async function observeObstacle(bridge: string): Promise<string | undefined> {
  const listed = await runCommand('network', ['nft', '-j', 'list', 'chains'], { deadlineMs });
  const closed = findClosedChains(listed.stdout);
  if (closed.length === 0) return undefined;
  const fixes = closed.map((chain) => {
    const isInput = / input$/i.test(chain);
    const rules = isInput ? [`iifname ${bridge} accept`] : [`iifname ${bridge} accept`, `oifname ${bridge} accept`];
    return rules.map((rule) => `nft insert rule ${chain} ${rule}`).join('; ');
  });
  return `the nftables chain ${closed.join(' and ')} drops the containers' traffic; let it through: ${fixes.join('; ')}`;
}

/** Takes out what was put in. Throws RuntimeOperationError. */
export async function closeFirewall(bridge: string): Promise<void> {
  for (const program of programs(true)) {
    const lines = (await list(program)).split('\n');
    for (const rule of allowances(bridge)) {
      for (const line of lines) if (line === `-A ${rule.join(' ')}`) await change(program, '-D', rule);
    }
  }
}

function programs(hasIPv6: boolean): readonly Program[] {
  return hasIPv6 ? ['iptables', 'ip6tables'] : ['iptables'];
}

async function list(program: Program): Promise<string> {
  // Without the program, nobody made a rule with it; without IPv6 in the kernel it fails.
  const listed = await runCommand('network', [program, '-w', '5', '-S'], { deadlineMs }).catch(() => undefined);
  return listed?.code === 0 ? listed.stdout : '';
}

async function change(program: Program, verb: '-I' | '-D', [chain, ...match]: Rule): Promise<void> {
  await runSuccessfully('network', [program, '-w', '5', verb, chain, ...match], { deadlineMs });
}
