/**
 * store/: the Kubernetes API for Holdfast's kinds and the core kinds they need, with SQLite beneath.
 * Used by: cli/. May import: crds/, npm. Must not know: runtime/, controller/, what a container is.
 */

export type { AuditLevel } from './audit-log.ts';
export { type Backup, BackupError, BackupReader } from './backup-format.ts';
export { checkBackup, type Finding, type Report } from './checkup.ts';
export { DatabaseOpenError, databasePathOf } from './database-file.ts';
export type { Health } from './fixed-paths.ts';
export { writeHostKubeconfig } from './kubeconfigs.ts';
export { ListenError, startListening } from './listening.ts';
export { askStore, MaintenanceError, textOf } from './maintenance-client.ts';
export { checkOffline, readOffline } from './offline.ts';
export { PkiError } from './pki.ts';
export type { KubeObject, ObjectMeta } from './resources.ts';
export { type Restored, restoreBackup } from './restore.ts';
export { addKey, readKeyRing } from './secrets-key.ts';
export { badRequest, notFound, StatusError, serviceUnavailable } from './status-error.ts';
export { createStore, type Store, type StoreDeps } from './store.ts';
export { type StreamListener, type StreamListenerDeps, startStreamListener } from './stream-listener.ts';
export type { StreamSource, StreamTarget } from './stream-source.ts';
export type { CommandOptions, DialPort, ExecOptions, OpenSession, Session } from './streams/index.ts';
