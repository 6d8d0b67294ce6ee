/**
 * access/: who may do what in the store: authentication, authorization by roles and by host, and the kinds for it.
 * Used by: store/. May import: store/'s own files. Must not know: HTTP answers, SQL.
 */
export { type Access, type Caller, createAccess } from './access.ts';
export { hostOf, hostPrefix, hostsGroup, mastersGroup, type User } from './identity.ts';
export { accessKinds, serviceAccountKind } from './rbac-kinds.ts';
export { reviewKinds } from './review-kinds.ts';
