/** What an authorizer answers. Types only. */
import type { Entry } from '../entry-object.ts';
import type { ResourceKind } from '../resources.ts';

/** Which objects a reader sees at all. */
export type Visibility = (kind: ResourceKind, entry: Pick<Entry, 'key' | 'revision' | 'object'>) => boolean;

export interface Decision {
  readonly isAllowed: boolean;
  /** Why, for people; '' if there is nothing to say. */
  readonly reason: string;
  /** What it sees of a list or watch; undefined: all that it asks for. */
  readonly visibility?: Visibility | undefined;
}
