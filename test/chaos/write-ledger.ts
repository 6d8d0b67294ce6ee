/**
 * What was written to the store and acknowledged, and so what must be: remembered by the test alone. A write without an
 * answer, or refused by a store in trouble, is in doubt until the store is asked what came of it. Effects: HTTP.
 */
import type { Answer, Instance } from '../instance.ts';
import { containersPath } from '../instance.ts';

/** What the last write to a container said. Each write has a number of its own, kept in an annotation. */
export interface Written {
  readonly kind: 'present' | 'deleted';
  readonly write: number;
  /** In its marker: only the process of this value may run. */
  readonly value: string;
  readonly shouldRun: boolean;
}

/** What is known of one name. */
export interface Account {
  readonly name: string;
  /** Acknowledged last; undefined: never. */
  sure: Written | undefined;
  /** Sent after it, and not answered, or not with a success. */
  doubtful: Written | undefined;
  isInFlight: boolean;
  /** When any of this changed, by performance.now(): what follows from it takes a moment. */
  changedAtMs: number;
}

const annotation = 'chaos.holdfast.dev/write';

export class WriteLedger {
  readonly #instance: Instance;
  readonly #accounts = new Map<string, Account>();
  #writes = 0;
  acknowledged = 0;
  doubted = 0;
  /** Acknowledged writes that the store does not have any more: each is a fault of the product. */
  readonly lost: string[] = [];

  constructor(instance: Instance) {
    this.#instance = instance;
  }

  get accounts(): readonly Account[] {
    return [...this.#accounts.values()];
  }

  account(name: string): Account | undefined {
    return this.#accounts.get(name);
  }

  /** Number of the next write. */
  get nextWrite(): number {
    return this.#writes + 1;
  }

  create(name: string, spec: object, { value, shouldRun }: Pick<Written, 'value' | 'shouldRun'>): Promise<void> {
    return this.#write(name, { kind: 'present', value, shouldRun }, (write) =>
      this.#instance.api('POST', `${containersPath}?fieldValidation=Strict`, {
        apiVersion: 'holdfast.dev/v1',
        kind: 'Container',
        metadata: { name, annotations: { [annotation]: String(write) } },
        spec,
      }),
    );
  }

  /** A merge patch of the spec. */
  change(name: string, spec: object, after: Pick<Written, 'value' | 'shouldRun'>): Promise<void> {
    return this.#write(name, { kind: 'present', ...after }, (write) =>
      this.#instance.api('PATCH', `${containersPath}/${name}`, {
        metadata: { annotations: { [annotation]: String(write) } },
        spec,
      }),
    );
  }

  delete(name: string): Promise<void> {
    const { value = '' } = this.#accounts.get(name)?.sure ?? {};
    return this.#write(name, { kind: 'deleted', value, shouldRun: false }, () =>
      this.#instance.api('DELETE', `${containersPath}/${name}`),
    );
  }

  async #write(
    name: string,
    what: Omit<Written, 'write'>,
    send: (write: number) => Promise<Pick<Answer, 'status' | 'text'>>,
  ): Promise<void> {
    this.#writes += 1;
    const written: Written = { ...what, write: this.#writes };
    const account = this.#accounts.get(name) ?? newAccount(name);
    if (account.doubtful !== undefined) throw new Error(`a write to ${name} is still in doubt`);
    this.#accounts.set(name, account);
    Object.assign(account, { doubtful: written, isInFlight: true, changedAtMs: performance.now() });
    const answer = await send(written.write).catch(() => undefined); // in doubt
    Object.assign(account, { isInFlight: false, changedAtMs: performance.now() });
    if (answer === undefined || answer.status >= 500 || answer.status === 429) {
      this.doubted += 1;
      return;
    }
    if (answer.status >= 300) throw new Error(`the store refused a write to ${name}: ${answer.status} ${answer.text}`);
    this.acknowledged += 1;
    account.sure = written;
    account.doubtful = undefined;
  }

  /**
   * Compares with what the store has: settles what is in doubt, and notes what was lost. What was written since the
   * list was asked for is left for the next one. Pure but for its own state.
   */
  compare(listed: ReadonlyMap<string, StoredObject>, askedAtMs: number): void {
    for (const account of this.#accounts.values()) {
      const { name, sure, doubtful } = account;
      if (account.isInFlight || account.changedAtMs >= askedAtMs) continue;
      const stored = listed.get(name);
      if (doubtful !== undefined && isAs(stored, doubtful)) {
        account.sure = doubtful;
        account.doubtful = undefined;
        account.changedAtMs = performance.now();
      } else if (sure === undefined ? stored === undefined : isAs(stored, sure)) {
        account.doubtful = undefined;
      } else {
        const is = stored === undefined ? 'nothing' : `write ${stored.write}${stored.isDeleting ? ', deleting' : ''}`;
        const was = sure === undefined ? 'nothing' : `${sure.kind} by write ${sure.write}`;
        const fact = `${name}: acknowledged was ${was}, the store has ${is}`;
        if (!this.lost.includes(fact)) this.lost.push(fact);
      }
    }
  }
}

function newAccount(name: string): Account {
  return { name, sure: undefined, doubtful: undefined, isInFlight: false, changedAtMs: 0 };
}

/** Of an object what the ledger compares. */
export interface StoredObject {
  readonly name: string;
  readonly write: number;
  readonly isDeleting: boolean;
  readonly state: string | undefined;
  readonly pid: number | undefined;
  readonly restartCount: number;
  readonly podIP: string | undefined;
}

/** A deleted object may stay until its container is gone. */
function isAs(stored: StoredObject | undefined, { kind, write }: Written): boolean {
  if (kind === 'deleted') return stored === undefined || stored.isDeleting;
  return stored !== undefined && !stored.isDeleting && stored.write === write;
}

/** All objects of the store; undefined while it does not answer. */
export async function observeStore(instance: Instance): Promise<ReadonlyMap<string, StoredObject> | undefined> {
  const answer = await instance.api('GET', containersPath).catch(() => undefined);
  if (answer?.status !== 200) return undefined;
  const items = answer.json.items as {
    metadata: { name: string; annotations?: Record<string, string>; deletionTimestamp?: string };
    status?: { state?: string; pid?: number; restartCount?: number; podIP?: string };
  }[];
  return new Map(
    items.map(({ metadata, status }) => [
      metadata.name,
      {
        name: metadata.name,
        write: Number(metadata.annotations?.[annotation]),
        isDeleting: metadata.deletionTimestamp !== undefined,
        state: status?.state,
        pid: status?.pid,
        restartCount: status?.restartCount ?? 0,
        podIP: status?.podIP,
      },
    ]),
  );
}
