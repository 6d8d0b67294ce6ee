/**
 * How much one client may ask for at once, so that the others get their share. Administrators are never turned away, and
 * hosts have a share of their own. Keeps counts only.
 */
import { hostsGroup, mastersGroup, type User } from './access/index.ts';
import { StatusError } from './status-error.ts';

export interface Limits {
  /** Requests under way, watches and streams apart: of one client, and of all together. */
  readonly perClient: number;
  readonly total: number;
  /** Watches and streams under way. */
  readonly longPerClient: number;
  readonly longTotal: number;
  /** Milliseconds for a request's body to arrive, and for an answer to be read. */
  readonly bodyMs: number;
  readonly readMs: number;
}

export const defaultLimits: Limits = {
  perClient: 400,
  total: 800,
  longPerClient: 2_000,
  longTotal: 5_000,
  bodyMs: 60_000,
  readMs: 60_000,
};

export type Load = 'short' | 'long';

interface Counts {
  short: number;
  long: number;
}

/** Requests in a second below which nobody counts as greedy. */
const modestPerSecond = 100;

/** Whether one who shares a server that is busy all the time has had more than his part of the last second. Pure. */
export function isGreedy(own: number, all: number, clients: number, busy: number): boolean {
  return busy > 0.95 && clients > 1 && own > Math.max(modestPerSecond, all / clients);
}

export class ClientLimits {
  readonly #limits: Limits;
  readonly #byClient = new Map<string, Counts>();
  readonly #all: Record<'others' | 'hosts', Counts> = { others: { short: 0, long: 0 }, hosts: { short: 0, long: 0 } };
  #recent = new Map<string, number>();
  #recentTotal = 0;
  #busy = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(limits: Limits) {
    this.#limits = limits;
    let before = performance.eventLoopUtilization();
    this.#timer = setInterval(() => {
      const now = performance.eventLoopUtilization();
      this.#busy = performance.eventLoopUtilization(now, before).utilization;
      before = now;
      this.#recent = new Map();
      this.#recentTotal = 0;
    }, 1_000).unref();
  }

  /** Returns what to call at its end. Throws StatusError 429. */
  enter({ name, groups }: User, load: Load): () => void {
    if (groups.includes(mastersGroup)) return () => {};
    const all = this.#all[groups.includes(hostsGroup) ? 'hosts' : 'others'];
    const own = this.#byClient.get(name) ?? { short: 0, long: 0 };
    const { perClient, total, longPerClient, longTotal } = this.#limits;
    const [most, mostOfAll] = load === 'short' ? [perClient, total] : [longPerClient, longTotal];
    if (own[load] >= most || all[load] >= mostOfAll) throw tooManyRequests();
    if (load === 'short' && all === this.#all.others) {
      const count = (this.#recent.get(name) ?? 0) + 1;
      if (isGreedy(count, this.#recentTotal, this.#recent.size, this.#busy)) throw tooManyRequests();
      this.#recent.set(name, count);
      this.#recentTotal++;
    }
    own[load]++;
    all[load]++;
    this.#byClient.set(name, own);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      own[load]--;
      all[load]--;
      if (own.short + own.long === 0) this.#byClient.delete(name);
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** 429 in kube-apiserver's words. */
function tooManyRequests(): StatusError {
  const message = 'Too many requests, please try again later.';
  return new StatusError(429, 'TooManyRequests', message, { retryAfterSeconds: 1 });
}
