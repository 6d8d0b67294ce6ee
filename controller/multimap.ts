/** Several values for a key, of which most have one. Pure but for what it holds. */

export class Multimap {
  /** A value by itself needs no set, which takes 260 bytes. */
  readonly #values = new Map<string, string | Set<string>>();

  /** Those of a key, as they are now. */
  of(key: string): readonly string[] {
    const found = this.#values.get(key);
    if (found === undefined) return [];
    return typeof found === 'string' ? [found] : [...found];
  }

  add(key: string, value: string): void {
    const found = this.#values.get(key);
    if (found === undefined) this.#values.set(key, value);
    else if (typeof found !== 'string') found.add(value);
    else if (found !== value) this.#values.set(key, new Set([found, value]));
  }

  /** Returns whether it was there. */
  delete(key: string, value: string): boolean {
    const found = this.#values.get(key);
    if (found === value) return this.#values.delete(key);
    if (found === undefined || typeof found === 'string' || !found.delete(value)) return false;
    if (found.size === 0) this.#values.delete(key);
    return true;
  }
}
