/**
 * What rules are estimated to cost. The first table is that of apiextensions-apiserver's own tests
 * (pkg/apiserver/schema/cel/compilation_test.go, TestCostEstimation): the same figures, to the unit.
 */
import assert from 'node:assert/strict';
import { Budget } from '../../store/cel-budget.ts';
import { compileRules } from '../../store/cel-compile.ts';
import { createCelLibrary } from '../../store/cel-library.ts';
import { createCelRules } from '../../store/cel-rules.ts';
import { formatFieldError } from '../../store/field-errors.ts';
import type { JsonObject } from '../../store/json.ts';

const budget = new Budget();
const library = createCelLibrary(budget);

/** The schema of an array is not that of an object of Kubernetes: its rule stands one below. */
function costOf(schema: JsonObject, rule: string): number {
  const value = { ...schema, 'x-kubernetes-validations': [{ rule }] };
  const { root } = compileRules({ type: 'object', properties: { value } }, '', library(), budget);
  const [compiled] = root?.properties.get('value')?.rules ?? [];
  assert.ok(compiled !== undefined, `${rule} does not compile`);
  return compiled.cost;
}

type Make = (max?: number) => JsonObject;
const bound = (keyword: string, max: number | undefined): JsonObject => (max === undefined ? {} : { [keyword]: max });
const scalars: Readonly<Record<string, JsonObject>> = {
  'int-or-string': { 'x-kubernetes-int-or-string': true },
  duration: { type: 'string', format: 'duration' },
  date: { type: 'string', format: 'date' },
  'date-time': { type: 'string', format: 'date-time' },
};
const of = (type: string): JsonObject => scalars[type] ?? { type };
const array =
  (type: string): Make =>
  (max) => ({ type: 'array', items: of(type), ...bound('maxItems', max) });
const map =
  (type: string): Make =>
  (max) => ({ type: 'object', additionalProperties: of(type), ...bound('maxProperties', max) });
const text: Make = (max) => ({ type: 'string', ...bound('maxLength', max) });
const bytes: Make = (max) => ({ type: 'string', format: 'byte', ...bound('maxLength', max) });
const arrays: Make = (max) => ({ type: 'array', items: array('number')(), ...bound('maxItems', max) });
const mapArray: Make = (max) => ({ type: 'array', items: map('number')(), ...bound('maxItems', max) });
const object = {
  type: 'object',
  required: ['required'],
  properties: { required: { type: 'string' }, optional: { type: 'string' } },
};
const objects: Make = (max) => ({ type: 'array', items: object, ...bound('maxItems', max) });
const nested: Make = (max) => ({ type: 'object', additionalProperties: text(max), ...bound('maxProperties', max) });
const mapsOfObjects: Make = (max) => ({
  type: 'array',
  items: { type: 'object', additionalProperties: object, ...bound('maxProperties', max) },
  ...bound('maxItems', max),
});

