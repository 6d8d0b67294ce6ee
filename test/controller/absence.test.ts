/** Which objects that are missing are believed to be deleted. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isOlderVersion } from '../../client/index.ts';
import { type AbsenceInput, type AbsenceVerdict, decideAbsences, relateStores } from '../../controller/absence.ts';

const all = (...uids: string[]): AbsenceInput['known'] => uids.map((uid) => ({ uid, deletion: 'unseen' }));
const listing =
  (...uids: string[]) =>
  (uid: string): boolean =>
    uids.includes(uid);
const none: AbsenceVerdict = { gone: [], doubtful: [], held: [], because: undefined };

describe('decideAbsences', () => {
  const cases: { it: string; given: Partial<AbsenceInput>; want: Partial<AbsenceVerdict> }[] = [
    { it: 'ends nothing when all is there', given: { isListed: listing('a', 'b', 'c') }, want: {} },
    {
      it: 'doubts a single one that is missing',
      given: { isListed: listing('b', 'c') },
      want: { doubtful: ['a'] },
    },
    {
      it: 'lets go what was seen to be deleted, however much that is',
      given: { known: ['a', 'b', 'c'].map((uid) => ({ uid, deletion: 'seen' })), isListed: listing() },
      want: { gone: ['a', 'b', 'c'] },
    },
    {
      it: 'holds all when the list is empty',
      given: { isListed: listing() },
      want: { held: ['a', 'b', 'c'], because: 'MassDeletion' },
    },
    {
      it: 'holds two of three, and lets go what was seen to be deleted beside them',
      given: { known: [...all('a', 'b', 'c'), { uid: 'd', deletion: 'unhindered' }], isListed: listing('c') },
      want: { gone: ['d'], held: ['a', 'b'], because: 'MassDeletion' },
    },
    {
      it: 'doubts two of four: half is not more than half',
      given: { known: all('a', 'b', 'c', 'd'), isListed: listing('c', 'd') },
      want: { doubtful: ['a', 'b'] },
    },
    {
      it: 'doubts the only one of a host, since one may be forced out',
      given: { known: all('a'), isListed: listing() },
      want: { doubtful: ['a'] },
    },
    {
      it: 'holds the only one when another store answers',
      given: { known: all('a'), isListed: listing(), store: 'other' },
      want: { held: ['a'], because: 'OtherStore' },
    },
    {
      it: 'holds a single one when the store went back in time',
      given: { isListed: listing('b', 'c'), store: 'older' },
      want: { held: ['a'], because: 'OlderStore' },
    },
    {
      it: 'believes another store that a deletion was seen of before',
      given: { known: [{ uid: 'a', deletion: 'seen' }], isListed: listing(), store: 'other' },
      want: { gone: ['a'] },
    },
    {
      it: 'holds what another store does not have, also what nothing kept from being deleted in the one before',
      given: { known: [{ uid: 'a', deletion: 'unhindered' }], isListed: listing(), store: 'other' },
      want: { held: ['a'], because: 'OtherStore' },
    },
    {
      it: 'counts what was lost in the last minutes: one after the other is a mass, too',
      given: { known: all('c', 'd'), isListed: listing('d'), lostBefore: 2 },
      want: { held: ['c'], because: 'MassDeletion' },
    },
  ];
  for (const { it: title, given, want } of cases)
    it(title, () => {
      const input = { known: all('a', 'b', 'c'), isListed: listing(), store: 'same', lostBefore: 0, ...given } as const;
      assert.deepEqual(decideAbsences(input), { ...none, ...want });
    });
  it('puts each missing object into one class, and ends no more than half of those not seen to be deleted', () => {
    const known = fc.uniqueArray(
      fc.record({ uid: fc.uuid(), deletion: fc.constantFrom('seen', 'unhindered', 'unseen'), isListed: fc.boolean() }),
      {
        selector: ({ uid }) => uid,
        maxLength: 40,
      },
    );
    fc.assert(
      fc.property(known, fc.constantFrom('same', 'other', 'older'), fc.nat(20), (objects, store, lostBefore) => {
        const present = new Set(objects.filter(({ isListed }) => isListed).map(({ uid }) => uid));
        const verdict = decideAbsences({ known: objects, isListed: (uid) => present.has(uid), store, lostBefore });
        const classes = [...verdict.gone, ...verdict.doubtful, ...verdict.held];
        assert.deepEqual(
          [...classes].sort(),
          objects
            .map(({ uid }) => uid)
            .filter((uid) => !present.has(uid))
            .sort(),
        );
        const unseen = objects.filter(({ uid, deletion }) => deletion === 'unseen' || present.has(uid)).length;
        assert.ok(verdict.doubtful.length <= 1 || verdict.doubtful.length * 2 <= unseen + lostBefore);
        assert.ok(store === 'same' || verdict.doubtful.length === 0);
      }),
    );
  });
});

describe('relateStores', () => {
  const cases: { before: Parameters<typeof relateStores>[0]; now: Parameters<typeof relateStores>[1]; want: string }[] =
    [
      { before: undefined, now: { uid: 'a', version: '1' }, want: 'same' },
      { before: { uid: 'a', version: '5' }, now: { uid: 'a', version: '5' }, want: 'same' },
      { before: { uid: 'a', version: '5' }, now: { uid: 'a', version: '40' }, want: 'same' },
      { before: { uid: 'a', version: '40' }, now: { uid: 'a', version: '5' }, want: 'older' },
      { before: { uid: 'a', version: '5' }, now: { uid: 'b', version: '40' }, want: 'other' },
      { before: { uid: 'a', version: '5' }, now: { uid: undefined, version: '6' }, want: 'same' },
      { before: { uid: undefined, version: '5' }, now: { uid: 'b', version: '4' }, want: 'older' },
      { before: { uid: 'a', version: '5' }, now: { uid: 'a', restoration: 'r', version: '40' }, want: 'older' },
      {
        before: { uid: 'a', restoration: 'r', version: '5' },
        now: { uid: 'a', restoration: 'r', version: '40' },
        want: 'same',
      },
      { before: { uid: 'a', restoration: 'r', version: '5' }, now: { uid: undefined, version: '6' }, want: 'same' },
      { before: { uid: 'a', version: 'x9' }, now: { uid: 'a', version: 'x1' }, want: 'same' },
    ];
  for (const { before, now, want } of cases)
    it(`takes ${JSON.stringify(now)} after ${JSON.stringify(before)} for ${want}`, () =>
      assert.equal(relateStores(before, now), want));
  it('compares versions as numbers of any length', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 39n }), fc.bigInt({ min: 0n, max: 10n ** 39n }), (a, b) =>
        assert.equal(isOlderVersion(String(a), String(b)), a < b),
      ),
    );
  });
});
