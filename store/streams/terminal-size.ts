/** Terminal sizes as clients send them: JSON objects, one after another, with Go's disregard for the case of names. Pure. */
import type { TerminalSize } from './session.ts';

const maxText = 1_024;
const maxCells = 65_535; // of the kernel's struct winsize

/** undefined: not a size; it is left out, as the kubelet does. */
export function parseTerminalSize(text: string): TerminalSize | undefined {
  if (text.length > maxText) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined; // the doc comment says what that means
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const fields = new Map(Object.entries(parsed).map(([name, value]) => [name.toLowerCase(), value as unknown]));
  const columns = fields.get('width');
  const rows = fields.get('height');
  if (!isCells(columns) || !isCells(rows)) return undefined;
  return { columns, rows };
}

function isCells(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= maxCells;
}

/** Finds the objects in a stream of text. */
export class TerminalSizeReader {
  #rest = '';

  read(text: string): readonly TerminalSize[] {
    // Only what came last counts, and nobody may keep us busy with megabytes of braces.
    const parts = (this.#rest + text.slice(-maxText)).split('}');
    this.#rest = (parts.pop() ?? '').slice(0, maxText);
    return parts.flatMap((part) => parseTerminalSize(`${part}}`) ?? []);
  }
}
