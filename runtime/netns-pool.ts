/**
 * Network namespaces with a cable to the bridge and an address, made by the CNI plugins bridge and host-local. A few
 * are kept ready, so that a start does not wait 15 ms for the plugins. Giving one to a container is one rename of its
 * record, so it has exactly one owner whenever we are killed. Effects only.
 */
import { existsSync, statSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Addresses, isWithin, type Subnet } from './addresses.ts';
import { readJsonObject, replaceFile } from './atomic-file.ts';
import { programPath, runCommand } from './command.ts';
import { RuntimeOperationError } from './interface.ts';
import type { Layout } from './layout.ts';
import type { Syscalls } from './syscalls.ts';

/** An attached network namespace. */
export interface Network extends Addresses {
  /** Also its id for CNI. */
  readonly name: string;
  readonly netnsPath: string;
  /** Host end of the cable. */
  readonly hostInterface: string;
  /** Of the container's end; undefined in a record of an earlier version. */
  readonly mac?: string | undefined;
}

export interface NetnsPoolDeps {
  readonly layout: Layout;
  readonly subnet: Subnet;
  /** undefined: no IPv6. */
  readonly subnet6: Subnet | undefined;
  readonly syscalls: Syscalls;
  /** How many are kept ready. */
  readonly size: number;
  /** Where the CNI plugins are. */
  readonly pluginDirs: readonly string[];
  readonly randomHex: (bytes: number) => string;
  /** Makes sure that the bridge is there. */
  ensureBridge(): Promise<void>;
  /** Measures attaching one. */
  measure<T>(work: () => Promise<T>): Promise<T>;
  /** Whether containers are being started now: then refilling waits, it would compete for the processor. */
  isBusy(): boolean;
  readonly log: Logger;
}

const pluginDeadlineMs = 20_000;
/** While there are others: making one takes the processor from the start that took it, and from what tells of that. */
const refillDelayMs = 300;
const lowRefillDelayMs = 30;
const retryDelayMs = 5_000;
/** The kernel takes 10 to 100 ms to take a namespace down. */
const takeDownMs = 3_000;

export function parseNetwork(json: Readonly<Record<string, unknown>> | undefined): Network | undefined {
  if (typeof json?.name !== 'string' || typeof json.netnsPath !== 'string') return undefined;
  if (typeof json.ip !== 'string' || typeof json.hostInterface !== 'string') return undefined;
  const { name, netnsPath, ip, ip6, hostInterface, mac } = json;
  return {
    ...{ name, netnsPath, ip, hostInterface },
    ...(typeof ip6 === 'string' ? { ip6 } : {}),
    ...(typeof mac === 'string' ? { mac } : {}),
  };
}

/** Whether a network's addresses are of the subnets that the instance has now. Pure. */
export function isOfSubnets(
  network: Addresses,
  { subnet, subnet6 }: Pick<NetnsPoolDeps, 'subnet' | 'subnet6'>,
): boolean {
  const { ip, ip6 } = network;
  if (!isWithin(subnet, ip)) return false;
  return subnet6 === undefined ? ip6 === undefined : ip6 !== undefined && isWithin(subnet6, ip6);
}

/** Whether the file still is a network namespace: a bind mount of one, not the empty file beneath. */
export function hasNetns(network: Pick<Network, 'netnsPath'>, layout: Layout): boolean {
  try {
    return statSync(network.netnsPath).dev !== statSync(layout.netns).dev;
  } catch {
    return false; // no file, no namespace
  }
}

/** Configuration of the bridge plugin. Masquerading and ports are ours, in one nftables table. */
export function formatCniConfig(input: {
  readonly bridge: string;
  readonly subnets: readonly Subnet[];
  readonly addressesDir: string;
}): string {
  return JSON.stringify({
    cniVersion: '1.0.0',
    name: input.bridge,
    type: 'bridge',
    bridge: input.bridge,
    isGateway: true,
    ipMasq: false,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir: input.addressesDir,
      ranges: input.subnets.map(({ cidr, gateway }) => [{ subnet: cidr, gateway }]),
      routes: input.subnets.map(({ gateway }) => ({ dst: gateway.includes(':') ? '::/0' : '0.0.0.0/0' })),
    },
  });
}

