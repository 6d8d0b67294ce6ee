/**
 * client/: what stands between a part of ours and a Kubernetes API server, ours or a real one: requests, list and watch,
 * container objects. Used by: controller/, docker/, cli/. May import: crds/, npm. Must not know: the store, the runtime.
 */
export { type Backoff, backoffDelayMs, drawFor } from './backoff.ts';
export { type ApiAccess, ApiError, type ApiRequest, callApi, tokenAccess } from './call-api.ts';
export { containersPath, parseContainer } from './containers.ts';
export { type WaitLimits, waitWithin } from './deadline.ts';
export { type ListWatch, startListWatch } from './list-watch.ts';
export { RenameError, type RenameRequest, rename } from './rename.ts';
export { isOlderVersion } from './resource-version.ts';
