/**
 * A signal for a container that is not to stop it: asked for by an annotation, since a signal is an event and a spec is
 * a state. Each new value is sent once; what came of it is kept in status.lastSignal. Pure.
 */
import { constants } from 'node:os';
import type { Container } from '../crds/index.ts';
import { parseSignal } from './quantity.ts';

/** HUP@2026-11-24: a signal, and anything after an @ that makes the value a new one. */
export const signalAnnotation = 'holdfast.dev/signal';

export interface SignalRequest {
  /** The annotation's value, as far as it is compared and kept. */
  readonly request: string;
  /** undefined: it names none. */
  readonly signal: number | undefined;
}

/** What came of a request. */
export interface SignalReport {
  readonly request: string;
  /** undefined: none was sent. */
  readonly signal: number | undefined;
  readonly atMs: number;
  readonly message: string;
}

const maxLength = 128;

export function parseSignalRequest({ metadata }: Container): SignalRequest | undefined {
  const value = metadata.annotations?.[signalAnnotation];
  if (value === undefined) return undefined;
  const request = value.slice(0, maxLength);
  const [name = ''] = request.split('@');
  return { request, signal: parseSignal(name.trim()) };
}

/** What to do about a request: which signal to send now, if any, and how to tell of it. */
export function decideSignal(
  { request, signal }: SignalRequest,
  process: 'running' | 'paused' | 'down',
): Pick<SignalReport, 'signal' | 'message'> {
  if (signal === undefined) {
    const seen = JSON.stringify(request.split('@')[0]);
    return { signal, message: `${seen} is not a signal of Linux; write the annotation like HUP@1 or USR1@2026-11-24` };
  }
  const name = formatSignal(signal);
  switch (process) {
    case 'down':
      return { signal: undefined, message: `${name} was not sent: the container does not run` };
    case 'paused':
      return { signal, message: `sent ${name} to process 1, which gets it when it is resumed` };
    case 'running':
      return { signal, message: `sent ${name} to process 1` };
    default:
      throw new TypeError(`unknown process state: ${process satisfies never}`);
  }
}

function formatSignal(signal: number): string {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  return name === undefined ? `signal ${signal}` : `${name} (${signal})`;
}
