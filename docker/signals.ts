/** Signals as Docker's users write them: a name with or without SIG, or a number; real-time ones too. Pure. Source: signal(7). */
import { constants } from 'node:os';
import { badParameter } from './docker-error.ts';

const firstRealTime = 34;
const lastSignal = 64;

/** From 1 to 64. Throws DockerError. */
export function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const [, end, offset = '0'] = /^RT(MIN|MAX)([+-]\d{1,2})?$/.exec(name) ?? [];
  const number =
    end === undefined
      ? /^\d{1,3}$/.test(text)
        ? Number(text)
        : Object.entries(constants.signals).find(([known]) => known === `SIG${name}`)?.[1]
      : (end === 'MIN' ? firstRealTime : lastSignal) + Number(offset);
  const isRealTime = number !== undefined && number >= firstRealTime;
  if (number === undefined || number < 1 || number > lastSignal || (end !== undefined && !isRealTime))
    throw badParameter(`Invalid signal: ${text}`);
  if (number >= firstRealTime || nameOf(number) !== undefined) return number;
  throw badParameter(`Invalid signal: ${text}`);
}

function nameOf(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, one]) => one === number)?.[0];
}

/** SIGHUP, SIGRTMIN+3. */
export function formatSignal(number: number): string {
  const offset = number - firstRealTime;
  return nameOf(number) ?? (offset === 0 ? 'SIGRTMIN' : `SIGRTMIN+${offset}`);
}
