/** What exit codes and signals mean: spec.restart.exitCodes, parsed and asked. Pure. */
import type { ContainerSpec } from '../crds/index.ts';
import { parseSignal } from './quantity.ts';

/** success: its work is done; failure: restarted by policy; fatal: never restarted. */
export type Meaning = 'success' | 'failure' | 'fatal';

export interface ExitCodeRule {
  readonly meaning: Meaning;
  /** Both ends are in it. */
  readonly codes: readonly { readonly from: number; readonly to: number }[];
  readonly signals: readonly number[];
}

const meanings = { Success: 'success', Failure: 'failure', Fatal: 'fatal' } as const;
const maxCode = 255;

/** `problems`: one for each value that the schema lets through and that cannot be, with its field and the fix. */
export function parseExitCodes(given: ContainerSpec['restart']['exitCodes']): {
  readonly rules: readonly ExitCodeRule[];
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const rules = (given ?? []).map(({ action, codes = [], signals = [] }, index): ExitCodeRule => {
    const field = `spec.restart.exitCodes[${index}]`;
    if (codes.length + signals.length === 0)
      problems.push(`${field}: has neither codes nor signals, so it would mean nothing; add some, or remove the rule`);
    return {
      meaning: meanings[action],
      codes: codes.flatMap((code, at) => {
        const range = parseRange(String(code));
        if (range === undefined)
          problems.push(
            `${field}.codes[${at}]: ${JSON.stringify(code)} is not an exit code from 0 to ${maxCode}, nor a range of them; write it like 3 or "64-78"`,
          );
        return range ?? [];
      }),
      signals: signals.flatMap((name, at) => {
        const signal = parseSignal(name);
        if (signal === undefined)
          problems.push(
            `${field}.signals[${at}]: ${JSON.stringify(name)} is not a signal of Linux; write it like SIGSEGV, TERM or 9`,
          );
        return signal ?? [];
      }),
    };
  });
  return { rules, problems };
}

function parseRange(text: string): { from: number; to: number } | undefined {
  const match = /^([0-9]{1,3})(?:-([0-9]{1,3}))?$/.exec(text);
  if (match === null) return undefined;
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  return from <= to && to <= maxCode ? { from, to } : undefined;
}

/** The first rule that names the code or the signal counts; without one, 0 is a success and all else a failure. */
export function meaningOf(
  rules: readonly ExitCodeRule[],
  exit: { readonly code: number; readonly signal?: number | undefined },
): Meaning {
  const { code, signal } = exit;
  const rule = rules.find(
    ({ codes, signals }) =>
      codes.some(({ from, to }) => from <= code && code <= to) || (signal !== undefined && signals.includes(signal)),
  );
  return rule?.meaning ?? (code === 0 ? 'success' : 'failure');
}
