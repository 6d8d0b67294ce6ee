/** The kinds of rbac.authorization.k8s.io/v1 and core/v1 ServiceAccount, as data. Pure. Rules: Kubernetes' pkg/apis/rbac/validation. */
import { column, core, root, text } from '../core-kinds.ts';
import type { FieldError } from '../field-errors.ts';
import {
  getOwn,
  getPath,
  getString,
  isJsonArray,
  isJsonObject,
  type Json,
  type JsonObject,
  jsonEqual,
} from '../json.ts';
import { checkName } from '../object-meta.ts';
import { ageColumn, type KubeObject, nameColumn, type ResourceKind } from '../resources.ts';
import type { OpenApiSchema } from '../schema.ts';
import { countPieces, maxPieces, parseRules } from './policy-rules.ts';

export const rbacGroup = 'rbac.authorization.k8s.io';

const list = (description: string, items: OpenApiSchema = { type: 'string' }): OpenApiSchema => ({
  type: 'array',
  description,
  items,
  'x-kubernetes-list-type': 'atomic',
});

const policyRules = list('What is allowed; nothing else is.', {
  type: 'object',
  required: ['verbs'],
  description: 'Verbs on resources, or on paths that are no resources.',
  properties: {
    apiGroups: list('API groups; "" is the core group, * all of them.'),
    nonResourceURLs: list('Paths that are no resources; a * at the end stands for any rest.'),
    resourceNames: list('Names of objects; empty: all.'),
    resources: list('Resources, or RESOURCE/SUBRESOURCE; * is all of them.'),
    verbs: list('Verbs, such as get; * is all of them.'),
  },
});

const roleRef: OpenApiSchema = {
  type: 'object',
  required: ['apiGroup', 'kind', 'name'],
  description: 'The role that is bound. It cannot be changed: delete the binding and make another.',
  properties: {
    apiGroup: { ...text('rbac.authorization.k8s.io.'), default: rbacGroup },
    kind: text('Role or ClusterRole.'),
    name: text('Its name.'),
  },
};

const subjects = list('Who gets what the role allows.', {
  type: 'object',
  required: ['kind', 'name'],
  properties: {
    apiGroup: text('"" for service accounts, rbac.authorization.k8s.io for users and groups.'),
    kind: text('User, Group or ServiceAccount.'),
    name: text('Its name.'),
    namespace: text('Namespace of a service account.'),
  },
});

type RbacKind = Pick<ResourceKind, 'kind' | 'plural' | 'isNamespaced' | 'openApi' | 'columns'> & Partial<ResourceKind>;

function rbac(kind: RbacKind): ResourceKind {
  return core({
    ...kind,
    group: rbacGroup,
    nameRule: 'segment',
    storageKey: `${kind.plural}.${rbacGroup}`,
    definitionName: `io.k8s.api.rbac.v1.${kind.kind}`,
  });
}

const createdColumn = { ...ageColumn, name: 'Created At', type: 'date' };
const roleColumns = [nameColumn, { ...createdColumn, type: 'string' }];

export const roleKind = rbac({
  kind: 'Role',
  plural: 'roles',
  isNamespaced: true,
  openApi: root('Role is what may be done in its namespace.', { rules: policyRules }),
  columns: roleColumns,
  validate: (role) => validateRules(role, 'namespaced'),
});

export const clusterRoleKind = rbac({
  kind: 'ClusterRole',
  plural: 'clusterroles',
  isNamespaced: false,
  openApi: root('ClusterRole is what may be done in all namespaces, or in that of a RoleBinding.', {
    aggregationRule: {
      type: 'object',
      description: 'The rules are those of all ClusterRoles that a selector picks.',
      properties: {
        clusterRoleSelectors: list('A ClusterRole that any of these picks is part.', {
          type: 'object',
          properties: {
            matchLabels: {
              type: 'object',
              additionalProperties: { type: 'string' },
              description: 'Labels it must have.',
            },
            matchExpressions: list('What must be true of its labels.', {
              type: 'object',
              required: ['key', 'operator'],
              properties: {
                key: text('Key of the label.'),
                operator: text('In, NotIn, Exists or DoesNotExist.'),
                values: list('Values for In and NotIn.'),
              },
            }),
          },
        }),
      },
    },
    rules: policyRules,
  }),
  columns: roleColumns,
  validate: (role) => [...validateRules(role, 'cluster'), ...validateAggregation(role)],
});

const subjectNames =
  (kind: string) =>
  (object: JsonObject): string =>
    subjectsOf(object)
      .filter((subject) => subject.kind === kind)
      .map(({ namespace, name }) => (kind === 'ServiceAccount' ? `${namespace}/${name}` : name))
      .join(', ');

const bindingColumns = [
  nameColumn,
  column(
    'Role',
    'string',
    (object) => `${getString(object, 'roleRef', 'kind')}/${getString(object, 'roleRef', 'name')}`,
  ),
  ageColumn,
  column('Users', 'string', subjectNames('User'), 1),
  column('Groups', 'string', subjectNames('Group'), 1),
  column('ServiceAccounts', 'string', subjectNames('ServiceAccount'), 1),
];

