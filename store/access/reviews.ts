/** Answers the kinds that ask who somebody is and what he may do. Reads the indexes; changes nothing. Source: registry/authorization and registry/authentication. */
import type { FieldError } from '../field-errors.ts';
import { getPath, getString, isJsonObject, type Json, type JsonObject, textsOf } from '../json.ts';
import { parseObject } from '../object-rules.ts';
import { apiVersionOf, type ResourceKind } from '../resources.ts';
import { validateSchema } from '../schema-validate.ts';
import { badRequest, invalid } from '../status-error.ts';
import type { Attributes } from './attributes.ts';
import type { Authenticator } from './authenticator.ts';
import type { Authorizer } from './authorizer.ts';
import { hostOf, parseExtra, type User, userToJson } from './identity.ts';
import { compact, ruleToJson } from './policy-rules.ts';
import type { RbacIndex } from './rbac-index.ts';
import {
  localSubjectAccessReviewKind,
  selfSubjectAccessReviewKind,
  selfSubjectReviewKind,
  selfSubjectRulesReviewKind,
  subjectAccessReviewKind,
  tokenReviewKind,
} from './review-kinds.ts';
import { issuer } from './token-signer.ts';

export interface ReviewDeps {
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  readonly rbac: RbacIndex;
}

export interface ReviewRequest {
  readonly kind: ResourceKind;
  readonly namespace: string | undefined;
  readonly body: Json;
  readonly user: User;
  readonly checkUnknown: (unknownFields: readonly string[]) => void;
}

/** The review with its answer. Throws StatusError 400 or 422. */
export function answerReview(
  { kind, namespace, body, user, checkUnknown }: ReviewRequest,
  deps: ReviewDeps,
): JsonObject {
  const { content, meta, unknownFields } = parseObject(kind, body, { namespace, name: undefined });
  checkUnknown(unknownFields);
  const errors = validateSchema(kind.schema, content);
  if (errors.length > 0) throw invalid(kind, '', errors);
  const spec = getPath(content, ['spec']) ?? {};
  const status = judge(kind, namespace, spec, user, deps);
  const head = { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata: { creationTimestamp: null, ...meta } };
  return kind === selfSubjectReviewKind ? { ...head, status } : { ...head, spec, status };
}

function judge(
  kind: ResourceKind,
  namespace: string | undefined,
  spec: Json,
  user: User,
  deps: ReviewDeps,
): JsonObject {
  switch (kind) {
    case selfSubjectReviewKind:
      return { userInfo: userToJson(user) };
    case tokenReviewKind:
      return reviewToken(spec, deps);
    case selfSubjectAccessReviewKind:
      return reviewAccess(user, attributesIn(kind, spec), deps);
    case subjectAccessReviewKind:
      return reviewAccess(userIn(kind, spec), attributesIn(kind, spec), deps);
    case localSubjectAccessReviewKind: {
      const who = userIn(kind, spec);
      const attributes = attributesIn(kind, spec);
      const found = getString(spec, 'resourceAttributes', 'namespace') ?? '';
      if (!attributes.isResource) {
        throw invalid(kind, '', [
          {
            kind: 'invalid',
            field: 'spec.nonResourceAttributes',
            value: getPath(spec, ['nonResourceAttributes']) ?? null,
            detail: 'disallowed on this kind of request',
          },
        ]);
      }
      if (found !== namespace)
        throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace ?? ''}`);
      return reviewAccess(who, attributes, deps);
    }
    case selfSubjectRulesReviewKind:
      return reviewRules(user, spec, deps);
    default:
      throw new TypeError(`no answer for the review ${kind.kind}`);
  }
}

function reviewToken(spec: Json, { authenticator }: ReviewDeps): JsonObject {
  const token = getString(spec, 'token') ?? '';
  if (token === '') throw badRequest('token is required for TokenReview in authentication');
  const asked = textsOf(getPath(spec, ['audiences']));
  const answer = authenticator.judgeToken(token, asked.length === 0 ? [issuer] : asked);
  if (answer.kind === 'refused') return { user: {}, error: '[invalid bearer token]' };
  return { authenticated: true, user: userToJson(answer.user), audiences: answer.audiences };
}

function reviewAccess(user: User, attributes: Attributes, { authorizer }: ReviewDeps): JsonObject {
  const { isAllowed, reason } = authorizer.authorize(user, attributes);
  return { allowed: isAllowed, ...(reason === '' ? {} : { reason }) };
}

function reviewRules(user: User, spec: Json, { rbac }: ReviewDeps): JsonObject {
  const namespace = getString(spec, 'namespace') ?? '';
  if (namespace === '') throw badRequest('no namespace on request');
  const { grants, missing } = rbac.grantsOf(user, namespace);
  const rules = compact(grants.flatMap((grant) => grant.rules));
  return {
    resourceRules: rules.filter(({ nonResourceURLs }) => nonResourceURLs.length === 0).map(ruleToJson),
    nonResourceRules: rules
      .filter(({ nonResourceURLs }) => nonResourceURLs.length > 0)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    // What a host may do does not come from roles.
    incomplete: hostOf(user) !== undefined,
    ...(missing.length === 0 ? {} : { evaluationError: missing.join(', ') }),
  };
}

function attributesIn(kind: ResourceKind, spec: Json): Attributes {
  const resource = getPath(spec, ['resourceAttributes']);
  const path = getPath(spec, ['nonResourceAttributes']);
  if (isJsonObject(resource) === isJsonObject(path)) {
    const detail = isJsonObject(resource)
      ? 'cannot be specified in combination with resourceAttributes'
      : 'exactly one of nonResourceAttributes or resourceAttributes must be specified';
    const field = isJsonObject(resource) ? 'spec.nonResourceAttributes' : 'spec.resourceAttributes';
    const error: FieldError = { kind: 'invalid', field, value: path ?? null, detail };
    throw invalid(kind, '', [error]);
  }
  if (isJsonObject(path)) {
    return { isResource: false, verb: getString(path, 'verb') ?? '', path: getString(path, 'path') ?? '' };
  }
  const text = (field: string): string => getString(resource, field) ?? '';
  return {
    isResource: true,
    verb: text('verb'),
    group: text('group'),
    version: text('version'),
    resource: text('resource'),
    subresource: text('subresource'),
    namespace: text('namespace'),
    name: text('name'),
  };
}

function userIn(kind: ResourceKind, spec: Json): User {
  const name = getString(spec, 'user') ?? '';
  const groups = textsOf(getPath(spec, ['groups']));
  if (name === '' && groups.length === 0) {
    throw invalid(kind, '', [
      { kind: 'invalid', field: 'spec.user', value: '', detail: 'at least one of user or group must be specified' },
    ]);
  }
  return { name, uid: getString(spec, 'uid'), groups, extra: parseExtra(getPath(spec, ['extra'])) };
}
