/**
 * controller/: brings this host to what the store asks for, one container at a time.
 * Used by: cli/. May import: crds/, runtime/index.ts, npm. Must not know: crun, conmon, CNI, SQL.
 */
export { containersPath, parseContainer } from './api.ts';
export { type ApiAccess, ApiError, callApi, tokenAccess } from './client.ts';
export { type HeldObject, hasCheckpoint, readHeld, writeConfirmations } from './confirmations.ts';
export { containerIDOf, formatRenamedFrom, parseRename, renamedFromAnnotation } from './container-id.ts';
export { type Controller, type ControllerDeps, createController } from './controller.ts';
export { afterPreStopMs } from './decide.ts';
export { labelKeys } from './desired.ts';
export { type HostFacts, observeHostFacts } from './host-facts.ts';
export type { ImageCollectionPolicy } from './image-collection.ts';
export { type ListWatch, startListWatch } from './list-watch.ts';
export { type NodeHeartbeat, startNodeHeartbeat } from './node-heartbeat.ts';
export { runAction } from './probe-actions.ts';
export { parseKeptAction } from './probe-spec.ts';
export { parseDurationMs } from './quantity.ts';
export { readRememberedSources } from './source-memory.ts';
export type { StartPolicy } from './start-gate.ts';
export { planStop } from './stop-order.ts';
