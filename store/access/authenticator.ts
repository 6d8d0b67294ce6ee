/**
 * Who a request is from: a client certificate of our CA, the admin's token, this process's own host, or a service
 * account's token; the first that holds counts. Reads the store's memory; keeps what it verified for the next request.
 */
import { timingSafeEqual } from 'node:crypto';
import { bearerOf, digestOf } from '../authorize.ts';
import type { KubeObject } from '../resources.ts';
import { unauthorized } from '../status-error.ts';
import {
  authenticated,
  hostPrefix,
  hostsGroup,
  mastersGroup,
  serviceAccountGroups,
  serviceAccountName,
  type User,
} from './identity.ts';
import { issuer, type TokenClaims, type TokenSigner } from './token-signer.ts';

/** What of a client certificate counts; the TLS layer has verified it. */
export interface ClientCertificate {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly validToMs: number;
}

/** `certificate` 'refused': one was shown that our CA did not sign, or that is out of date. */
export interface Shown {
  readonly authorization: string | undefined;
  readonly certificate: ClientCertificate | 'refused' | undefined;
}

export interface AuthenticatorDeps {
  readonly adminToken: string;
  /** A token that is never stored, for the controller of this process. */
  readonly hostToken: { readonly token: string; readonly host: string } | undefined;
  readonly signer: TokenSigner;
  readonly now: () => number;
  /** The object of a kind, if there is one. */
  readonly find: (kind: 'ServiceAccount' | 'Secret' | 'Pod', namespace: string, name: string) => KubeObject | undefined;
}

export type TokenAnswer =
  | { readonly kind: 'user'; readonly user: User; readonly audiences: readonly string[] }
  | { readonly kind: 'refused' };

/** Verified tokens that are remembered; beyond, all are verified anew. */
const maxRemembered = 4_096;

const refused: TokenAnswer = { kind: 'refused' };

export class Authenticator {
  readonly #deps: AuthenticatorDeps;
  readonly #fixed: readonly { readonly digest: Buffer; readonly user: User }[];
  /** By digest: a token itself is kept nowhere. */
  #verified = new Map<string, TokenClaims>();

  constructor(deps: AuthenticatorDeps) {
    this.#deps = deps;
    const { adminToken, hostToken } = deps;
    const admin = { digest: digestOf(adminToken), user: authenticated('system:admin', [mastersGroup]) };
    const host =
      hostToken === undefined
        ? []
        : [{ digest: digestOf(hostToken.token), user: authenticated(hostPrefix + hostToken.host, [hostsGroup]) }];
    this.#fixed = [admin, ...host];
  }

  /** Throws StatusError 401: nothing was shown, or nothing that holds. */
  authenticate({ authorization, certificate }: Shown): User {
    if (
      certificate !== undefined &&
      certificate !== 'refused' &&
      this.#deps.now() < certificate.validToMs &&
      certificate.commonName !== ''
    ) {
      return authenticated(certificate.commonName, certificate.organizations);
    }
    const token = bearerOf(authorization);
    if (token === undefined) throw unauthorized();
    const answer = this.judgeToken(token, [issuer]);
    if (answer.kind === 'refused') throw unauthorized();
    return answer.user;
  }

  /** `audiences`: one of which the token must be for. */
  judgeToken(token: string, audiences: readonly string[]): TokenAnswer {
    const digest = digestOf(token);
    for (const { digest: known, user } of this.#fixed) {
      if (timingSafeEqual(digest, known)) return { kind: 'user', user, audiences };
    }
    const claims = this.#claimsOf(token, digest);
    if (claims === undefined || !this.#stands(claims)) return refused;
    const common = claims.audiences.filter((one) => audiences.includes(one));
    if (common.length === 0) return refused;
    return { kind: 'user', user: this.#userOf(claims), audiences: common };
  }

  #claimsOf(token: string, digest: Buffer): TokenClaims | undefined {
    const { signer, now } = this.#deps;
    const key = digest.toString('latin1');
    const known = this.#verified.get(key);
    if (known !== undefined) {
      if (now() < known.expiresAtMs) return known;
      this.#verified.delete(key);
      return undefined;
    }
    const claims = signer.verify(token, now());
    if (claims === undefined) return undefined;
    if (this.#verified.size >= maxRemembered) this.#verified = new Map();
    this.#verified.set(key, claims);
    return claims;
  }

  /** Whether the account, and what the token is bound to, are still those that it was made for. */
  #stands({ namespace, account, bound }: TokenClaims): boolean {
    const { find } = this.#deps;
    const isThere = (object: KubeObject | undefined, uid: string): boolean =>
      object !== undefined && object.metadata.uid === uid && object.metadata.deletionTimestamp === undefined;
    if (!isThere(find('ServiceAccount', namespace, account.name), account.uid)) return false;
    return bound === undefined || isThere(find(bound.kind, namespace, bound.name), bound.uid);
  }

  #userOf({ namespace, account, bound, id }: TokenClaims): User {
    const extra = new Map<string, readonly string[]>([['authentication.kubernetes.io/credential-id', [`JTI=${id}`]]]);
    if (bound?.kind === 'Pod') {
      extra.set('authentication.kubernetes.io/pod-name', [bound.name]);
      extra.set('authentication.kubernetes.io/pod-uid', [bound.uid]);
    }
    return authenticated(serviceAccountName(namespace, account.name), serviceAccountGroups(namespace), {
      uid: account.uid,
      extra,
    });
  }
}