/** Addresses, and both ends of the cable, in a CNI result. Throws RuntimeOperationError if it has none. */
export function parseCniResult(text: string, bridge: string): Addresses & Pick<Network, 'hostInterface' | 'mac'> {
  // Whatever the plugin printed is looked at member by member.
  const result = JSON.parse(text) as {
    ips?: { address?: unknown }[];
    interfaces?: { name?: unknown; sandbox?: unknown; mac?: unknown }[];
  };
  const addresses = (result.ips ?? []).flatMap(({ address }) =>
    typeof address === 'string' ? [address.replace(/\/.*$/, '')] : [],
  );
  const ip = addresses.find((address) => isIP(address) === 4);
  const ip6 = addresses.find((address) => isIP(address) === 6);
  const cable = result.interfaces?.find((one) => !one.sandbox && one.name !== bridge)?.name;
  if (ip === undefined || typeof cable !== 'string') {
    throw new RuntimeOperationError('network_attach', `the bridge plugin gave no address: ${text.slice(0, 500)}`);
  }
  const mac = result.interfaces?.find((one) => one.sandbox)?.mac;
  return {
    ...{ ip, hostInterface: cable },
    ...(ip6 === undefined ? {} : { ip6 }),
    ...(typeof mac === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? { mac } : {}),
  };
}

