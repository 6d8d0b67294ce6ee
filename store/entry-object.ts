/**
 * Entries as they are kept: their text for as long as they are stored, their object only while somebody works with it. Most
 * readers need no more than the text, and the object takes as much memory again and has the garbage collector walk through a
 * hundred pieces (of 10,000 Containers and 30,000 Events: 55 MB; measured 2026-11). Reading it anew takes some 30 µs.
 */
import type { Entry } from './memory.ts';
import type { KubeObject } from './resources.ts';

/** Objects that are kept beside their texts: those that were made or asked for last. */
const keptObjects = 2_048;

/** An entry whose text says all that its object does. */
export function leanEntry(entry: Entry): Entry {
  return entry.stored === undefined ? new LeanEntry(entry) : entry;
}

class LeanEntry implements Entry {
  readonly key: string;
  readonly revision: number;
  readonly json: string;
  #object: KubeObject | undefined;

  constructor({ key, revision, json, object }: Entry) {
    this.key = key;
    this.revision = revision;
    this.json = json;
    this.#object = object;
    recent.add(this);
  }

  get object(): KubeObject {
    if (this.#object === undefined) {
      // Only texts of objects that the rules have made get in here.
      this.#object = JSON.parse(this.json) as KubeObject;
      recent.add(this);
    }
    return this.#object;
  }

  letGo(): void {
    this.#object = undefined;
  }
}

/** In the order in which their objects came. */
class Recent {
  readonly #entries: (LeanEntry | undefined)[] = new Array(keptObjects).fill(undefined);
  #next = 0;

  add(entry: LeanEntry): void {
    this.#entries[this.#next]?.letGo();
    this.#entries[this.#next] = entry;
    this.#next = (this.#next + 1) % keptObjects;
  }
}

const recent = new Recent();
