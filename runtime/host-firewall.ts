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

/** Puts in what is missing. Throws RuntimeOperationError. */
export async function openFirewall({ bridge, hasIPv6 }: FirewallInput, log: Logger): Promise<void> {
  for (const program of programs(hasIPv6)) {
    const missing = decideMissing(await list(program), allowances(bridge));
    for (const rule of missing) await change(program, '-I', rule);
    if (missing.length > 0) {
      log.info({ program, bridge, rules: missing.length }, "the host's firewall drops; the bridge is let through");
    }
  }
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
