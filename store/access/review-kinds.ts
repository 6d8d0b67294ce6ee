/** The kinds that ask who somebody is and what he may do: a POST is answered, and nothing is stored. As data; pure. */
import { core, root, text } from '../core-kinds.ts';
import type { ResourceKind } from '../resources.ts';
import type { OpenApiSchema } from '../schema.ts';

const flag = (description: string): OpenApiSchema => ({ type: 'boolean', description });
const strings = (description: string): OpenApiSchema => ({ type: 'array', description, items: { type: 'string' } });
const object = (description: string, properties: Readonly<Record<string, OpenApiSchema>>): OpenApiSchema => ({
  type: 'object',
  description,
  properties,
});
const extra: OpenApiSchema = {
  type: 'object',
  description: 'More that is known of the user.',
  additionalProperties: { type: 'array', items: { type: 'string' } },
};

const userInfo = object('Who it is.', {
  extra,
  groups: strings('Groups that the user is in.'),
  uid: text('Unique id of the user.'),
  username: text('Name of the user.'),
});

const resourceAttributes = object('A request for a resource.', {
  fieldSelector: {
    type: 'object',
    description: 'Taken, and not looked at.',
    'x-kubernetes-preserve-unknown-fields': true,
  },
  group: text('API group; * is all.'),
  labelSelector: {
    type: 'object',
    description: 'Taken, and not looked at.',
    'x-kubernetes-preserve-unknown-fields': true,
  },
  name: text('Name of the object; empty: all.'),
  namespace: text('Namespace; empty: the cluster, or all of them.'),
  resource: text('Resource; * is all.'),
  subresource: text('Subresource.'),
  verb: text('Verb; * is all.'),
  version: text('API version; * is all.'),
});

const nonResourceAttributes = object('A request for a path.', {
  path: text('The path.'),
  verb: text('The HTTP verb.'),
});

const access = { nonResourceAttributes, resourceAttributes };
const accessStatus = object('The answer.', {
  allowed: flag('Whether it is allowed.'),
  denied: flag('Whether it is refused whatever else may allow it.'),
  evaluationError: text('What went wrong meanwhile.'),
  reason: text('Why.'),
});

const subjectSpec = object('What is asked.', {
  ...access,
  extra,
  groups: strings('Groups of the user.'),
  uid: text('Unique id of the user.'),
  user: text('The user.'),
});

function review(
  group: 'authentication' | 'authorization',
  kind: string,
  description: string,
  properties: Readonly<Record<string, OpenApiSchema>>,
  isNamespaced = false,
): ResourceKind {
  const plural = `${kind.toLowerCase()}s`;
  return core({
    kind,
    plural,
    isNamespaced,
    group: `${group}.k8s.io`,
    storageKey: `${plural}.${group}.k8s.io`,
    definitionName: `io.k8s.api.${group}.v1.${kind}`,
    isReview: true,
    openApi: root(description, properties),
    columns: [],
  });
}

export const selfSubjectReviewKind = review(
  'authentication',
  'SelfSubjectReview',
  'SelfSubjectReview tells who you are.',
  {
    status: object('The answer.', { userInfo }),
  },
);

export const tokenReviewKind = review('authentication', 'TokenReview', 'TokenReview tells whose a token is.', {
  spec: object('What is asked.', { audiences: strings('Whom the token is to be for.'), token: text('The token.') }),
  status: object('The answer.', {
    audiences: strings('Of those asked for, whom it is for.'),
    authenticated: flag('Whether the token is valid.'),
    error: text('Why it is not.'),
    user: userInfo,
  }),
});

export const selfSubjectAccessReviewKind = review(
  'authorization',
  'SelfSubjectAccessReview',
  'SelfSubjectAccessReview tells whether you may do something.',
  { spec: object('What is asked.', access), status: accessStatus },
);

export const subjectAccessReviewKind = review(
  'authorization',
  'SubjectAccessReview',
  'SubjectAccessReview tells whether somebody may do something.',
  { spec: subjectSpec, status: accessStatus },
);

export const localSubjectAccessReviewKind = review(
  'authorization',
  'LocalSubjectAccessReview',
  'LocalSubjectAccessReview tells whether somebody may do something in a namespace.',
  { spec: subjectSpec, status: accessStatus },
  true,
);

const rule = (names: readonly string[]): OpenApiSchema => ({
  type: 'array',
  description: 'What is allowed.',
  items: object('A rule.', Object.fromEntries(names.map((name) => [name, strings('As in a role.')]))),
});

export const selfSubjectRulesReviewKind = review(
  'authorization',
  'SelfSubjectRulesReview',
  'SelfSubjectRulesReview tells all that you may do in a namespace.',
  {
    spec: object('What is asked.', { namespace: text('The namespace.') }),
    status: object('The answer.', {
      evaluationError: text('What went wrong meanwhile.'),
      incomplete: flag('Whether there may be more.'),
      nonResourceRules: rule(['nonResourceURLs', 'verbs']),
      resourceRules: rule(['apiGroups', 'resourceNames', 'resources', 'verbs']),
    }),
  },
);

/** The body of serviceaccounts/NAME/token. */
export const tokenRequestSchema: OpenApiSchema = root('TokenRequest asks for a token of a service account.', {
  spec: object('What is asked.', {
    audiences: strings('Whom the token is for; empty: this API server.'),
    boundObjectRef: object('An object with which the token ends.', {
      apiVersion: text('API version of the object.'),
      kind: text('Secret or Pod.'),
      name: text('Name of the object.'),
      uid: text('Unique id of the object.'),
    }),
    expirationSeconds: { type: 'integer', format: 'int64', description: 'How long it is valid; an hour by default.' },
  }),
  status: object('The answer.', { expirationTimestamp: text('Until when it is valid.'), token: text('The token.') }),
});

export const reviewKinds: readonly ResourceKind[] = [
  selfSubjectReviewKind,
  tokenReviewKind,
  localSubjectAccessReviewKind,
  selfSubjectAccessReviewKind,
  selfSubjectRulesReviewKind,
  subjectAccessReviewKind,
];
