/**
 * Who may do what by the RBAC objects: an index that follows them, so that no request scans them. Effects: none but its
 * own memory; what is stored is told to it.
 */
import { getOwn, getString } from '../json.ts';
import type { KubeObject } from '../resources.ts';
import type { Attributes } from './attributes.ts';
import type { Decision } from './decision.ts';
import { serviceAccountName, type User } from './identity.ts';
import { type PolicyRule, parseRules, ruleAllows } from './policy-rules.ts';
import {
  clusterRoleBindingKind,
  clusterRoleKind,
  rbacGroup,
  roleBindingKind,
  roleKind,
  subjectsOf,
} from './rbac-kinds.ts';

interface Binding {
  /** '' for a ClusterRoleBinding. */
  readonly namespace: string;
  readonly name: string;
  readonly roleKind: string;
  readonly roleName: string;
  /** Keys of its subjects, for taking it out again. */
  readonly subjects: ReadonlyMap<string, string>;
}

/** What a user has by one binding. */
export interface Grant {
  readonly rules: readonly PolicyRule[];
  readonly because: string;
}

export class RbacIndex {
  /** By `/NAME` for ClusterRoles, `NAMESPACE/NAME` for Roles. */
  readonly #rules = new Map<string, readonly PolicyRule[]>();
  readonly #bindings = new Map<string, Binding>();
  /** By `NAMESPACE user NAME` and the like. */
  readonly #bySubject = new Map<string, Set<Binding>>();

  /** Takes in an object as it is now; undefined: it is gone. */
  update(storageKey: string, key: string, object: KubeObject | undefined): void {
    switch (storageKey) {
      case roleKind.storageKey:
      case clusterRoleKind.storageKey:
        if (object === undefined) this.#rules.delete(key);
        else this.#rules.set(key, parseRules(getOwn(object, 'rules')));
        return;
      case roleBindingKind.storageKey:
      case clusterRoleBindingKind.storageKey:
        this.#removeBinding(key);
        if (object !== undefined) this.#addBinding(key, object);
        return;
      default:
    }
  }

  /** The rules of a role that a binding in a namespace refers to; undefined: there is no such role. */
  rulesOf(kind: string, name: string, namespace: string): readonly PolicyRule[] | undefined {
    return this.#rules.get(kind === 'Role' ? `${namespace}/${name}` : `/${name}`);
  }

  /** What a user may do in a namespace ('': in the cluster), and roles that are bound but missing. */
  grantsOf(user: User, namespace: string): { readonly grants: readonly Grant[]; readonly missing: readonly string[] } {
    const grants: Grant[] = [];
    const missing: string[] = [];
    for (const { binding, subject } of this.#bindingsOf(user, namespace)) {
      const rules = this.rulesOf(binding.roleKind, binding.roleName, binding.namespace);
      if (rules === undefined)
        missing.push(`${binding.roleKind.toLowerCase()}.${rbacGroup} "${binding.roleName}" not found`);
      else grants.push({ rules, because: describe(binding, subject) });
    }
    return { grants, missing };
  }

  authorize(user: User, attributes: Attributes): Decision {
    const namespace = attributes.isResource ? attributes.namespace : '';
    let missing: string[] | undefined;
    for (const { binding, subject } of this.#bindingsOf(user, namespace)) {
      const rules = this.rulesOf(binding.roleKind, binding.roleName, binding.namespace);
      if (rules === undefined) {
        missing ??= [];
        missing.push(`${binding.roleKind.toLowerCase()}.${rbacGroup} "${binding.roleName}" not found`);
      } else if (rules.some((rule) => ruleAllows(rule, attributes))) {
        return { isAllowed: true, reason: `RBAC: allowed by ${describe(binding, subject)}` };
      }
    }
    if (missing === undefined) return { isAllowed: false, reason: '' };
    return { isAllowed: false, reason: `RBAC: ${missing.length === 1 ? missing[0] : `[${missing.join(', ')}]`}` };
  }

  *#bindingsOf(user: User, namespace: string): Generator<{ readonly binding: Binding; readonly subject: string }> {
    const subjects = [`User ${user.name}`, ...user.groups.map((group) => `Group ${group}`)];
    for (const scope of namespace === '' ? [''] : ['', namespace]) {
      for (const subject of subjects) {
        const found = this.#bySubject.get(`${scope} ${subject}`);
        if (found !== undefined) for (const binding of found) yield { binding, subject };
      }
    }
  }

  #addBinding(key: string, object: KubeObject): void {
    const { namespace = '', name } = object.metadata;
    const subjects = new Map(
      subjectsOf(object).map((subject): [string, string] => {
        const isAccount = subject.kind === 'ServiceAccount';
        const who = isAccount
          ? `User ${serviceAccountName(subject.namespace, subject.name)}`
          : `${subject.kind} ${subject.name}`;
        const shown = isAccount
          ? `ServiceAccount "${subject.name}/${subject.namespace}"`
          : `${subject.kind} "${subject.name}"`;
        return [who, shown];
      }),
    );
    const binding: Binding = {
      namespace,
      name,
      roleKind: getString(object, 'roleRef', 'kind') ?? '',
      roleName: getString(object, 'roleRef', 'name') ?? '',
      subjects,
    };
    this.#bindings.set(key, binding);
    for (const subject of subjects.keys()) {
      const place = `${namespace} ${subject}`;
      const found = this.#bySubject.get(place);
      if (found === undefined) this.#bySubject.set(place, new Set([binding]));
      else found.add(binding);
    }
  }

  #removeBinding(key: string): void {
    const binding = this.#bindings.get(key);
    if (binding === undefined) return;
    this.#bindings.delete(key);
    for (const subject of binding.subjects.keys()) {
      const place = `${binding.namespace} ${subject}`;
      const found = this.#bySubject.get(place);
      found?.delete(binding);
      if (found?.size === 0) this.#bySubject.delete(place);
    }
  }
}

function describe({ namespace, name, roleKind: kind, roleName, subjects }: Binding, subject: string): string {
  const binding = namespace === '' ? `ClusterRoleBinding "${name}"` : `RoleBinding "${name}/${namespace}"`;
  return `${binding} of ${kind} "${roleName}" to ${subjects.get(subject) ?? subject}`;
}
