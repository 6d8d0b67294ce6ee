/**
 * The schema of CustomResourceDefinition itself (apiextensions.k8s.io/v1). Pure. JSONSchemaProps holds itself, so its
 * compiled form is a ring, and its published form ends at the first level.
 */
import { root, text } from './core-kinds.ts';
import { type CompiledSchema, compileSchema, type OpenApiSchema } from './schema.ts';

const yes = (description: string): OpenApiSchema => ({ type: 'boolean', description });
const whole = (description: string): OpenApiSchema => ({ type: 'integer', format: 'int64', description });
const number = (description: string): OpenApiSchema => ({ type: 'number', description });
const anyValue = (description: string): OpenApiSchema => ({
  'x-kubernetes-preserve-unknown-fields': true,
  description,
});
const list = (description: string, items: OpenApiSchema, type = 'atomic'): OpenApiSchema => ({
  type: 'array',
  description,
  items,
  'x-kubernetes-list-type': type,
});
const object = (
  description: string,
  properties: Readonly<Record<string, OpenApiSchema>>,
  required: readonly string[] = [],
): OpenApiSchema => ({ type: 'object', description, properties, ...(required.length > 0 ? { required } : {}) });

const texts = (description: string): OpenApiSchema => list(description, { type: 'string' });

const names = (description: string): OpenApiSchema =>
  object(description, {
    categories: texts('Groups of kinds that this one belongs to, such as all.'),
    kind: text('The kind in CamelCase and singular.'),
    listKind: text('The kind of a list of it; KIND followed by List if it is not given.'),
    plural: text('The plural in lower case, which is part of the path.'),
    shortNames: texts('Short names, for kubectl.'),
    singular: text('The singular in lower case; the kind in lower case if it is not given.'),
  });

/** One rule of x-kubernetes-validations. */
const rule = object(
  'A rule in CEL.',
  {
    fieldPath: text('Path of the field that an error names.'),
    message: text('What an error says.'),
    messageExpression: text('An expression for what an error says.'),
    optionalOldSelf: yes('Whether the rule holds on creation too, where oldSelf is empty.'),
    reason: text(
      'Reason of an error: FieldValueInvalid, FieldValueForbidden, FieldValueRequired or FieldValueDuplicate.',
    ),
    rule: text('The expression that must be true.'),
  },
  ['rule'],
);

/** The keywords of JSONSchemaProps that hold no schema. */
const plainKeywords: Readonly<Record<string, OpenApiSchema>> = {
  $ref: text('Not supported.'),
  $schema: text('Not supported.'),
  default: anyValue('The value of the field if it is not given.'),
  description: text('What the field is, for people.'),
  enum: list('The values allowed.', anyValue('A value.')),
  example: anyValue('An example.'),
  exclusiveMaximum: yes('Whether the maximum itself is not allowed.'),
  exclusiveMinimum: yes('Whether the minimum itself is not allowed.'),
  externalDocs: object('Where more is said.', { description: text('What is there.'), url: text('The address.') }),
  format: text('Format of the value, such as date-time.'),
  id: text('Not supported.'),
  maximum: number('The greatest value allowed.'),
  maxItems: whole('The most items allowed.'),
  maxLength: whole('The most characters allowed.'),
  maxProperties: whole('The most members allowed.'),
  minimum: number('The least value allowed.'),
  minItems: whole('The fewest items allowed.'),
  minLength: whole('The fewest characters allowed.'),
  minProperties: whole('The fewest members allowed.'),
  multipleOf: number('The value must be a multiple of it.'),
  nullable: yes('Whether null is allowed.'),
  pattern: text('A regular expression that the value must match.'),
  required: texts('Members that must be there.'),
  title: text('A title, for people.'),
  type: text('Type of the value.'),
  uniqueItems: yes('Not supported.'),
  'x-kubernetes-embedded-resource': yes('Whether the value is a whole object of Kubernetes.'),
  'x-kubernetes-int-or-string': yes('Whether the value is a whole number or a string.'),
  'x-kubernetes-list-map-keys': texts('Members that tell the items of a list of type map apart.'),
  'x-kubernetes-list-type': text('How the list is merged: atomic, set or map.'),
  'x-kubernetes-map-type': text('How the object is merged: atomic or granular.'),
  'x-kubernetes-preserve-unknown-fields': yes('Whether fields that are not named are kept.'),
  'x-kubernetes-validations': list('Rules in CEL.', rule),
};

const schemaLists = ['allOf', 'anyOf', 'oneOf'];
const schemaMaps = ['definitions', 'dependencies', 'patternProperties', 'properties'];
/** May be a schema, or something else: a list of schemas, or true. */
const schemaOrOther = ['additionalItems', 'additionalProperties', 'items'];

