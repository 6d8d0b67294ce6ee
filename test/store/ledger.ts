/**
 * What clients of a store were promised, and whether it holds after a kill: each object is written by one client, so it is
 * as that client's last answered write left it, or as the one after that wanted it. Each write has a value of its own.
 */
import assert from 'node:assert/strict';
import { getString, type JsonObject } from '../../store/json.ts';
import { type Client, configMap, metaOf, type WatchEvent, type Watching } from './fixture.ts';

/** undefined: there is no object. */
type Value = string | undefined;

interface Promised {
  readonly acknowledged: Value;
  /** Of the acknowledged write. */
  readonly revision: number;
  /** What else may be there: a write that was not answered. */
  readonly asked: Value;
}

export class Ledger {
  readonly #promises = new Map<string, Promised>();
  /** Values of creations whose name the server was to choose, and that were not answered. */
  readonly #unnamed = new Set<string>();
  readonly #revisions = new Set<number>();
  /** The highest revision that anybody was shown. */
  highest = 0;
  acknowledged = 0;
  /** The revision that the present run of the store began with. */
  #floor = 0;
  #values = 0;

  /** A value that no other write has. */
  newValue(): string {
    return `v${this.#values++}`;
  }

  body(name: string | undefined, value: string): JsonObject {
    const data = { value, copy: value, filler: fillerOf(value) };
    return name === undefined ? { ...configMap('', data), metadata: { generateName: 'made-' } } : configMap(name, data);
  }

  holds(name: string): Promised | undefined {
    return this.#promises.get(name);
  }

  asks(name: string, value: Value): void {
    const { acknowledged, revision } = this.#promises.get(name) ?? { acknowledged: undefined, revision: 0 };
    this.#promises.set(name, { acknowledged, revision, asked: value });
  }

  asksUnnamed(value: string): void {
    this.#unnamed.add(value);
  }

  /** `object`: what was answered, but for a removal. */
  answered(name: string, value: Value, object: JsonObject): void {
    this.acknowledged++;
    this.#unnamed.delete(value ?? '');
    if (value === undefined) {
      this.#promises.delete(name);
      return;
    }
    const revision = Number(metaOf(object).resourceVersion);
    assert.ok(!this.#revisions.has(revision), `revision ${revision} was given out twice, now to ${name}`);
    assert.ok(
      revision > this.#floor,
      `revision ${revision} of ${name} is not above ${this.#floor}, where this run began`,
    );
    this.#revisions.add(revision);
    this.highest = Math.max(this.highest, revision);
    this.#promises.set(name, { acknowledged: value, revision, asked: value });
  }

  /** Compares with a whole list, taken when nobody writes; what it has counts from now on. */
  compare(list: JsonObject): Listed {
    const items = new Map((list.items as readonly JsonObject[]).map((item) => [String(metaOf(item).name), item]));
    const revision = Number(metaOf(list).resourceVersion);
    assert.ok(revision >= this.highest, `the revision went back from ${this.highest} to ${revision}`);
    this.highest = revision;
    this.#floor = revision;
    for (const [name, { acknowledged, asked, revision: promised }] of this.#promises) {
      const item = items.get(name);
      const found = item === undefined ? undefined : getString(item, 'data', 'value');
      const what = `${name}: acknowledged ${acknowledged}, asked for ${asked}, found ${found}`;
      assert.ok(found === acknowledged || found === asked, what);
      if (item === undefined) this.#promises.delete(name);
      else if (found === acknowledged) assert.equal(Number(metaOf(item).resourceVersion), promised, what);
    }
    for (const [name, item] of items) this.#adopt(name, item, revision);
    this.#unnamed.clear();
    return {
      revision,
      objects: new Map([...items].map(([name, item]) => [name, Number(metaOf(item).resourceVersion)])),
    };
  }

  #adopt(name: string, item: JsonObject, highest: number): void {
    const value = getString(item, 'data', 'value') ?? '';
    if (!this.#promises.has(name)) assert.ok(this.#unnamed.delete(value), `${name} holds ${value}: nobody wrote that`);
    assert.equal(getString(item, 'data', 'copy'), value, `${name} is not whole`);
    assert.equal(getString(item, 'data', 'filler'), fillerOf(value), `${name} is not whole`);
    const revision = Number(metaOf(item).resourceVersion);
    assert.ok(revision <= highest, `${name} is at ${revision}, ahead of its list at ${highest}`);
    this.#revisions.add(revision);
    this.#promises.set(name, { acknowledged: value, revision, asked: value });
  }
}

/** The names of a list, and their revisions. */
export interface Listed {
  readonly revision: number;
  readonly objects: ReadonlyMap<string, number>;
}

/** Follows a kind over many watches: what it knows must be what there is, without an event lost, doubled or out of order. */
export class Follower {
  #known = new Map<string, number>();
  revision = 0;
  events = 0;
  restarts = { wentOn: 0, anew: 0 };

  /** Until the watch ends. `listed` was taken when nobody wrote. Throws AssertionError, or what the watch throws. */
  async follow(client: Client, path: string, listed: Listed): Promise<{ readonly ended: Promise<void> }> {
    const open = (): Promise<Watching> => client.watch(`${path}?watch=1&resourceVersion=${this.revision}`);
    const watch = await open();
    return { ended: this.#read(watch, open, listed) };
  }

  async #read(watch: Watching, open: () => Promise<Watching>, listed: Listed): Promise<void> {
    let began: 'unknown' | 'known' = 'unknown';
    for await (const event of watch) {
      if (event.type === 'ERROR') {
        assert.deepEqual([event.object.code, began], [410, 'unknown'], JSON.stringify(event.object));
        this.#known = new Map(listed.objects);
        this.revision = listed.revision;
        this.restarts.anew++;
        return await this.#readOn(await open());
      }
      if (began === 'unknown' && Number(metaOf(event.object).resourceVersion) > listed.revision) {
        // The server let it go on, so it has missed nothing.
        assert.deepEqual(new Map([...this.#known].sort()), new Map([...listed.objects].sort()));
        this.restarts.wentOn++;
        began = 'known';
      }
      this.#take(event);
    }
  }

  async #readOn(watch: Watching): Promise<void> {
    for await (const event of watch) this.#take(event);
  }

  #take({ type, object }: WatchEvent): void {
    const name = String(metaOf(object).name);
    const revision = Number(metaOf(object).resourceVersion);
    assert.ok(revision > this.revision, `${type} ${name} at ${revision} came after ${this.revision}`);
    assert.equal(this.#known.has(name), type !== 'ADDED', `${type} ${name} at ${revision}`);
    if (type === 'DELETED') this.#known.delete(name);
    else this.#known.set(name, revision);
    this.revision = revision;
    this.events++;
  }
}

function fillerOf(value: string): string {
  return value.repeat((Number(value.slice(1)) * 7) % 300);
}
