/** Parses Kubernetes quantities, durations and signal names. Pure. Each returns undefined for what it cannot read. */
import { constants } from 'node:os';

const decimal: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const binary: Readonly<Record<string, number>> = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 };

/** Bytes of a quantity such as 64Mi, 500M or 1048576. Source: Kubernetes resource.Quantity. */
export function parseBytes(quantity: number | string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(String(quantity));
  if (match?.[1] === undefined) return undefined;
  const suffix = match[2] ?? '';
  const unit = decimal[suffix] ?? binary[suffix];
  const bytes = unit === undefined ? Number.NaN : Math.ceil(Number(match[1]) * unit);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes as one would write them in a spec: 64Mi, or 1500 where no unit fits. */
export function formatQuantity(bytes: number): string {
  const fitting = Object.entries(binary).findLast(([, unit]) => bytes >= unit && bytes % unit === 0);
  return fitting === undefined ? String(bytes) : `${bytes / fitting[1]}${fitting[0]}`;
}

/** Thousandths of a core of a quantity such as 500m, 0.5 or 2. */
export function parseCpuMillis(quantity: number | string): number | undefined {
  const text = String(quantity);
  const match = /^(?:([0-9]+)m|([0-9]+(?:\.[0-9]{1,3})?))$/.exec(text);
  if (match === null) return undefined;
  const millis = match[1] === undefined ? Math.round(Number(match[2]) * 1000) : Number(match[1]);
  return Number.isSafeInteger(millis) ? millis : undefined;
}

const durationUnitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration such as 500ms, 1s or 1m30s, at most ten years. Source: Go time.ParseDuration, less its smaller units. */
export function parseDurationMs(duration: string): number | undefined {
  // Most have one part, and a resync of 10,000 containers reads some 50,000 of them.
  const [, only, ofOnly = ''] = /^([0-9]+)(ms|s)$/.exec(duration) ?? [];
  if (only !== undefined) return bounded(Number(only) * (durationUnitMs[ofOnly] ?? Number.NaN));
  if (!/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(duration)) return undefined;
  let total = 0;
  for (const [, amount, unit] of duration.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g)) {
    total += Number(amount) * (durationUnitMs[unit ?? ''] ?? Number.NaN);
  }
  return bounded(Math.round(total));
}

function bounded(ms: number): number | undefined {
  return ms <= 10 * 365 * 24 * 3_600_000 ? ms : undefined;
}

/** The number of a signal by name (TERM, SIGTERM, RTMIN+3) or number. Source: signal(7). */
export function parseSignal(text: string): number | undefined {
  const name = text.toUpperCase().replace(/^SIG/, '');
  if (/^[0-9]+$/.test(name)) {
    const number = Number(name);
    return number >= 1 && number <= 64 ? number : undefined;
  }
  const realTime = /^RT(MIN|MAX)([+-][0-9]{1,2})?$/.exec(name);
  if (realTime !== null) {
    const number = (realTime[1] === 'MIN' ? 34 : 64) + Number(realTime[2] ?? 0);
    return number >= 34 && number <= 64 ? number : undefined;
  }
  return Object.entries(constants.signals).find(([known]) => known === `SIG${name}`)?.[1];
}

/** For people: 512 B, 42.0 MiB. `bytes`: not negative. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${units[power] ?? ''}`;
}
