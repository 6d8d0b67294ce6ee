import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseDesired } from '../../controller/desired.ts';
import { decideOwnership, type Holder, type Ownership } from '../../controller/ownership.ts';
import type { Container } from '../../crds/index.ts';
import { containerIDOf, formatRenamedFrom, renamedFromAnnotation as key, parseRename } from '../../crds/index.ts';
import { type ObjectOptions, object } from './fixtures.ts';

const named = (name: string, options: ObjectOptions = {}): Container => object({ ...options, name });
const heir = (name: string, from: Container, options: ObjectOptions = {}): Container =>
  named(name, { ...options, annotations: { [key]: formatRenamedFrom(from) } });
const deleting = { deletionTimestamp: '2026-01-02T00:00:00Z' } as const;
const holds = ({ metadata: { uid, namespace, name } }: Container): Holder => ({ uid, namespace, name });

describe('parseRename', () => {
  const web = named('web');
  it('reads what formatRenamedFrom writes, over several renames', () => {
    const second = heir('second', web);
    const third = heir('third', second);
    assert.deepEqual(parseRename(third), {
      kind: 'from',
      name: 'second',
      uid: 'uid-of-second',
      originUid: 'uid-of-web',
    });
    assert.equal(containerIDOf(third), containerIDOf(web));
    assert.match(containerIDOf(web), /^[0-9a-f]{64}$/);
  });
  for (const value of [
    '',
    'web',
    'web/',
    '/x',
    'Web/x',
    'web/x/y/z',
    'web/x y',
    'web/uid-of-new',
    '../etc/x',
    'web/x\n',
  ]) {
    it(`takes ${JSON.stringify(value)} for malformed, which the status tells`, () => {
      const malformed = named('new', { annotations: { [key]: value } });
      assert.equal(parseRename(malformed).kind, 'malformed');
      assert.equal(containerIDOf(malformed), containerIDOf(named('new')));
      assert.match(parseDesired(malformed).problem?.message ?? '', /renamed-from.*NAME\/UID/);
    });
  }
  it('takes any text', () => {
    fc.assert(fc.property(fc.string(), (value) => void parseRename(named('new', { annotations: { [key]: value } }))));
  });
  it('leaves the specs equal, so that nothing is replaced', () => {
    const before = named('web', { spec: { hostname: 'web' } });
    assert.equal(
      parseDesired(heir('new', before, { spec: { hostname: 'web' } })).specHash,
      parseDesired(before).specHash,
    );
  });
});