export const roleBindingKind = rbac({
  kind: 'RoleBinding',
  plural: 'rolebindings',
  isNamespaced: true,
  openApi: root('RoleBinding gives a role to subjects, in its namespace.', { roleRef, subjects }, ['roleRef']),
  columns: bindingColumns,
  prepare: defaultSubjects,
  validate: (binding, previous) => validateBinding(binding, previous, ['Role', 'ClusterRole']),
});

export const clusterRoleBindingKind = rbac({
  kind: 'ClusterRoleBinding',
  plural: 'clusterrolebindings',
  isNamespaced: false,
  openApi: root('ClusterRoleBinding gives a ClusterRole to subjects, in all namespaces.', { roleRef, subjects }, [
    'roleRef',
  ]),
  columns: bindingColumns,
  prepare: defaultSubjects,
  validate: (binding, previous) => validateBinding(binding, previous, ['ClusterRole']),
});

const references = (description: string): OpenApiSchema => ({
  type: 'array',
  description,
  items: { type: 'object', properties: { name: text('Name of the object.') } },
});

export const serviceAccountKind = core({
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  shortNames: ['sa'],
  isNamespaced: true,
  subresources: [
    {
      name: 'token',
      kind: 'TokenRequest',
      group: 'authentication.k8s.io',
      version: 'v1',
      verbs: ['create'],
    },
  ],
  openApi: root('ServiceAccount is an identity for programs.', {
    automountServiceAccountToken: {
      type: 'boolean',
      description: 'Whether containers get a token; kept for others, not used here.',
    },
    imagePullSecrets: references('Secrets for pulling images; kept for others, not used here.'),
    secrets: {
      type: 'array',
      description: 'Secrets that belong to it.',
      'x-kubernetes-patch-strategy': 'merge',
      'x-kubernetes-patch-merge-key': 'name',
      items: {
        type: 'object',
        properties: {
          apiVersion: text('API version of the object.'),
          fieldPath: text('Part of the object.'),
          kind: text('Kind of the object.'),
          name: text('Name of the object.'),
          namespace: text('Namespace of the object.'),
          resourceVersion: text('Revision of the object.'),
          uid: text('Unique id of the object.'),
        },
      },
    },
  }),
  columns: [
    nameColumn,
    column('Secrets', 'string', (object) => (isJsonArray(object.secrets) ? object.secrets.length : 0)),
    ageColumn,
  ],
});

/** In the order of discovery. */
export const accessKinds: readonly ResourceKind[] = [
  serviceAccountKind,
  clusterRoleBindingKind,
  clusterRoleKind,
  roleBindingKind,
  roleKind,
];

export interface Subject {
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
}

export function subjectsOf(binding: JsonObject): readonly Subject[] {
  const found = getOwn(binding, 'subjects');
  return (isJsonArray(found) ? found : []).map((subject) => ({
    kind: getString(subject, 'kind') ?? '',
    name: getString(subject, 'name') ?? '',
    namespace: getString(subject, 'namespace') ?? '',
  }));
}

/** Source: rbac/v1 SetDefaults_Subject. */
function defaultSubjects(binding: KubeObject): KubeObject {
  const found = getOwn(binding, 'subjects');
  if (!isJsonArray(found)) return binding;
  const next = found.map((subject: Json): Json => {
    if (!isJsonObject(subject) || (getString(subject, 'apiGroup') ?? '') !== '') return subject;
    return subject.kind === 'User' || subject.kind === 'Group' ? { ...subject, apiGroup: rbacGroup } : subject;
  });
  return { ...binding, subjects: next };
}

function validateRules(role: KubeObject, scope: 'namespaced' | 'cluster'): readonly FieldError[] {
  const errors: FieldError[] = [];
  const required = (field: string, detail: string): number => errors.push({ kind: 'required', field, detail });
  const rules = parseRules(getOwn(role, 'rules'));
  const count = rules.reduce((sum, rule) => sum + countPieces(rule), 0);
  // All together: each piece is held against all that the writer has.
  if (count > maxPieces) return [{ kind: 'tooMany', field: 'rules', count, max: maxPieces }];
  for (const [index, rule] of rules.entries()) {
    const at = `rules[${index}]`;
    if (rule.verbs.length === 0) required(`${at}.verbs`, 'verbs must contain at least one value');
    if (rule.nonResourceURLs.length > 0) {
      const value = [...rule.nonResourceURLs];
      if (scope === 'namespaced') {
        errors.push({
          kind: 'invalid',
          field: `${at}.nonResourceURLs`,
          value,
          detail: 'namespaced rules cannot apply to non-resource URLs',
        });
      }
      if (rule.apiGroups.length + rule.resources.length + rule.resourceNames.length > 0) {
        errors.push({
          kind: 'invalid',
          field: `${at}.nonResourceURLs`,
          value,
          detail: 'rules cannot apply to both regular resources and non-resource URLs',
        });
      }
      continue;
    }
    if (rule.apiGroups.length === 0) required(`${at}.apiGroups`, 'resource rules must supply at least one api group');
    if (rule.resources.length === 0) required(`${at}.resources`, 'resource rules must supply at least one resource');
  }
  return errors;
}

