/**
 * Host ports that rules of others lead elsewhere: another instance's table, or iptables' nat table as dockerd, podman and
 * the CNI plugin portmap fill it. No program listens on such a port, so binding to it tells nothing. Effects.
 */
import { readFile } from 'node:fs/promises';
import { runCommand } from './command.ts';
import type { PortMapping } from './interface.ts';
import { hasTable, parseForeignPorts, parseNatRules } from './nft-rules.ts';
import { portsConflict } from './port-check.ts';

const deadlineMs = 10_000;

interface Taken {
  readonly port: PortMapping;
  /** In words. */
  readonly by: string;
}

export class ForeignPorts {
  readonly #ownTable: string;
  #taken: readonly Taken[] = [];
  #refreshing: Promise<void> | undefined;

  constructor(ownTable: string) {
    this.#ownTable = ownTable;
  }

  /** Who has the port, as last seen; undefined: nobody. */
  takerOf(port: PortMapping): string | undefined {
    return this.#taken.find((one) => portsConflict(one.port, port))?.by;
  }

  /** Looks anew: some 5 ms where only instances of Holdfast publish ports. Who calls while one goes on shares it. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #look(): Promise<void> {
    const [listed, legacy] = await Promise.all([
      runCommand('publish', ['nft', '-j', 'list tables; list maps'], { deadlineMs }),
      readFile('/proc/net/ip_tables_names', 'latin1').catch(() => ''), // no iptables of the old kind
    ]);
    const [tables = '', maps = ''] = listed.stdout.split('\n');
    const taken: Taken[] = parseForeignPorts(maps, this.#ownTable).map(({ table, port }) => ({
      port,
      by: `another Holdfast (nftables table ${table})`,
    }));
    const programs = [
      ...(hasTable(tables, 'ip', 'nat') || /^nat$/m.test(legacy) ? (['iptables'] as const) : []),
      ...(hasTable(tables, 'ip6', 'nat') ? (['ip6tables'] as const) : []),
    ];
    for (const program of programs) {
      const rules = await runCommand('publish', [program, '-w', '5', '-t', 'nat', '-S'], { deadlineMs });
      for (const { chain, port } of parseNatRules(rules.stdout)) {
        taken.push({ port, by: `another container engine (${program}, chain ${chain} of table nat)` });
      }
    }
    this.#taken = taken;
  }
}