describe('decideOwnership', () => {
  const old = named('web');
  const oldGoing = named('web', deleting);
  const next = heir('new', old);
  const nextOwning = { ...next, status: { containerID: containerIDOf(next) } };
  const other = heir('other', old);
  const stranger = heir('stranger', old, { namespace: 'elsewhere' });
  const third = heir('third', next);
  const cases: {
    it: string;
    given: { object: Container; rivals?: Container[]; holder?: Container };
    want: Ownership['kind'] | 'RenamePending' | 'RenameConflict';
  }[] = [
    { it: 'is its own without any rename', given: { object: old }, want: 'own' },
    { it: 'is its own while another only wants it', given: { object: old, rivals: [next], holder: old }, want: 'own' },
    {
      it: 'is waited for while its owner stays',
      given: { object: next, rivals: [old], holder: old },
      want: 'RenamePending',
    },
    {
      it: 'is taken over when its owner is being deleted',
      given: { object: next, rivals: [oldGoing], holder: old },
      want: 'adopt',
    },
    { it: 'is taken over when its owner is gone', given: { object: next, holder: old }, want: 'adopt' },
    {
      it: 'is left to the heir by an owner that is being deleted',
      given: { object: oldGoing, rivals: [next], holder: old },
      want: 'hand-over',
    },
    {
      it: 'is stopped by an owner that is being deleted without an heir',
      given: { object: oldGoing, holder: old },
      want: 'own',
    },
    {
      it: 'is stopped if the heir is being deleted too',
      given: { object: oldGoing, rivals: [{ ...next, metadata: { ...next.metadata, ...deleting } }], holder: old },
      want: 'own',
    },
    {
      it: 'is not the former owner’s any more',
      given: { object: oldGoing, rivals: [nextOwning], holder: next },
      want: 'let-go',
    },
    {
      it: 'keeps the former owner until what it remembered is written down',
      given: { object: oldGoing, rivals: [next], holder: next },
      want: 'hand-over',
    },
    { it: 'is its heir’s from then on', given: { object: next, rivals: [oldGoing], holder: next }, want: 'own' },
    {
      it: 'goes to the older of two heirs',
      given: { object: next, rivals: [oldGoing, other], holder: old },
      want: 'adopt',
    },
    {
      it: 'does not go to the younger of two heirs',
      given: { object: other, rivals: [oldGoing, next], holder: old },
      want: 'RenameConflict',
    },
    {
      it: 'stays with the heir who has it',
      given: { object: other, rivals: [next], holder: next },
      want: 'RenameConflict',
    },
    {
      it: 'does not go to another namespace',
      given: { object: stranger, rivals: [oldGoing], holder: old },
      want: 'RenameConflict',
    },
    {
      it: 'does not go to another namespace, its owner gone',
      given: { object: stranger, holder: old },
      want: 'RenameConflict',
    },
    {
      it: 'is nothing to an object that is being deleted and never had it',
      given: { object: { ...next, metadata: { ...next.metadata, ...deleting } }, rivals: [old], holder: old },
      want: 'let-go',
    },
    {
      it: 'is renamed on',
      given: { object: third, rivals: [{ ...next, metadata: { ...next.metadata, ...deleting } }], holder: next },
      want: 'adopt',
    },
    {
      it: 'is not renamed on past its owner',
      given: { object: third, rivals: [oldGoing, next], holder: old },
      want: 'RenameConflict',
    },
    { it: 'is made by the first, if there is none', given: { object: old, rivals: [next] }, want: 'own' },
    {
      it: 'is not made by an heir while the first stays',
      given: { object: next, rivals: [old] },
      want: 'RenamePending',
    },
    { it: 'is made by the heir when the first goes', given: { object: next, rivals: [oldGoing] }, want: 'own' },
    { it: 'is made by the heir of one that never was', given: { object: next }, want: 'own' },
    {
      it: 'is not made in another namespace while the first stays',
      given: { object: stranger, rivals: [old] },
      want: 'RenameConflict',
    },
    { it: 'is made by one of two heirs', given: { object: next, rivals: [other] }, want: 'own' },
    { it: 'is not made by the other', given: { object: other, rivals: [next] }, want: 'RenameConflict' },
    {
      it: 'is nothing to clean up after while an heir has a use for it',
      given: { object: oldGoing, rivals: [next] },
      want: 'let-go',
    },
  ];
  for (const { it: title, given, want } of cases) {
    it(title, () => {
      const { object: one, rivals = [], holder } = given;
      const containerID = containerIDOf(one);
      assert.ok(rivals.every((rival) => containerIDOf(rival) === containerID));
      const result = decideOwnership({ object: one, containerID, rivals, holder: holder && holds(holder) });
      assert.equal(result.kind === 'wait' ? result.reason : result.kind, want, JSON.stringify(result));
    });
  }
  it('never lets two have one container, or make one', () => {
    const pool = [
      old,
      oldGoing,
      next,
      nextOwning,
      other,
      stranger,
      third,
      { ...next, metadata: { ...next.metadata, ...deleting } },
    ];
    fc.assert(
      fc.property(
        fc.subarray(pool),
        fc.option(fc.constantFrom(old, next, other), { nil: undefined }),
        (some, holder) => {
          const all = [...new Map(some.map((one) => [one.metadata.uid, one])).values()];
          const owners = all.filter((one) => {
            const rivals = all.filter((rival) => rival !== one);
            const input = { object: one, containerID: containerIDOf(one), rivals, holder: holder && holds(holder) };
            const { kind } = decideOwnership(input);
            return (kind === 'own' && one.metadata.deletionTimestamp === undefined) || kind === 'adopt';
          });
          assert.ok(owners.length <= 1, owners.map(({ metadata }) => metadata.name).join());
        },
      ),
    );
  });
});
