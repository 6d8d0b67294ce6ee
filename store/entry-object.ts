/**
 * Entries as they are kept: their text for as long as they are stored, their object only while somebody works with it. Most
 * readers need no more than the text, and the object takes as much memory again and has the garbage collector walk through a
 * hundred pieces (of 10,000 Containers and 30,000 Events: 55 MB; measured 2026-11). Reading it anew takes some 30 µs.
 */
import { joinText, type LeanText, splitText } from './lean-text.ts';
import type { KubeObject } from './resources.ts';

export interface Entry {
  /** `namespace/name`; `/name` for cluster-wide kinds. */
  readonly key: string;
  readonly revision: number;
  readonly object: KubeObject;
  /** The object as JSON, encoded once for the disk, all readers and all watchers. */
  readonly json: string;
  /** As it is on disk, where the present schema of its kind shows it otherwise. */
  readonly stored?: KubeObject;
}

/** Objects that are kept beside their texts: those that were made or asked for last, */
const keptObjects = 512;
/** and no more of them than have texts of so many characters together, since one may have a million. */
const keptCharacters = 16 * 1024 * 1024;

/** An entry whose text says all that its object does. */
export function leanEntry(entry: Entry): Entry {
  return entry.stored === undefined ? new LeanEntry(entry) : entry;
}

class LeanEntry implements Entry {
  readonly key: string;
  readonly revision: number;
  /** Characters of the text. */
  readonly length: number;
  #text: string | LeanText;
  #object: KubeObject | undefined;

  constructor({ key, revision, json, object }: Entry) {
    this.key = key;
    this.revision = revision;
    this.length = json.length;
    this.#text = json;
    this.#object = object;
    recent.add(this);
  }

  get json(): string {
    return typeof this.#text === 'string' ? this.#text : joinText(this.#text);
  }

  get object(): KubeObject {
    if (this.#object === undefined) {
      // Only texts of objects that the rules have made get in here.
      this.#object = JSON.parse(this.json) as KubeObject;
      recent.add(this);
    }
    return this.#object;
  }

  /** What is at hand of the text: all of it, or all but the managedFields. */
  get kept(): string {
    return typeof this.#text === 'string' ? this.#text : this.#text.rest;
  }

  /** The text without managedFields. */
  get rest(): string {
    if (typeof this.#text === 'string' && this.#text.includes('"managedFields":')) {
      const split = splitText(this.#text, this.object, 0);
      // A text that somebody else wrote, with other spaces.
      if (split === undefined) return shortText(this.object, this.#text);
      this.#text = split;
    }
    return this.kept;
  }

  letGo(): void {
    if (typeof this.#text === 'string' && this.#object !== undefined)
      this.#text = splitText(this.#text, this.#object) ?? this.#text;
    this.#object = undefined;
  }
}

/** The object as JSON, without metadata.managedFields. */
export function textWithoutOwners(entry: Entry): string {
  return entry instanceof LeanEntry ? entry.rest : shortText(entry.object, entry.json);
}

function shortText(object: KubeObject, json: string): string {
  return object.metadata.managedFields === undefined ? json : JSON.stringify(withoutOwners(object));
}

export function withoutOwners(object: KubeObject): KubeObject {
  if (object.metadata.managedFields === undefined) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Has what the object says, and need not have its managedFields: to find out cheaply what an object cannot be. */
export function textToSearch(entry: Entry): string {
  return entry instanceof LeanEntry ? entry.kept : entry.json;
}

/** Characters of the whole text. */
export function lengthOf(entry: Entry): number {
  return entry instanceof LeanEntry ? entry.length : entry.json.length;
}

/** A ring, in the order in which their objects came; each entry is in it once, for as long as it has its object. */
class Recent {
  readonly #entries: (LeanEntry | undefined)[] = new Array(keptObjects).fill(undefined);
  #oldest = 0;
  #count = 0;
  #characters = 0;

  add(entry: LeanEntry): void {
    const { length } = entry;
    while (this.#count === keptObjects || (this.#count > 0 && this.#characters + length > keptCharacters))
      this.#letOldestGo();
    this.#entries[(this.#oldest + this.#count) % keptObjects] = entry;
    this.#count += 1;
    this.#characters += length;
  }

  /** Its place too: an entry that is stored no more is held by nothing else. */
  #letOldestGo(): void {
    const entry = this.#entries[this.#oldest];
    entry?.letGo();
    this.#characters -= entry?.length ?? 0;
    this.#entries[this.#oldest] = undefined;
    this.#oldest = (this.#oldest + 1) % keptObjects;
    this.#count -= 1;
  }
}

const recent = new Recent();
