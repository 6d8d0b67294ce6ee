/** Decides whether a user may do what a request asks for: masters all, hosts what is theirs, others by RBAC. Pure but for the indexes it reads. */
import type { Attributes } from './attributes.ts';
import type { Decision } from './decision.ts';
import type { HostAccess } from './host-access.ts';
import { hostOf, mastersGroup, type User } from './identity.ts';
import type { RbacIndex } from './rbac-index.ts';

export class Authorizer {
  readonly #rbac: RbacIndex;
  readonly #hosts: HostAccess;

  constructor(rbac: RbacIndex, hosts: HostAccess) {
    this.#rbac = rbac;
    this.#hosts = hosts;
  }

  authorize(user: User, attributes: Attributes): Decision {
    if (user.groups.includes(mastersGroup)) return { isAllowed: true, reason: '' };
    const host = hostOf(user);
    const byRole = this.#rbac.authorize(user, attributes);
    if (host === undefined || byRole.isAllowed) return byRole;
    const byHost = this.#hosts.authorize(host, attributes);
    return byHost.isAllowed || byRole.reason === ''
      ? byHost
      : { ...byHost, reason: `${byHost.reason}; ${byRole.reason}` };
  }
}
