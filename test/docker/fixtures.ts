/** Containers as docker's gateway sees them, for the tables of its rules. */
import type { Container } from '../../crds/index.ts';
import { object } from '../controller/fixtures.ts';

/** When all of it is looked at. */
export const nowMs = Date.parse('2026-11-24T12:00:00Z');
export const ago = (seconds: number): string => new Date(nowMs - seconds * 1000).toISOString();
export type Status = NonNullable<Container['status']>;

/** An object with a status as far as it was written. */
export function given(
  name: string,
  status: Partial<Status> = {},
  metadata: Partial<Container['metadata']> = {},
): Container {
  const base = object({ name });
  return {
    ...base,
    metadata: { ...base.metadata, uid: `uid-${name}`, creationTimestamp: ago(600), ...metadata },
    status: status as Status, // partial on purpose: a status is what was written so far
  };
}