const selectorOperators = ['In', 'NotIn', 'Exists', 'DoesNotExist'];

function validateAggregation(role: KubeObject): readonly FieldError[] {
  if (getOwn(role, 'aggregationRule') === undefined) return [];
  const selectors = getPath(role, ['aggregationRule', 'clusterRoleSelectors']);
  const field = 'aggregationRule.clusterRoleSelectors';
  if (!isJsonArray(selectors) || selectors.length === 0) {
    return [
      { kind: 'required', field, detail: 'at least one clusterRoleSelector required if aggregationRule is non-nil' },
    ];
  }
  return selectors.flatMap((selector, index) => {
    const expressions = getPath(selector, ['matchExpressions']);
    return (isJsonArray(expressions) ? expressions : []).flatMap((expression, at): readonly FieldError[] => {
      const operator = getString(expression, 'operator') ?? '';
      const where = `${field}[${index}].matchExpressions[${at}]`;
      if (!selectorOperators.includes(operator)) {
        return [
          { kind: 'invalid', field: `${where}.operator`, value: operator, detail: 'not a valid selector operator' },
        ];
      }
      const values = getPath(expression, ['values']);
      const hasValues = isJsonArray(values) && values.length > 0;
      const needsValues = operator === 'In' || operator === 'NotIn';
      if (needsValues && !hasValues) {
        return [
          {
            kind: 'required',
            field: `${where}.values`,
            detail: "must be specified when `operator` is 'In' or 'NotIn'",
          },
        ];
      }
      if (!needsValues && hasValues) {
        return [
          {
            kind: 'forbidden',
            field: `${where}.values`,
            detail: "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
          },
        ];
      }
      return [];
    });
  });
}

function validateBinding(
  binding: KubeObject,
  previous: KubeObject | undefined,
  kinds: readonly string[],
): readonly FieldError[] {
  const errors: FieldError[] = [];
  const ref = getOwn(binding, 'roleRef') ?? null;
  if (previous !== undefined && !jsonEqual(ref, getOwn(previous, 'roleRef'))) {
    errors.push({ kind: 'invalid', field: 'roleRef', value: ref, detail: 'cannot change roleRef' });
  }
  const apiGroup = getString(ref, 'apiGroup') ?? '';
  if (apiGroup !== rbacGroup)
    errors.push({ kind: 'unsupported', field: 'roleRef.apiGroup', value: apiGroup, supported: [rbacGroup] });
  const kind = getString(ref, 'kind') ?? '';
  if (!kinds.includes(kind))
    errors.push({ kind: 'unsupported', field: 'roleRef.kind', value: kind, supported: [...kinds] });
  const name = getString(ref, 'name') ?? '';
  if (name === '') errors.push({ kind: 'required', field: 'roleRef.name', detail: '' });
  else {
    const wrong = checkName(name, 'segment');
    if (wrong !== undefined) errors.push({ kind: 'invalid', field: 'roleRef.name', value: name, detail: wrong });
  }
  for (const [index, subject] of (isJsonArray(binding.subjects) ? binding.subjects : []).entries()) {
    errors.push(...validateSubject(subject, `subjects[${index}]`));
  }
  return errors;
}

function validateSubject(subject: Json, at: string): readonly FieldError[] {
  const errors: FieldError[] = [];
  const name = getString(subject, 'name') ?? '';
  const apiGroup = getString(subject, 'apiGroup') ?? '';
  const kind = getString(subject, 'kind') ?? '';
  if (name === '') errors.push({ kind: 'required', field: `${at}.name`, detail: '' });
  switch (kind) {
    case 'ServiceAccount': {
      const wrong = name === '' ? undefined : checkName(name, 'subdomain');
      if (wrong !== undefined) errors.push({ kind: 'invalid', field: `${at}.name`, value: name, detail: wrong });
      if (apiGroup !== '')
        errors.push({ kind: 'unsupported', field: `${at}.apiGroup`, value: apiGroup, supported: [''] });
      if ((getString(subject, 'namespace') ?? '') === '')
        errors.push({ kind: 'required', field: `${at}.namespace`, detail: '' });
      break;
    }
    case 'User':
    case 'Group':
      if (apiGroup !== rbacGroup)
        errors.push({ kind: 'unsupported', field: `${at}.apiGroup`, value: apiGroup, supported: [rbacGroup] });
      break;
    default:
      errors.push({
        kind: 'unsupported',
        field: `${at}.kind`,
        value: kind,
        supported: ['ServiceAccount', 'User', 'Group'],
      });
  }
  return errors;
}
