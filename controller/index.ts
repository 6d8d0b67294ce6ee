/**
 * controller/: brings this host to what the store asks for, one container at a time.
 * Used by: cli/. May import: crds/, client/, runtime/index.ts, npm. Must not know: crun, conmon, CNI, SQL.
 */
export { type HeldObject, hasCheckpoint, readHeld, writeConfirmations } from './confirmations.ts';
export { type Controller, type ControllerDeps, createController } from './controller.ts';
export { afterPreStopMs } from './decide.ts';
export { labelKeys, prepareAnnotation } from './desired.ts';
export { type HostFacts, observeHostFacts } from './host-facts.ts';
export type { ImageCollectionPolicy } from './image-collection.ts';
export { type NodeHeartbeat, startNodeHeartbeat } from './node-heartbeat.ts';
export { runAction } from './probe-actions.ts';
export { parseKeptAction } from './probe-spec.ts';
export { parseDurationMs } from './quantity.ts';
export { readRememberedSources } from './source-memory.ts';
export type { StartPolicy } from './start-gate.ts';
export { planStop } from './stop-order.ts';