const publishedProps: OpenApiSchema = {
  ...object('The structural schema of a version.', plainKeywords),
  'x-kubernetes-preserve-unknown-fields': true,
};

const column = object(
  'A column of kubectl get.',
  {
    description: text('What the column shows.'),
    format: text('Format of the type, such as int32.'),
    jsonPath: text('Where in the object the value is, like .spec.replicas.'),
    name: text('Heading of the column.'),
    priority: { type: 'integer', format: 'int32', description: 'Columns above 0 are shown by -o wide only.' },
    type: text('integer, number, string, boolean or date.'),
  },
  ['jsonPath', 'name', 'type'],
);

const version = object(
  'A version of the kind.',
  {
    additionalPrinterColumns: list('Columns of kubectl get; the age if none are given.', column),
    deprecated: yes('Whether clients of the version are warned.'),
    deprecationWarning: text('What clients of a deprecated version are told.'),
    name: text('Name of the version, such as v1.'),
    schema: object('How objects of the version look.', { openAPIV3Schema: publishedProps }),
    selectableFields: list(
      'Fields that a field selector may name.',
      object('A field.', { jsonPath: text('Where the field is, like .spec.color.') }, ['jsonPath']),
    ),
    served: yes('Whether the version is served.'),
    storage: yes('Whether objects are stored as this version: true for exactly one.'),
    subresources: object('What is below each object.', {
      scale: object(
        'The subresource scale.',
        {
          labelSelectorPath: text('Where the selector of what is counted is, as text.'),
          specReplicasPath: text('Where the wanted number is, below .spec.'),
          statusReplicasPath: text('Where the number there is, below .status.'),
        },
        ['specReplicasPath', 'statusReplicasPath'],
      ),
      status: { ...object('The subresource status.', {}), 'x-kubernetes-preserve-unknown-fields': true },
    }),
  },
  ['name', 'served', 'storage'],
);

const condition = object(
  'One thing that is true of the definition or not.',
  {
    lastTransitionTime: { ...text('When the status last changed.'), format: 'date-time' },
    message: text('Details for people.'),
    observedGeneration: whole('The generation that it was found for.'),
    reason: text('One word for it.'),
    status: text('True, False or Unknown.'),
    type: text('Established, NamesAccepted or Terminating.'),
  },
  ['type', 'status'],
);

export const crdOpenApi: OpenApiSchema = root(
  'CustomResourceDefinition describes a kind that the server serves beside its own.',
  {
    spec: object(
      'What the kind is.',
      {
        conversion: object(
          'How objects get from version to version.',
          {
            strategy: text('None: only apiVersion changes. Webhooks are not supported by this server.'),
            webhook: { ...object('Not supported.', {}), 'x-kubernetes-preserve-unknown-fields': true },
          },
          ['strategy'],
        ),
        group: text('The group, which is part of the path.'),
        names: { ...names('What the kind is called.'), required: ['kind', 'plural'] },
        preserveUnknownFields: yes('Must be false.'),
        scope: text('Cluster or Namespaced.'),
        versions: list('The versions of the kind.', version),
      },
      ['group', 'names', 'scope', 'versions'],
    ),
    status: object('What is true of the definition now.', {
      acceptedNames: names('The names that are served.'),
      conditions: {
        ...list('Details.', condition, 'map'),
        'x-kubernetes-list-map-keys': ['type'],
      },
      storedVersions: texts('Versions that objects have been stored as.'),
    }),
  },
  ['spec'],
);

/** Compiled; JSONSchemaProps at every depth. */
export function compileCrdSchema(): CompiledSchema {
  const compiled = compileSchema(crdOpenApi, 'CustomResourceDefinition');
  const blank = compileSchema({});
  const keywords = new Map(compileSchema({ type: 'object', properties: plainKeywords }).properties);
  const props: CompiledSchema = { ...compileSchema({ type: 'object' }), properties: keywords };
  for (const key of [...schemaLists, ...schemaMaps]) {
    const isList = schemaLists.includes(key);
    const holder = compileSchema({ type: isList ? 'array' : 'object' });
    keywords.set(key, isList ? { ...holder, items: props } : { ...holder, additional: props });
  }
  keywords.set('not', props);
  // A schema in the place of true or of a list is walked; what else stands there is validated by crd-validate.ts.
  for (const key of schemaOrOther) keywords.set(key, { ...blank, properties: keywords, items: props });
  const replace = (schema: CompiledSchema, path: readonly string[]): CompiledSchema => {
    const [first, ...rest] = path;
    if (first === undefined) return props;
    if (first === '[]') return { ...schema, items: replace(schema.items ?? blank, rest) };
    const properties = new Map(schema.properties);
    properties.set(first, replace(properties.get(first) ?? blank, rest));
    return { ...schema, properties };
  };
  return replace(compiled, ['spec', 'versions', '[]', 'schema', 'openAPIV3Schema']);
}
