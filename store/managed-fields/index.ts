/**
 * store/managed-fields/: who owns which field of an object (metadata.managedFields), and server-side apply.
 * Used by: store/. May import: files of store/ that import nothing of this folder. Must not know: HTTP, SQL.
 */
export { type Applied, type ApplyOptions, FieldManagers, type FieldWrite } from './field-managers.ts';
export { checkManagerName, managerOfUserAgent } from './manager-name.ts';
export { withManagedFields } from './object-schema.ts';
