/**
 * Lets the bridge's traffic, and the containers' questions to the resolver, pass where the host's firewall drops what it
 * does not know: dockerd and ufw set such policies. Puts in what is missing, where it is needed only, and takes exactly
 * that out again. Effects; the decision is pure.
 */
import { readFileSync } from 'node:fs';
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

/** `nft -j list chains`: what openFirewall and findObstacle go by. Throws RuntimeOperationError. */
export async function listChains(): Promise<string> {
  const listed = await runCommand('network', ['nft', '-j', 'list', 'chains'], { deadlineMs });
  return listed.code === 0 ? listed.stdout : '';
}

/**
 * Puts in what is missing, and returns how much that was. `chains`: from listChains, which spares asking iptables where it
 * has no chains. Throws RuntimeOperationError.
 */
export async function openFirewall({ bridge, hasIPv6 }: FirewallInput, chains: string, log: Logger): Promise<number> {
  let added = 0;
  for (const program of programs(hasIPv6)) {
    if (!isAsked(program, chains)) continue;
    const missing = decideMissing(await list(program), allowances(bridge));
    for (const rule of missing) await change(program, '-I', rule);
    added += missing.length;
    if (missing.length > 0) {
      log.info({ program, bridge, rules: missing.length }, "the host's firewall drops; the bridge is let through");
    }
  }
  return added;
}

/** Pure: whether iptables may have rules or policies, by the kernel's chains. `chains`: from listChains; '': it failed. */
export function mayHoldRules(chains: string, program: Program): boolean {
  const items = chainsIn(chains);
  const family = program === 'iptables' ? 'ip' : 'ip6';
  return items === undefined || items.some((chain) => chain.family === family && chain.table === 'filter');
}

function isAsked(program: Program, chains: string): boolean {
  return hasOldTables(program) || mayHoldRules(chains, program);
}

/** Those of iptables as it was before nftables are in no listing of nft. */
function hasOldTables(program: Program): boolean {
  try {
    const path = program === 'iptables' ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names';
    return readFileSync(path, 'latin1').trim() !== '';
  } catch {
    return false; // the kernel does not know them
  }
}

/** undefined: it is no whole listing. */
function chainsIn(text: string): readonly Readonly<Record<string, unknown>>[] | undefined {
  try {
    const items: unknown = Reflect.get(JSON.parse(text), 'nftables');
    if (!Array.isArray(items)) return undefined;
    return items.flatMap(({ chain }: { chain?: Readonly<Record<string, unknown>> }) =>
      chain === undefined ? [] : [chain],
    );
  } catch {
    return undefined; // cut short, or nft failed
  }
}

/**
 * Pure: base chains that drop what they do not know, from `nft -j list chains`, as "inet filter forward". Those of
 * iptables are left out, for its rules are put there. An administrator's own ruleset is not ours to change, and a verdict
 * of ours would not count in it: it is told of.
 */
export function findClosedChains(text: string): readonly string[] {
  return (chainsIn(text) ?? []).flatMap((chain) => {
    const { family, table, name, hook, policy } = chain;
    if (policy !== 'drop' || (hook !== 'forward' && hook !== 'input')) return [];
    const isOfIptables = table === 'filter' && (name === 'FORWARD' || name === 'INPUT') && family !== 'inet';
    return isOfIptables ? [] : [`${family} ${table} ${name}`];
  });
}

/** Pure: what an administrator has to let through, in words for the log; undefined if nothing stands in the way. */
export function findObstacle(bridge: string, chains: string): string | undefined {
  const closed = findClosedChains(chains);
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
  const chains = await listChains();
  for (const program of programs(true)) {
    if (!isAsked(program, chains)) continue;
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