const dear = 'too much';
const cases: readonly (readonly [
  it: string,
  make: Make,
  rule: string,
  open: number | typeof dear,
  max: number,
  bounded: number,
])[] = [
  ['number array with all', array('number'), 'self.all(x, true)', 4_718_591, 10, 32],
  ['string array with all', array('string'), 'self.all(x, true)', 3_145_727, 20, 62],
  ['boolean array with all', array('boolean'), 'self.all(x, true)', 1_887_437, 5, 17],
  ['array of number arrays with all', arrays, 'self.all(x, true)', 3_145_727, 100, 302],
  ['array of objects with all', objects, 'self.all(x, true)', 555_128, 50, 152],
  ['map of numbers with all', map('number'), 'self.all(x, true)', 1_348_169, 10, 32],
  ['map of strings with all', map('string'), 'self.all(x, true)', 1_179_647, 3, 11],
  ['map of booleans with all', map('boolean'), 'self.all(x, true)', 943_718, 100, 302],
  ['string with contains', text, "self.contains('test')", 314_574, 10, 5],
  ['string with startsWith', text, "self.startsWith('test')", 2, 15, 2],
  ['string with endsWith', text, "self.endsWith('test')", 2, 30, 2],
  ['concat string', text, 'size(self + "hello") > size("hello")', 314_578, 4, 7],
  ['index of array with numbers', array('number'), 'self[1] == 0.0', 2, 5_000, 2],
  ['index of array with strings', array('string'), 'self[1] == self[1]', 314_577, 8, 314_577],
  ['O(n^2) loop with numbers', array('number'), 'self.all(x, self.all(y, true))', dear, 10, 352],
  ['O(n^3) loop with numbers', array('number'), 'self.all(x, self.all(y, self.all(z, true)))', dear, 10, 3_552],
  ['regex matches simple', text, 'self.matches("x")', 314_574, 50, 22],
  ['regex matches empty string', text, '"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7],
  ['regex matches empty regex', text, 'self.matches("")', 1, 100, 1],
  ['map of strings with value length', nested, 'self.all(x, x.contains(self[x]))', 2_752_507, 10, 72],
  ['set array maxLength to zero', array('number'), 'self[3] == 0.0', 2, 0, 2],
  ['set map maxLength to zero', map('number'), 'self["x"] == 0.0', 2, 0, 2],
  ['set string maxLength to zero', text, 'self == "x"', 2, 0, 1],
  ['set bytes maxLength to zero', bytes, 'self == b"x"', 2, 0, 1],
  [
    'maxLength greater than estimated',
    array('number'),
    'self.all(x, x == 0.0)',
    6_291_454,
    3 * 1024 * 2048,
    25_165_826,
  ],
  ['nested types', mapsOfObjects, 'self.all(x, x["y"].required == "z")', 7_340_027, 10, 72],
  ['int-or-string array with all', array('int-or-string'), 'self.all(x, true)', 4_718_591, 10, 32],
  ['index of array with int-or-strings', array('int-or-string'), 'self[0] == 5', 3, 10, 3],
  ['index of array with booleans', array('boolean'), 'self[0] == false', 2, 25, 2],
  ['index of array of array of numbers', arrays, 'self[0][0] == -1.0', 3, 51, 3],
  ['array of number maps with all', mapArray, 'self.all(x, x.y == 25.2)', 6_291_452, 12, 74],
  ['index of array of number maps', mapArray, 'self[0].x > 2.0', 4, 3_000, 4],
  ['duration array with all', array('duration'), 'self.all(x, true)', 2_359_295, 5, 17],
  ['index of duration array', array('duration'), 'self[0].getHours() == 2', 4, 525, 4],
  ['date array with all', array('date'), 'self.all(x, true)', 725_936, 15, 47],
  ['index of date array', array('date'), 'self[2].getDayOfMonth() == 13', 4, 42, 4],
  ['date-time array with all', array('date-time'), 'self.all(x, true)', 428_963, 25, 77],
  ['index of date-time array', array('date-time'), 'self[2].getMinutes() == 45', 4, 99, 4],
];

describe('the cost of a rule, as kube-apiserver estimates it', () => {
  for (const [title, make, rule, open, max, bounded] of cases) {
    it(title, () => {
      const found = costOf(make(), rule);
      if (open === dear) assert.ok(found > 10_000_000, `${found} is little`);
      else assert.equal(found, open);
      assert.equal(costOf(make(max), rule), bounded);
    });
  }
});

describe('the cost of a rule, by the parts of its expression', () => {
  const schema: JsonObject = {
    type: 'object',
    properties: {
      l: { type: 'array', maxItems: 10, items: { type: 'string', maxLength: 5 } },
      m: { type: 'object', maxProperties: 10, additionalProperties: { type: 'string', maxLength: 5 } },
      s: { type: 'string', maxLength: 25 },
      n: { type: 'integer' },
    },
  };
  // Worked out by hand from cel-go: a name 1, a field 1, a constant 0, a call 1, a list 10, a map 30, ten letters 1.
  const parts: readonly (readonly [rule: string, cost: number])[] = [
    ['true', 0],
    ['self.n > 1', 3],
    ['self.n > 1 && self.n < 5', 6],
    ['self.n > 1 ? self.s.size() > 1 : true', 3 + 4],
    ['has(self.s)', 1],
    ['!has(self.s)', 2],
    ["self.s == 'abc'", 2 + 1],
    ['self.s == self.s', 4 + 10],
    ["self.s in ['a', 'b']", 2 + 10 + 2],
    ["'a' in self.l", 2 + 10],
    ["'a' in self.m", 2 + 1],
    ["self.l.exists(x, x == 'a')", 2 + 1 + 10 * (4 + 2)],
    ["self.l.exists_one(x, x == 'a')", 2 + 2 + 10 * (2 + 2)],
    ["self.l.filter(x, x == 'a').size() > 0", 2 + 11 + 10 * (13 + 2) + 1 + 1],
    ["self.l.map(x, x + 'a').size() > 0", 2 + 11 + 10 * (12 + 1 + 3) + 1 + 1],
    ["self.l.map(x, x == 'a', x).size() > 0", 2 + 11 + 10 * (12 + 2 + 1) + 1 + 1],
    ['self.l.all(a, self.l.all(b, a == b))', 2 + 1 + 10 * (3 + 2 + 1 + 10 * (3 + 2 + 2))],
    ['cel.bind(v, self.l, v.size() == 1)', 10 + 2 + 1 + 1 + 1],
    ["self.s.lowerAscii() == 'a'", 2 + 10 + 1],
    ["self.s.split(',').size() > 0", 2 + 20 + 1 + 1],
    ["self.l.join(',').size() > 0", 2 + 21 + 1 + 1],
    ["self.s.find('[0-9]') == ''", 2 + 11 * 2 + 0],
    ["quantity(self.s).isLessThan(quantity('1'))", 3 + 1 + 1],
    ["sets.contains(self.l, ['a'])", 2 + 10 + 10 + 1],
  ];
  for (const [rule, cost] of parts) it(`${rule} costs ${cost}`, () => assert.equal(costOf(schema, rule), cost));

  it('is without end where a text comes of a number', () => {
    assert.equal(costOf(schema, "'a' + string(self.n) == 'a1'"), Number.POSITIVE_INFINITY);
  });
});

describe('the cost of the rules of a schema', () => {
  const { checkRules } = createCelRules();
  const check = (schema: JsonObject): readonly string[] => checkRules(schema, 'schema').map(formatFieldError);
  const advice =
    '(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)';
  const at = (path: string) => `schema.properties[v].${path}x-kubernetes-validations[0].rule`;
  const wrap = (v: JsonObject): JsonObject => ({ type: 'object', properties: { v } });

  it('refuses a rule that may cost more than one may, and says by how much', () => {
    const l = { type: 'array', maxItems: 1_000, items: { type: 'integer' } };
    const rules = [{ rule: 'self.all(a, self.all(b, self.all(c, true)))' }];
    assert.deepEqual(check(wrap({ ...l, 'x-kubernetes-validations': rules })).slice(0, 1), [
      `${at('')}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x ${advice}`,
    ]);
    const twice = { ...l, maxItems: 2_000, 'x-kubernetes-validations': [{ rule: 'self.all(a, self.all(b, a == b))' }] };
    assert.deepEqual(check(wrap(twice)), [
      `${at('')}: Forbidden: estimated rule cost exceeds budget by factor of 2.0x ${advice}`,
    ]);
  });

  it('counts a rule as often as there may be values that have it', () => {
    const item = { type: 'string', maxLength: 1_000, 'x-kubernetes-validations': [{ rule: "self.contains('a')" }] };
    assert.deepEqual(check(wrap({ type: 'array', maxItems: 10_000, items: item })), []);
    const bounded = wrap({ type: 'array', maxItems: 100_000, items: item });
    assert.deepEqual(check(bounded), [
      `${at('items.')}: Forbidden: estimated rule cost exceeds budget by factor of 4.0x ${advice}`,
    ]);
    const open = wrap({ type: 'array', items: item });
    // As many as the smallest text, "", goes into a request: 3 MiB / 3.
    assert.deepEqual(check(open), [
      `${at('items.')}: Forbidden: estimated rule cost exceeds budget by factor of 42.0x ${advice}`,
      `${at('items.')}: Forbidden: contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema`,
      `schema: Forbidden: x-kubernetes-validations estimated rule & messageExpression cost total for entire OpenAPIv3 schema exceeds budget by factor of 4.2x ${advice}`,
    ]);
  });

  it('refuses a message that may cost too much', () => {
    const rules = [{ rule: 'self > 1', messageExpression: "'it is ' + string(self)" }];
    const [first = ''] = check(wrap({ type: 'integer', 'x-kubernetes-validations': rules }));
    assert.match(
      first,
      /\.messageExpression: Forbidden: estimated messageExpression cost exceeds budget by factor of more than 100x/u,
    );
  });

  it('refuses many rules that cost too much together, and names the dearest', () => {
    const rules = Array.from({ length: 12 }, () => ({ rule: 'self.all(a, self.all(b, a == b))' }));
    const errors = check(
      wrap({ type: 'array', maxItems: 1_300, items: { type: 'integer' }, 'x-kubernetes-validations': rules }),
    );
    assert.equal(errors.filter((error) => error.includes('estimated rule cost exceeds')).length, 0);
    assert.equal(errors.filter((error) => error.includes('contributed to')).length, 4);
    assert.match(errors.at(-1) ?? '', /^schema: Forbidden: .* exceeds budget by factor of 1\.0\d{5}x/u);
  });
});
