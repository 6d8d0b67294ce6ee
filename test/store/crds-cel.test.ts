import assert from 'node:assert/strict';
import { createCelRules } from '../../store/cel-rules.ts';
import { formatFieldError } from '../../store/field-errors.ts';
import type { Json, JsonObject } from '../../store/json.ts';
import type { KubeObject } from '../../store/resources.ts';

const { checkRules, rulesOf } = createCelRules();

const port: JsonObject = {
  type: 'object',
  required: ['name'],
  properties: { name: { type: 'string' }, number: { type: 'integer' } },
};

const specProperties: JsonObject = {
  min: { type: 'integer' },
  max: { type: 'integer' },
  ratio: { type: 'number' },
  name: { type: 'string', maxLength: 10_000 },
  other: { type: 'string', maxLength: 100 },
  any: { 'x-kubernetes-int-or-string': true },
  nothing: { type: 'string', nullable: true },
  'a-b': { type: 'string' },
  tags: { type: 'array', maxItems: 100, items: { type: 'string', maxLength: 100 } },
  numbers: { type: 'array', maxItems: 100, items: { type: 'integer' } },
  labels: { type: 'object', maxProperties: 100, additionalProperties: { type: 'string', maxLength: 100 } },
  ports: {
    type: 'array',
    maxItems: 100,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
    items: port,
  },
  when: { type: 'string', format: 'date-time' },
  wait: { type: 'string', format: 'duration' },
};

/** The schema of an object whose spec has these rules, and more in its properties. */
function schemaWith(rules: readonly JsonObject[], properties: JsonObject = {}): JsonObject {
  const spec = {
    type: 'object',
    properties: { ...specProperties, ...properties },
    ...(rules.length > 0 ? { 'x-kubernetes-validations': rules } : {}),
  };
  return { type: 'object', properties: { spec } };
}