export class NetnsPool {
  readonly #deps: NetnsPoolDeps;
  readonly #ready: Network[] = [];
  #refilling: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(deps: NetnsPoolDeps) {
    this.#deps = deps;
  }

  get readyCount(): number {
    return this.#ready.length;
  }

  readyInterfaces(): readonly string[] {
    return this.#ready.map((network) => network.hostInterface);
  }

  /**
   * Reads back what an earlier daemon left: the ready ones are kept, those that belong to nobody are taken down.
   * `owned`: names of the namespaces that containers have.
   */
  async open(owned: ReadonlySet<string>): Promise<void> {
    const { layout, log } = this.#deps;
    for (const dir of [layout.netns, layout.pool, layout.addresses]) await mkdir(dir, { recursive: true });
    for (const file of await readdir(layout.pool)) {
      const network = parseNetwork(await readJsonObject(join(layout.pool, file)));
      const isSound =
        network !== undefined &&
        file === `${network.name}.json` &&
        hasNetns(network, layout) &&
        isOfSubnets(network, this.#deps) &&
        existsSync(`/sys/class/net/${network.hostInterface}`);
      if (isSound && !owned.has(network.name)) this.#ready.push(network);
      else await rm(join(layout.pool, file), { force: true });
    }
    const known = new Set([...owned, ...this.#ready.map((network) => network.name)]);
    for (const name of await readdir(layout.netns)) {
      if (known.has(name)) continue;
      log.info({ netns: name }, 'a network namespace without an owner is removed');
      await this.#detach(name);
    }
    this.#scheduleRefill(0);
  }

  /** A network of the owner of the record file that belongs to a user namespace: never from the pool, since those belong to the host's. */
  async takeOf(recordFile: string, userNamespace: string): Promise<Network> {
    // Recorded there at once: what a later daemon finds in the pool goes to anybody.
    return await this.#deps.measure(() => this.#attach({ recordFile, userNamespace }));
  }

  /** Gives a network to the owner of the record file: from the pool, or made now when it is empty. */
  async take(recordFile: string): Promise<Network> {
    for (let network = this.#ready.shift(); network !== undefined; network = this.#ready.shift()) {
      const pooled = this.#recordInPool(network.name);
      if (hasNetns(network, this.#deps.layout)) {
        await rename(pooled, recordFile);
        this.#refillSoon();
        return network;
      }
      await rm(pooled, { force: true });
      await this.release(network);
    }
    const network = await this.#deps.measure(() => this.#attach({ recordFile }));
    this.#refillSoon();
    return network;
  }

  /**
   * Takes a network down that nobody uses any more; no error if it is gone. The cable goes with its namespace, and what is left
   * is the reservation of the address: a file. The plugins do the same in two processes, 100 ms of a processor (2026-11).
   */
  async release(network: Network): Promise<void> {
    const { layout, syscalls } = this.#deps;
    const { name, ip, ip6, hostInterface } = network;
    const path = join(layout.netns, name);
    if (hasNetns(network, layout)) await syscalls.unmount(path);
    // Before its address is another's: the kernel takes it down in its own time.
    if (!(await isGoneSoon(hostInterface))) {
      // Somebody else holds the namespace open.
      const command = ['ip', 'link', 'delete', hostInterface] as const;
      const { code, stderr } = await runCommand('network_detach', command, { deadlineMs: pluginDeadlineMs });
      if (code !== 0 && existsSync(`/sys/class/net/${hostInterface}`))
        throw new RuntimeOperationError('network_detach', `${hostInterface} cannot be removed: ${stderr.trim()}`);
    }
    for (const address of ip6 === undefined ? [ip] : [ip, ip6]) {
      const file = join(layout.addresses, layout.bridge, address);
      if ((await readOwner(file)) === name) await rm(file, { force: true });
    }
    // Last: by it a later daemon finds what is half taken down.
    await rm(path, { force: true });
  }

  /** Takes down what is known by its name alone. */
  async #detach(name: string): Promise<void> {
    const { layout, syscalls, log } = this.#deps;
    const path = join(layout.netns, name);
    const isThere = hasNetns({ netnsPath: path }, layout);
    try {
      await this.#plugin('DEL', name, isThere ? path : '');
    } catch (error) {
      // The cable goes with the namespace; only the address's reservation file must go by itself.
      log.warn({ err: error, netns: name }, 'the CNI plugin could not detach; cleaning up without it');
      await this.#releaseAddress(name);
    }
    if (isThere) await syscalls.unmount(path);
    await rm(path, { force: true });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#refilling;
  }

  #recordInPool(name: string): string {
    return join(this.#deps.layout.pool, `${name}.json`);
  }

  #refillSoon(): void {
    this.#scheduleRefill(this.#ready.length > this.#deps.size / 2 ? refillDelayMs : lowRefillDelayMs);
  }

  #scheduleRefill(delayMs: number): void {
    if (this.#isClosed || this.#refilling !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#refilling = this.#refill().finally(() => {
        this.#refilling = undefined;
      });
    }, delayMs);
    this.#timer.unref();
  }

  async #refill(): Promise<void> {
    while (!this.#isClosed && this.#ready.length < this.#deps.size) {
      if (this.#deps.isBusy()) {
        setImmediate(() => this.#scheduleRefill(refillDelayMs));
        return;
      }
      try {
        this.#ready.push(await this.#deps.measure(() => this.#attach()));
      } catch (error) {
        this.#deps.log.warn({ err: error }, 'a network namespace could not be prepared; trying again later');
        setImmediate(() => this.#scheduleRefill(retryDelayMs));
        return;
      }
    }
  }

  /** Makes one and records it: in its owner's file, or in the pool's folder. */
  async #attach(owner: { readonly recordFile?: string; readonly userNamespace?: string } = {}): Promise<Network> {
    const { layout, syscalls, randomHex, ensureBridge } = this.#deps;
    await ensureBridge();
    const name = `n${randomHex(7)}`;
    const netnsPath = join(layout.netns, name);
    const { recordFile = this.#recordInPool(name), userNamespace } = owner;
    try {
      if (userNamespace === undefined) await syscalls.createNetns(netnsPath);
      else await syscalls.createNetnsOf(netnsPath, userNamespace);
      const text = await this.#plugin('ADD', name, netnsPath);
      const network: Network = { name, netnsPath, ...parseCniResult(text, layout.bridge) };
      await replaceFile(recordFile, JSON.stringify(network), 'volatile');
      return network;
    } catch (error) {
      await this.#detach(name).catch((problem: unknown) => {
        this.#deps.log.warn({ err: problem, netns: name }, 'a half-made network namespace stays until the next start');
      });
      throw error;
    }
  }

  async #plugin(verb: 'ADD' | 'DEL', name: string, netnsPath: string): Promise<string> {
    const { layout, subnet, subnet6, pluginDirs } = this.#deps;
    const dir = pluginDirs.find((candidate) => existsSync(join(candidate, 'bridge')));
    if (dir === undefined) {
      throw new RuntimeOperationError(
        'network_attach',
        `there is no CNI plugin "bridge" in ${pluginDirs.join(', ')}; install containernetworking-plugins`,
      );
    }
    const result = await runCommand('network_attach', [join(dir, 'bridge')], {
      deadlineMs: pluginDeadlineMs,
      input: formatCniConfig({
        bridge: layout.bridge,
        subnets: subnet6 === undefined ? [subnet] : [subnet, subnet6],
        addressesDir: layout.addresses,
      }),
      env: {
        CNI_COMMAND: verb,
        CNI_CONTAINERID: name,
        CNI_NETNS: netnsPath,
        CNI_IFNAME: 'eth0',
        CNI_PATH: pluginDirs.join(':'),
        PATH: programPath,
        // The plugins are Go programs that live for milliseconds: without it they keep every core busy collecting.
        GOGC: 'off',
      },
    });
    if (result.code === 0) return result.stdout;
    throw new RuntimeOperationError(
      'network_attach',
      `the CNI plugin bridge failed at ${verb} of ${name}: ${(result.stdout || result.stderr).trim().slice(0, 1_000)}`,
    );
  }

  async #releaseAddress(name: string): Promise<void> {
    const dir = join(this.#deps.layout.addresses, this.#deps.layout.bridge);
    for (const file of await readdir(dir).catch(() => [])) {
      const owner = isIP(file) > 0 ? await readOwner(join(dir, file)) : undefined;
      if (owner === name) await rm(join(dir, file), { force: true });
    }
  }
}

async function isGoneSoon(hostInterface: string): Promise<boolean> {
  const endMs = performance.now() + takeDownMs;
  while (existsSync(`/sys/class/net/${hostInterface}`)) {
    if (performance.now() > endMs) return false;
    await wait(5);
  }
  return true;
}

async function readOwner(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined); // released meanwhile
  return text?.split(/\s/)[0];
}
