/**
 * The kinds of access as protobuf, which kubectl 1.32 sends for `create role` and the like, `create token`, `auth can-i` and
 * `auth whoami`. Pure. Field numbers: generated.proto of k8s.io/api rbac/v1, authentication/v1, authorization/v1, core/v1.
 */
import {
  asFlag,
  asMessage,
  asNumber,
  asText,
  type Decode,
  type Message,
  many,
  map,
  metadata,
  objectReference,
  one,
} from './protobuf-fields.ts';

type Fields = readonly (readonly [number: number, field: ReturnType<typeof one>])[];

const message = (...fields: Fields): Decode => asMessage(new Map(fields));

const rules = many(
  'rules',
  message(
    [1, many('verbs', asText)],
    [2, many('apiGroups', asText)],
    [3, many('resources', asText)],
    [4, many('resourceNames', asText)],
    [5, many('nonResourceURLs', asText)],
  ),
);

const labelSelector = message(
  [1, map('matchLabels', asText)],
  [
    2,
    many(
      'matchExpressions',
      message([1, one('key', asText)], [2, one('operator', asText)], [3, many('values', asText)]),
    ),
  ],
);

const binding: Message = new Map([
  [1, metadata],
  [
    2,
    many(
      'subjects',
      message(
        [1, one('kind', asText)],
        [2, one('apiGroup', asText)],
        [3, one('name', asText)],
        [4, one('namespace', asText)],
      ),
    ),
  ],
  [3, one('roleRef', message([1, one('apiGroup', asText)], [2, one('kind', asText)], [3, one('name', asText)]))],
]);

const whatIsAsked: Fields = [
  [
    1,
    one(
      'resourceAttributes',
      message(
        [1, one('namespace', asText)],
        [2, one('verb', asText)],
        [3, one('group', asText)],
        [4, one('version', asText)],
        [5, one('resource', asText)],
        [6, one('subresource', asText)],
        [7, one('name', asText)],
      ),
    ),
  ],
  [2, one('nonResourceAttributes', message([1, one('path', asText)], [2, one('verb', asText)]))],
];

/** A list in a map's value is a message of its own. */
const extra: Decode = (content) => {
  const decoded = message([1, many('items', asText)])(content);
  return typeof decoded === 'object' && decoded !== null && 'items' in decoded ? decoded.items : [];
};

const subjectReview: Message = new Map([
  [1, metadata],
  [
    2,
    one(
      'spec',
      message(
        ...whatIsAsked,
        [3, one('user', asText)],
        [4, many('groups', asText)],
        [5, map('extra', extra)],
        [6, one('uid', asText)],
      ),
    ),
  ],
]);

const tokenRequestSpec = message(
  [1, many('audiences', asText)],
  [
    3,
    one(
      'boundObjectRef',
      message(
        [1, one('kind', asText)],
        [2, one('apiVersion', asText)],
        [3, one('name', asText)],
        [4, one('uid', asText)],
      ),
    ),
  ],
  [4, one('expirationSeconds', asNumber)],
);

const withSpec = (spec: Decode): Message =>
  new Map([
    [1, metadata],
    [2, one('spec', spec)],
  ]);

export const accessMessages: readonly (readonly [kind: string, message: Message])[] = [
  [
    'Role',
    new Map([
      [1, metadata],
      [2, rules],
    ]),
  ],
  [
    'ClusterRole',
    new Map([
      [1, metadata],
      [2, rules],
      [3, one('aggregationRule', message([1, many('clusterRoleSelectors', labelSelector)]))],
    ]),
  ],
  ['RoleBinding', binding],
  ['ClusterRoleBinding', binding],
  [
    'ServiceAccount',
    new Map([
      [1, metadata],
      [2, many('secrets', objectReference)],
      [3, many('imagePullSecrets', message([1, one('name', asText)]))],
      [4, one('automountServiceAccountToken', asFlag)],
    ]),
  ],
  ['TokenRequest', withSpec(tokenRequestSpec)],
  ['TokenReview', withSpec(message([1, one('token', asText)], [2, many('audiences', asText)]))],
  ['SelfSubjectReview', new Map([[1, metadata]])],
  ['SelfSubjectAccessReview', withSpec(message(...whatIsAsked))],
  ['SubjectAccessReview', subjectReview],
  ['LocalSubjectAccessReview', subjectReview],
  ['SelfSubjectRulesReview', withSpec(message([1, one('namespace', asText)]))],
];