function objectWith(spec: JsonObject): KubeObject {
  const metadata = { name: 'x', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' };
  return { apiVersion: 'example.com/v1', kind: 'X', metadata, spec };
}

function validate(schema: JsonObject, spec: JsonObject, old?: JsonObject): readonly string[] {
  const rules = rulesOf({ schema: { openAPIV3Schema: schema } } satisfies Json);
  const previous = old === undefined ? undefined : objectWith(old);
  return rules(objectWith(spec), previous).map(formatFieldError);
}

const spec: JsonObject = {
  min: 1,
  max: 5,
  ratio: 0.5,
  name: 'web-1',
  any: '50%',
  nothing: null,
  'a-b': 'dash',
  tags: ['a', 'b'],
  numbers: [1, 2, 3],
  labels: { app: 'web', constructor: 'own' },
  ports: [{ name: 'http', number: 80 }, { name: 'dns' }],
  when: '2026-11-24T10:00:00Z',
  wait: '1h30m',
};

describe('CEL rules of definitions', () => {
  const truths: readonly string[] = [
    'self.min <= self.max',
    'self.ratio < 1.0 && self.ratio > 0.0',
    'has(self.name) && !has(self.other)',
    "self.?other.orValue('none') == 'none'",
    "self.name.startsWith('web') && self.name.matches('^[a-z]+-[0-9]$')",
    "type(self.any) == string && self.any.endsWith('%')",
    'self.nothing == null',
    "self.a__dash__b == 'dash'",
    "self.tags.all(t, size(t) == 1) && 'a' in self.tags && self.tags == ['a', 'b']",
    'self.numbers.exists_one(n, n == 2) && self.numbers.map(n, n * 2) == [2, 4, 6]',
    'self.numbers.sum() == 6 && self.numbers.isSorted() && self.numbers.max() == 3 && self.numbers.min() == 1',
    "self.tags.indexOf('b') == 1 && self.numbers.filter(n, n > 1).size() == 2",
    "self.labels['app'] == 'web' && 'app' in self.labels && self.labels.all(k, k.size() > 2)",
    "self.ports.exists(p, p.name == 'http' && p.number == 80) && has(self.ports[0].number) && !has(self.ports[1].number)",
    "self.when < timestamp('2027-01-01T00:00:00Z') && self.when.getFullYear() == 2026",
    "self.wait == duration('90m') && self.wait.getHours() == 1",
    "'a-b-c'.split('-').size() == 3 && ['x', 'y'].join('+') == 'x+y' && 'abc'.replace('b', 'x') == 'axc'",
    "'%s has %d at %.1f'.format(['it', 5, 1.25]) == 'it has 5 at 1.3'",
    "'v12 v3'.find('[0-9]+') == '12' && 'v12 v3'.findAll('[0-9]+') == ['12', '3']",
    "url('https://example.com:8080/a?b=1').getPort() == '8080' && isURL('https://x.y') && !isURL('x y')",
    "ip('10.1.2.3').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && !isIP('10.1.2')",
    "quantity('1Gi').isGreaterThan(quantity('1000M')) && quantity('1500m').add(quantity('500m')).asInteger() == 2",
    "!format.dns1123Label().validate('ok').hasValue() && format.named('dns1123Label').value().validate('No').hasValue()",
    'cel.bind(range, self.max - self.min, range == 4)',
    'self.min == 1 ? true : 1 / 0 == 1',
    "optional.none().hasValue() || sets.contains(self.tags, ['a'])",
  ];
  for (const rule of truths) {
    it(`finds true: ${rule}`, () => {
      const schema = schemaWith([{ rule }]);
      assert.deepEqual(checkRules(schema, 'schema').map(formatFieldError), []);
      assert.deepEqual(validate(schema, spec), []);
    });
  }

  const refused: readonly { readonly rules: readonly JsonObject[]; readonly want: RegExp }[] = [
    {
      rules: [{ rule: 'self.nope > 1' }],
      want: /rule: Invalid value: .*compilation failed: ERROR: <input>:1:\d+: undefined field 'nope'/u,
    },
    { rules: [{ rule: 'self.min > "a"' }], want: /compilation failed: .*no such overload/u },
    { rules: [{ rule: 'self.min +' }], want: /compilation failed/u },
    { rules: [{ rule: 'self.min' }], want: /cel expression must evaluate to a bool/u },
    { rules: [{ rule: 'unknown(self.min)' }], want: /compilation failed/u },
    { rules: [{ rule: 'true', messageExpression: 'self.min' }], want: /messageExpression must evaluate to a string/u },
    { rules: [{ rule: 'true', optionalOldSelf: true }], want: /may not be set if oldSelf is not used in rule/u },
  ];
  for (const { rules, want } of refused) {
    it(`refuses ${JSON.stringify(rules)}`, () => {
      assert.match(checkRules(schemaWith(rules), 'schema').map(formatFieldError).join('\n'), want);
    });
  }

  it('refuses oldSelf where old values cannot be told from new ones', () => {
    const items = { type: 'string', maxLength: 9, 'x-kubernetes-validations': [{ rule: 'self == oldSelf' }] };
    const [error, ...more] = checkRules(schemaWith([], { tags: { type: 'array', maxItems: 9, items } }), 'schema');
    assert.ok(error !== undefined && more.length === 0);
    assert.match(
      formatFieldError(error),
      /oldSelf cannot be used on the uncorrelatable portion of the schema within schema\.properties\[spec\]\.properties\[tags\]$/u,
    );
  });

  const failures: readonly {
    readonly it: string;
    readonly schema: JsonObject;
    readonly old?: JsonObject;
    readonly spec?: JsonObject;
    /** Its definition would be refused for what it may cost. */
    readonly isDear?: true;
    readonly want: readonly string[];
  }[] = [
    {
      it: 'names the value and the rule',
      schema: schemaWith([{ rule: 'self.min > self.max' }]),
      want: ['spec: Invalid value: "object": failed rule: self.min > self.max'],
    },
    {
      it: 'says the message, at the field, for the reason',
      schema: schemaWith([
        { rule: 'self.min > 9', message: 'too few', fieldPath: '.min', reason: 'FieldValueForbidden' },
      ]),
      want: ['spec.min: Forbidden: too few'],
    },
    {
      it: 'says what messageExpression makes',
      schema: schemaWith([
        { rule: 'self.min > 9', message: 'no', messageExpression: "'min is %d'.format([self.min])" },
      ]),
      want: ['spec: Invalid value: "object": min is 1'],
    },
    {
      it: 'says the message where messageExpression fails',
      schema: schemaWith([{ rule: 'self.min > 9', message: 'no', messageExpression: "'it is ' + self.other" }]),
      want: ['spec: Invalid value: "object": no'],
    },
    {
      it: 'tells of an error of evaluation',
      schema: schemaWith([{ rule: "self.other == 'x'" }]),
      want: [`spec: Invalid value: "object": no such key: other evaluating rule: self.other == 'x'`],
    },
    {
      it: 'leaves transition rules out where there is nothing old',
      schema: schemaWith([], { name: { type: 'string', 'x-kubernetes-validations': [{ rule: 'self == oldSelf' }] } }),
      want: [],
    },
    {
      it: 'compares with the old value',
      schema: schemaWith([], {
        name: { type: 'string', 'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'is immutable' }] },
      }),
      old: { name: 'web-0' },
      want: ['spec.name: Invalid value: "string": is immutable'],
    },
    {
      it: 'has an empty oldSelf on creation where that is optional',
      schema: schemaWith([
        { rule: 'oldSelf.hasValue() && oldSelf.value().min == self.min', optionalOldSelf: true, message: 'new' },
      ]),
      want: ['spec: Invalid value: "object": new'],
    },
    {
      it: 'finds the old items of a list map by their keys',
      schema: schemaWith([], {
        ports: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: { ...port, 'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'changed' }] },
        },
      }),
      old: { ports: [{ name: 'dns' }, { name: 'http', number: 81 }] },
      want: ['spec.ports[0]: Invalid value: "object": changed'],
    },
    {
      it: 'looks at the values of maps, and at items',
      schema: schemaWith([], {
        labels: {
          type: 'object',
          additionalProperties: { type: 'string', 'x-kubernetes-validations': [{ rule: "self != 'own'" }] },
        },
        numbers: { type: 'array', items: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self < 3' }] } },
      }),
      want: [
        `spec.numbers[2]: Invalid value: "integer": failed rule: self < 3`,
        `spec.labels[constructor]: Invalid value: "string": failed rule: self != 'own'`,
      ],
    },
    {
      it: 'lets pass what an update leaves as it was, but for rules that compare with it',
      schema: schemaWith([{ rule: 'self.min > 9' }], {
        name: {
          type: 'string',
          'x-kubernetes-validations': [{ rule: 'size(self) > 9' }, { rule: 'size(self) > size(oldSelf)' }],
        },
        other: { type: 'string', 'x-kubernetes-validations': [{ rule: 'size(self) > 9' }] },
      }),
      old: { name: 'old', other: 'x', min: 1 },
      spec: { name: 'old', other: 'y', min: 1 },
      want: [
        'spec: Invalid value: "object": failed rule: self.min > 9',
        'spec.name: Invalid value: "string": failed rule: size(self) > size(oldSelf)',
        'spec.other: Invalid value: "string": failed rule: size(self) > 9',
      ],
    },
    {
      it: 'finds what an item was by its keys, or by its place in a list without a type, and in no other list',
      schema: schemaWith([], {
        ports: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: { ...port, 'x-kubernetes-validations': [{ rule: 'self.number > 9' }] },
        },
        numbers: { type: 'array', items: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self > 9' }] } },
        tags: {
          type: 'array',
          'x-kubernetes-list-type': 'atomic',
          items: { type: 'string', 'x-kubernetes-validations': [{ rule: 'size(self) > 9' }] },
        },
      }),
      old: { ports: [{ name: 'a', number: 1 }], numbers: [1, 2], tags: ['a'] },
      spec: {
        ports: [
          { name: 'b', number: 1 },
          { name: 'a', number: 1 },
        ],
        numbers: [1, 3],
        tags: ['a', 'b'],
      },
      want: [
        'spec.ports[0]: Invalid value: "object": failed rule: self.number > 9',
        'spec.numbers[1]: Invalid value: "integer": failed rule: self > 9',
        'spec.tags[0]: Invalid value: "string": failed rule: size(self) > 9',
        'spec.tags[1]: Invalid value: "string": failed rule: size(self) > 9',
      ],
    },
    {
      it: 'lets pass the items of any list that did not change as a whole',
      schema: schemaWith([], {
        tags: {
          type: 'array',
          'x-kubernetes-list-type': 'set',
          items: { type: 'string', 'x-kubernetes-validations': [{ rule: 'size(self) > 9' }] },
        },
      }),
      old: { tags: ['a'], min: 1 },
      spec: { tags: ['a'], min: 2 },
      want: [],
    },
    {
      it: 'ends a rule that costs too much',
      isDear: true,
      schema: schemaWith([{ rule: `${'self.numbers.all(a, '.repeat(9)}true${')'.repeat(9)}` }]),
      spec: { numbers: Array.from({ length: 100 }, (_, index) => index) },
      want: [
        '<nil>: Invalid value: "object": validation failed due to running out of cost budget, no further validation rules will be run',
      ],
    },
    {
      it: 'ends a rule whose text grows without end',
      isDear: true,
      schema: schemaWith([
        {
          rule: `${'cel.bind(a, self.name + self.name, '.repeat(1)}${'cel.bind(a, a + a, '.repeat(40)}a == ""${')'.repeat(41)}`,
        },
      ]),
      want: [
        '<nil>: Invalid value: "object": validation failed due to running out of cost budget, no further validation rules will be run',
      ],
    },
    {
      it: 'is not held up by a pattern that backtracks',
      schema: schemaWith([{ rule: "self.name.matches('^(a+)+$')" }]),
      spec: { name: `${'a'.repeat(5_000)}b` },
      want: [`spec: Invalid value: "object": failed rule: self.name.matches('^(a+)+$')`],
    },
  ];
  for (const { it: title, schema, old, spec: given, isDear, want } of failures) {
    it(title, () => {
      const found = checkRules(schema, 'schema').map(formatFieldError);
      if (isDear === true) assert.match(found.join('\n'), /estimated rule cost exceeds budget/u);
      else assert.deepEqual(found, []);
      assert.deepEqual(validate(schema, given ?? spec, old), want);
    });
  }
});
