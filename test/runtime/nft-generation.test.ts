/** What of nftables and iptables makes an instance look at its rules again: by the real kernel, in a network of its own. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { run } from '../instance.ts';

const script = join(import.meta.dirname, '..', '..', 'runtime', 'syscalls.pl');
const table = 'holdfast_own';

describe('the word for the state of nftables', () => {
  let helper: ChildProcessByStdio<Writable, Readable, null>;
  let lines: Interface;
  before(() => {
    helper = spawn('unshare', ['--net', 'perl', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    lines = createInterface(helper.stdout);
  });
  after(async () => {
    const ended = once(helper, 'exit');
    helper.stdin.end();
    await ended;
  });

  const word = async (): Promise<string> => {
    const answer = once(lines, 'line');
    helper.stdin.write(`1\tnft_generation\t${table}\n`);
    const [line] = await answer;
    const [, told] = /^1\tok\t(.+)$/.exec(String(line)) ?? [];
    assert.ok(told !== undefined, `it says ${line}`);
    return told;
  };
  const inside = async (commands: string): Promise<void> => {
    const args = [`--net=/proc/${helper.pid}/ns/net`, 'sh', '-euc', commands];
    const { code, stderr } = await run('nsenter', args);
    assert.equal(code, 0, stderr);
  };
  const base = '{ type filter hook forward priority 0; }';
  const steps: readonly (readonly [what: string, commands: string, effect: 'another' | 'the same'])[] = [
    ['nothing', 'true', 'the same'],
    ['a table of its own with a chain', `nft add table ip ${table}; nft add chain ip ${table} c '${base}'`, 'another'],
    ['a rule in it', `nft add rule ip ${table} c iifname lo accept`, 'another'],
    ['another rule in place of it', `nft replace rule ip ${table} c handle 2 iifname lo drop`, 'another'],
    ['a map', `nft add map ip ${table} m '{ type inet_service : ipv4_addr; }'`, 'another'],
    ['an element', `nft add element ip ${table} m '{ 80 : 192.0.2.1 }'`, 'another'],
    [
      'another element',
      `nft 'delete element ip ${table} m { 80 }; add element ip ${table} m { 81 : 192.0.2.1 }'`,
      'another',
    ],
    ['a table for bridges', `nft add table bridge ${table}; nft add chain bridge ${table} c '${base}'`, 'another'],
    ['a rule for bridges', `nft add rule bridge ${table} c drop`, 'another'],
    ["another instance's", `nft add table ip holdfast_other; nft add chain ip holdfast_other c '${base}'`, 'the same'],
    ["a rule of another instance's", 'nft add rule ip holdfast_other c drop', 'the same'],
    ["an administrator's chain", `nft add table inet admin; nft add chain inet admin c '${base}'`, 'another'],
    ['its policy', `nft add chain inet admin c '{ policy drop; }'`, 'another'],
    ['a rule of iptables', 'iptables -A FORWARD -i lo -j DROP', 'another'],
    ['another in place of it', 'iptables -R FORWARD 1 -i lo -j REJECT', 'another'],
    ['a policy of ip6tables', 'ip6tables -P FORWARD DROP', 'another'],
    ['a rule that counts', 'ip link set lo up; iptables -A INPUT -i lo -j ACCEPT', 'another'],
    ['packets that are counted', `bash -c 'for i in 1 2 3; do echo >/dev/udp/127.0.0.1/9; done'`, 'the same'],
    ["the end of another instance's", 'nft delete table ip holdfast_other', 'the same'],
    ['the end of its own', `nft delete table ip ${table}`, 'another'],
  ];
  for (const [what, commands, effect] of steps)
    it(`is ${effect} after ${what}`, async () => {
      const before = await word();
      await inside(commands);
      const now = await word();
      if (effect === 'another') assert.notEqual(now, before);
      else assert.equal(now, before);
      assert.equal(await word(), now, 'and stays');
    });
});
