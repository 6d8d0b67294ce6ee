/**
 * Which containers are on which networks, as the kernel is to know it: isolation-rules.ts makes the table, this brings it
 * there and puts it back when somebody took it away. A host whose containers are all on the default network has none, and
 * pays nothing. Effects only.
 */
import type { Logger } from 'pino';
import { runCommand, runSuccessfully } from './command.ts';
import { type ContainerID, RuntimeOperationError } from './interface.ts';
import {
  formatIsolation,
  formatListing,
  type IsolationInput,
  type Member,
  normalizeListing,
} from './isolation-rules.ts';

export interface IsolationDeps extends IsolationInput {
  /** A word that changes with every change to nftables that may concern us; undefined: not known. */
  nftGeneration(): Promise<string | undefined>;
  /** Something was found changed and put back. */
  found(detail: string): void;
  readonly log: Logger;
}

const deadlineMs = 10_000;

export class Isolation {
  readonly #deps: IsolationDeps;
  readonly #members = new Map<ContainerID, Member>();
  /** Changes go one after the other. */
  #queue: Promise<void> = Promise.resolve();
  #waiting: Promise<void> | undefined;
  /** The kernel may hold another table than it should: a change of it failed, or is to come. */
  #isStale = false;
  /** What the kernel lists when all is well; undefined: not looked at since the last change. */
  #listing: string | undefined;
  #seenGeneration: string | undefined;

  constructor(deps: IsolationDeps) {
    this.#deps = deps;
  }

  /** What was read back from disk; open() tells the kernel. */
  adopt(id: ContainerID, member: Member | undefined): void {
    if (member !== undefined) this.#members.set(id, member);
  }

  /** The kernel may hold what an earlier daemon told it. */
  async open(): Promise<void> {
    if (this.#members.size > 0) return this.#apply();
    // A kernel without such tables has none to remove.
    await runCommand('network', ['nft', '-f', '-'], { deadlineMs, input: formatIsolation(this.#deps, []) });
  }

  /** On which networks a container is from now on; undefined: on the default one alone, or not there. Resolves when it is so. */
  async set(id: ContainerID, member: Member | undefined): Promise<void> {
    const before = this.#members.get(id);
    if (!this.#isStale && JSON.stringify(before) === JSON.stringify(member)) return;
    if (member === undefined) this.#members.delete(id);
    else this.#members.set(id, member);
    await this.#apply();
  }

  /** A look that starts no process while nothing was changed. */
  async mend(): Promise<void> {
    if (this.#members.size === 0) return;
    const generation = await this.#deps.nftGeneration();
    if (generation !== undefined && generation === this.#seenGeneration) return;
    await this.#inQueue(async () => {
      const listing = await this.#list();
      const wanted = this.#listing;
      if (listing === undefined || (wanted !== undefined && listing !== wanted)) {
        this.#deps.log.warn(
          { table: this.#deps.table },
          'the table of networks was changed by somebody and is made again',
        );
        await this.#write();
        this.#deps.found(listing === undefined ? 'the table of networks is gone' : 'the table of networks was changed');
      } else {
        this.#listing = listing;
      }
    });
    // As it was before we looked: whatever was changed since, by us as well, makes the next look look again.
    this.#seenGeneration = generation;
  }

  /** Changes that come while one is being made go into the next together. */
  #apply(): Promise<void> {
    this.#isStale = true;
    this.#waiting ??= this.#inQueue(async () => {
      this.#waiting = undefined;
      this.#isStale = false;
      await this.#write().catch((error: unknown) => {
        this.#isStale = true;
        throw error;
      });
    });
    return this.#waiting;
  }

  async #write(): Promise<void> {
    const { log } = this.#deps;
    const text = formatIsolation(this.#deps, [...this.#members.values()]);
    this.#listing = undefined;
    try {
      await runSuccessfully('network', ['nft', '-f', '-'], { deadlineMs, input: text });
    } catch (error) {
      const words = `containers cannot be kept apart: ${error instanceof Error ? error.message : String(error)}`;
      throw new RuntimeOperationError('network', `${words}; the kernel needs nf_tables for bridges`, { cause: error });
    }
    // In the background of whoever waits for the change: what is there now is what is to be there.
    if (this.#members.size === 0) return;
    void this.#inQueue(async () => {
      this.#listing ??= await this.#list();
    }).catch((error: unknown) => log.warn({ err: error }, 'the table of networks cannot be listed'));
  }

  /** undefined: the table is not there. */
  async #list(): Promise<string | undefined> {
    const listed = await runCommand('network', ['nft', '-f', '-'], { deadlineMs, input: formatListing(this.#deps) });
    return listed.code === 0 ? normalizeListing(listed.stdout) : undefined;
  }

  #inQueue(work: () => Promise<void>): Promise<void> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {}); // the caller of this turn gets the error; the next turn is its own
    return result;
  }

  /** Resolves when nothing is under way. */
  async close(): Promise<void> {
    await this.#queue;
  }
}
